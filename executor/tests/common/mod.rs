//! What the tests of dropping share.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(unreachable_pub, reason = "a module of several test binaries")]

pub mod fds;
pub mod quarantine;

use std::io::Write;
use std::path::PathBuf;

use corelane::SimConfig;

/// SplitMix64.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0xd6e8_feb8_6659_fd93) ^ 0x5eed)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % bound as u64).expect("below a usize")
    }

    pub fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

/// Returns the number in an environment variable, or `default`.
pub fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| {
        value
            .parse()
            .unwrap_or_else(|_| panic!("{name}={value} is not a number"))
    })
}

/// Says whether `bytes` are what a file made by [`pattern_file`], and the simulated ring, hold at
/// `offset`.
pub fn is_pattern(bytes: &[u8], offset: u64) -> bool {
    bytes
        .iter()
        .zip(offset..)
        .all(|(byte, at)| *byte == SimConfig::byte_at(at))
}

/// The first `len` bytes of the pattern.
pub fn pattern(len: usize) -> Vec<u8> {
    (0..len as u64).map(SimConfig::byte_at).collect()
}

/// A file of a length, full of the pattern, that is removed when dropped.
#[derive(Debug)]
pub struct PatternFile {
    pub path: PathBuf,
    pub len: u64,
}

impl PatternFile {
    /// Makes the file on the file system of the build, which is more likely than a temporary
    /// folder to have a device behind it.
    pub fn new(name: &str, len: usize) -> Self {
        let name = format!("{name}-{}", std::process::id());
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        let mut file = std::fs::File::create(&path).unwrap();
        file.write_all(&pattern(len)).unwrap();
        file.sync_all().unwrap();
        Self {
            path,
            len: len as u64,
        }
    }

    pub fn open(&self) -> std::fs::File {
        std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(&self.path)
            .unwrap()
    }

    /// Opens for direct I/O, where the file system has that.
    pub fn open_direct(&self) -> Option<std::fs::File> {
        use std::os::unix::fs::OpenOptionsExt;
        let mut options = std::fs::OpenOptions::new();
        options
            .read(true)
            .custom_flags(libc::O_DIRECT)
            .open(&self.path)
            .ok()
    }
}

impl Drop for PatternFile {
    fn drop(&mut self) {
        // Left behind when that fails; the next build's clean-up has it.
        let _ = std::fs::remove_file(&self.path);
    }
}
