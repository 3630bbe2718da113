//! What is known of a file without reading it.

use std::ffi::CString;
use std::fmt;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::c_path;
use crate::op::SharedFd;
use crate::op::kinds::statx::{Statx, StatxArgs};
use crate::worker::{Core, context};

/// Asks for the metadata of `path`, following symbolic links.
///
/// # Errors
///
/// Those of statx(2); `InvalidInput` for a path with a NUL byte.
///
/// # Panics
///
/// The future panics when it is first polled outside of a worker.
///
/// # Cancel safety
///
/// Nothing is lost.
pub async fn metadata(path: impl AsRef<Path>) -> io::Result<Metadata> {
    stat(&context::current(), None, c_path(path.as_ref())?).await
}

pub(super) async fn stat(
    core: &Core,
    dir: Option<SharedFd>,
    path: CString,
) -> io::Result<Metadata> {
    core.op(Statx, StatxArgs::new(dir, path))
        .await
        .map(Metadata)
}

/// What is known of a file without reading it.
#[derive(Clone, Copy)]
pub struct Metadata(libc::statx);

impl Metadata {
    /// Returns the size in bytes.
    #[must_use]
    #[expect(
        clippy::len_without_is_empty,
        reason = "a size, as std's metadata has it"
    )]
    pub fn len(&self) -> u64 {
        self.0.stx_size
    }

    /// Says whether this is a regular file.
    #[must_use]
    pub fn is_file(&self) -> bool {
        self.is(libc::S_IFREG)
    }

    /// Says whether this is a folder.
    #[must_use]
    pub fn is_dir(&self) -> bool {
        self.is(libc::S_IFDIR)
    }

    /// Says whether this is a symbolic link.
    #[must_use]
    pub fn is_symlink(&self) -> bool {
        self.is(libc::S_IFLNK)
    }

    /// Returns the permissions, without the type.
    #[must_use]
    pub fn mode(&self) -> u32 {
        u32::from(self.0.stx_mode) & !libc::S_IFMT
    }

    /// Returns the inode's number.
    #[must_use]
    pub fn ino(&self) -> u64 {
        self.0.stx_ino
    }

    /// Returns the device that the file is on: major and minor number.
    #[must_use]
    pub fn dev(&self) -> (u32, u32) {
        (self.0.stx_dev_major, self.0.stx_dev_minor)
    }

    /// Returns when the content last changed, where the clock's range has it.
    #[must_use]
    pub fn modified(&self) -> SystemTime {
        system_time(self.0.stx_mtime)
    }

    /// Returns when the content last changed, in nanoseconds since the epoch.
    #[must_use]
    pub fn mtime_ns(&self) -> i128 {
        nanoseconds(self.0.stx_mtime)
    }

    /// Returns when content or metadata last changed, in nanoseconds since the epoch.
    #[must_use]
    pub fn ctime_ns(&self) -> i128 {
        nanoseconds(self.0.stx_ctime)
    }

    /// Returns the alignment that direct I/O needs: of memory and of offsets, in bytes. `None`
    /// where the file system does not say (statx(2), Linux 6.1) or does not support it.
    #[must_use]
    pub fn dio_align(&self) -> Option<(u32, u32)> {
        let known = self.0.stx_mask & libc::STATX_DIOALIGN != 0 && self.0.stx_dio_mem_align > 0;
        known.then_some((self.0.stx_dio_mem_align, self.0.stx_dio_offset_align))
    }

    fn is(&self, kind: u32) -> bool {
        u32::from(self.0.stx_mode) & libc::S_IFMT == kind
    }
}

impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metadata")
            .field("len", &self.len())
            .field("is_file", &self.is_file())
            .field("is_dir", &self.is_dir())
            .field("mode", &format_args!("{:o}", self.mode()))
            .field("modified", &self.modified())
            .finish_non_exhaustive()
    }
}

fn nanoseconds(time: libc::statx_timestamp) -> i128 {
    i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec)
}

fn system_time(time: libc::statx_timestamp) -> SystemTime {
    let nanos = Duration::from_nanos(time.tv_nsec.into());
    let seconds = Duration::from_secs(time.tv_sec.unsigned_abs());
    let whole = if time.tv_sec >= 0 {
        UNIX_EPOCH.checked_add(seconds)
    } else {
        UNIX_EPOCH.checked_sub(seconds)
    };
    whole
        .and_then(|whole| whole.checked_add(nanos))
        .unwrap_or(UNIX_EPOCH)
}
