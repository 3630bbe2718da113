//! The file system as the child sees it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The names that are not files with faults: reading the one says how many requests wait for an
/// answer, opening the other answers them.
pub(crate) const HELD: &str = "control-held";
pub(crate) const RELEASE: &str = "control-release";

/// How long the child waits for the file system to hold what it has asked for.
const PATIENCE: Duration = Duration::from_secs(30);

/// A mounted file system with faults, and the folder behind it.
#[derive(Clone, Debug)]
pub struct Files {
    pub(crate) mount: PathBuf,
    pub(crate) backing: PathBuf,
}

impl Files {
    /// Returns the path of the file with this behaviour.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.mount.join(name)
    }

    /// Returns the folder behind the file system, whose files `from=NAME` serves. It is on a real
    /// file system.
    #[must_use]
    pub fn backing(&self) -> &Path {
        &self.backing
    }

    /// Returns how many requests wait for an answer that does not come.
    ///
    /// # Panics
    ///
    /// When the file system is gone.
    #[must_use]
    pub fn held(&self) -> usize {
        let text = std::fs::read_to_string(self.path(HELD)).expect("the file system is there");
        text.trim().parse().expect("a number")
    }

    /// Waits until `count` requests, or more, wait for an answer.
    ///
    /// # Panics
    ///
    /// When that takes too long.
    pub fn wait_held(&self, count: usize) {
        let start = Instant::now();
        while self.held() < count {
            assert!(
                start.elapsed() < PATIENCE,
                "{} of {count} requests have reached the file system",
                self.held()
            );
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Answers what waits for an answer, as a file without faults would have.
    ///
    /// # Panics
    ///
    /// When the file system is gone.
    pub fn release(&self) {
        std::fs::File::open(self.path(RELEASE)).expect("the file system is there");
    }
}

/// Returns the byte at `offset` of a file with no `from`.
#[must_use]
pub fn byte_at(offset: u64) -> u8 {
    let mixed = (offset / 8).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed
        .rotate_right(u32::from(offset.to_le_bytes()[0] % 8) * 8)
        .to_le_bytes()[0]
}

/// Returns the `len` bytes at `offset` of a file with no `from`.
#[must_use]
pub fn content(offset: u64, len: usize) -> Vec<u8> {
    (offset..).take(len).map(byte_at).collect()
}
