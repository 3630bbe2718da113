//! How a file is opened.

use std::io;
use std::path::Path;

use super::{Dir, File, c_path};
use crate::op::SharedFd;
use crate::op::kinds::open::{Open, OpenArgs};
use crate::worker::context;

/// How a file is opened: as `std::fs::OpenOptions`, on the worker's ring.
///
/// # Examples
///
/// ```
/// # #[corelane::main]
/// # async fn main() -> std::io::Result<()> {
/// use corelane::fs::OpenOptions;
/// let file = OpenOptions::new().read(true).open("/proc/self/status").await?;
/// let (count, bytes) = file.read_at(Vec::with_capacity(64), 0).await;
/// assert_eq!(count?, bytes.len());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "the flags of open(2), as std has them"
)]
pub struct OpenOptions {
    read: bool,
    write: bool,
    append: bool,
    truncate: bool,
    create: bool,
    create_new: bool,
    mode: u32,
    direct: bool,
    custom_flags: i32,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl OpenOptions {
    /// Makes options with nothing set.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            read: false,
            write: false,
            append: false,
            truncate: false,
            create: false,
            create_new: false,
            mode: 0o666,
            direct: false,
            custom_flags: 0,
        }
    }

    /// Opens for reading.
    pub fn read(&mut self, read: bool) -> &mut Self {
        self.read = read;
        self
    }

    /// Opens for writing.
    pub fn write(&mut self, write: bool) -> &mut Self {
        self.write = write;
        self
    }

    /// Lets every write go to the end of the file, whatever its offset.
    pub fn append(&mut self, append: bool) -> &mut Self {
        self.append = append;
        self
    }

    /// Cuts the file to nothing.
    pub fn truncate(&mut self, truncate: bool) -> &mut Self {
        self.truncate = truncate;
        self
    }

    /// Makes the file where it does not exist.
    pub fn create(&mut self, create: bool) -> &mut Self {
        self.create = create;
        self
    }

    /// Makes the file, and fails where it exists.
    pub fn create_new(&mut self, create_new: bool) -> &mut Self {
        self.create_new = create_new;
        self
    }

    /// Sets the permissions of a file that is made, before the umask. The default is `0o666`.
    pub fn mode(&mut self, mode: u32) -> &mut Self {
        self.mode = mode;
        self
    }

    /// Reads and writes past the page cache (`O_DIRECT`, open(2)): memory, offsets and lengths then
    /// have to be aligned as [`Metadata::dio_align`](super::Metadata::dio_align) says. A file system
    /// that has no direct I/O answers `EINVAL`, to the open or to the reads.
    pub fn direct(&mut self, direct: bool) -> &mut Self {
        self.direct = direct;
        self
    }

    /// Adds flags of open(2), `O_NOFOLLOW` for example.
    pub fn custom_flags(&mut self, flags: i32) -> &mut Self {
        self.custom_flags = flags;
        self
    }

    /// Opens `path`.
    ///
    /// # Errors
    ///
    /// Those of openat2(2); `InvalidInput` for a path with a NUL byte, or options that
    /// contradict each other.
    ///
    /// # Panics
    ///
    /// The future panics when it is first polled outside of a worker.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops the operation; a file that was opened all the same is closed.
    pub async fn open(&self, path: impl AsRef<Path>) -> io::Result<File> {
        self.open_at(None, path.as_ref(), 0).await
    }

    /// Opens `path` below `dir`, following no link that leads out of it: neither `..`, nor an
    /// absolute path, nor a symbolic link that escapes is followed (`RESOLVE_BENEATH`,
    /// `RESOLVE_NO_MAGICLINKS`; openat2(2), Linux 5.6).
    ///
    /// # Errors
    ///
    /// `EXDEV` for a path that leads out; otherwise as [`open`](Self::open).
    ///
    /// # Panics
    ///
    /// The future panics when it is first polled outside of a worker.
    ///
    /// # Cancel safety
    ///
    /// As [`open`](Self::open).
    pub async fn open_beneath(&self, dir: &Dir, path: impl AsRef<Path>) -> io::Result<File> {
        let resolve = libc::RESOLVE_BENEATH | libc::RESOLVE_NO_MAGICLINKS;
        self.open_at(Some(dir.shared_fd().clone()), path.as_ref(), resolve)
            .await
    }

    async fn open_at(&self, dir: Option<SharedFd>, path: &Path, resolve: u64) -> io::Result<File> {
        let flags = self.flags()?;
        let mode = if self.create || self.create_new {
            self.mode
        } else {
            0
        };
        let args = OpenArgs::new(dir, c_path(path)?, flags, mode, resolve);
        let core = context::current();
        // An open that a signal interrupts has not happened.
        let fd = core.op(Open, args).await?;
        Ok(File::from_fd(&core, fd))
    }

    fn flags(&self) -> io::Result<i32> {
        let access = match (self.read, self.write || self.append) {
            (true, false) => libc::O_RDONLY,
            (false, true) => libc::O_WRONLY,
            (true, true) => libc::O_RDWR,
            (false, false) => {
                return Err(invalid(
                    "a file must be opened for reading, writing or appending",
                ));
            }
        };
        let changes = self.truncate || self.create || self.create_new;
        if changes && access == libc::O_RDONLY {
            return Err(invalid(
                "a file that is made or truncated must be opened for writing",
            ));
        }
        let mut flags = access | libc::O_CLOEXEC | self.custom_flags;
        for (set, flag) in [
            (self.append, libc::O_APPEND),
            (self.truncate, libc::O_TRUNC),
            (self.create || self.create_new, libc::O_CREAT),
            (self.create_new, libc::O_EXCL),
            (self.direct, libc::O_DIRECT),
        ] {
            if set {
                flags |= flag;
            }
        }
        Ok(flags)
    }
}

fn invalid(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, reason)
}
