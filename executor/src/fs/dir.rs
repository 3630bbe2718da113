//! Folders: a root to open files beneath, and listing.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::c_path;
use super::metadata::{Metadata, stat};
use crate::op::SharedFd;
use crate::op::kinds::open::{Open, OpenArgs};
use crate::spawn_blocking;
use crate::worker::{Core, context};

/// An open folder, beneath which files are opened by
/// [`OpenOptions::open_beneath`](super::OpenOptions::open_beneath).
#[derive(Clone)]
pub struct Dir {
    core: Rc<Core>,
    fd: SharedFd,
}

impl Dir {
    /// Opens a folder.
    ///
    /// # Errors
    ///
    /// Those of openat2(2); `ENOTDIR` for what is not a folder.
    ///
    /// # Panics
    ///
    /// The future panics when it is first polled outside of a worker.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops the operation; a folder that was opened all the same is closed.
    pub async fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        let core = context::current();
        let flags = libc::O_DIRECTORY | libc::O_PATH | libc::O_CLOEXEC;
        let args = OpenArgs::new(None, c_path(path.as_ref())?, flags, 0, 0);
        let fd = core.op(Open, args).await?;
        Ok(Self {
            core,
            fd: SharedFd::new(fd),
        })
    }

    /// Asks for the folder's own metadata.
    ///
    /// # Errors
    ///
    /// Those of statx(2).
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost.
    pub async fn statx(&self) -> io::Result<Metadata> {
        stat(&self.core, Some(self.fd.clone()), c"".into()).await
    }

    pub(super) fn shared_fd(&self) -> &SharedFd {
        &self.fd
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl std::fmt::Debug for Dir {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dir")
            .field("fd", &self.fd.raw())
            .finish_non_exhaustive()
    }
}

/// What a folder lists under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    file_name: OsString,
    path: PathBuf,
    file_type: FileType,
}

/// The type of a folder's entry, without following it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FileType {
    /// A regular file.
    File,
    /// A folder.
    Dir,
    /// A symbolic link.
    Symlink,
    /// A device, a pipe, a socket.
    Other,
}

impl DirEntry {
    /// Returns the name within the folder.
    #[must_use]
    pub fn file_name(&self) -> &OsString {
        &self.file_name
    }

    /// Returns the folder's path with the name behind it.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the type.
    #[must_use]
    pub fn file_type(&self) -> FileType {
        self.file_type
    }
}

/// Lists a folder, in no order, through the blocking pool: the ring has no such operation.
///
/// # Errors
///
/// Those of opendir(3) and readdir(3).
///
/// # Panics
///
/// Panics outside of a worker.
///
/// # Cancel safety
///
/// Dropping the future drops the list.
pub async fn read_dir(path: impl AsRef<Path>) -> io::Result<Vec<DirEntry>> {
    let path = path.as_ref().to_owned();
    let listed = spawn_blocking(move || list(&path)).await;
    listed.unwrap_or_else(|error| Err(error.into()))
}

fn list(path: &Path) -> io::Result<Vec<DirEntry>> {
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        let file_type = entry.file_type()?;
        let file_type = if file_type.is_file() {
            FileType::File
        } else if file_type.is_dir() {
            FileType::Dir
        } else if file_type.is_symlink() {
            FileType::Symlink
        } else {
            FileType::Other
        };
        entries.push(DirEntry {
            file_name: entry.file_name(),
            path: entry.path(),
            file_type,
        });
    }
    Ok(entries)
}
