//! Files and folders.
//!
//! Every call is an operation on the worker's ring; nothing here blocks the worker's thread, and
//! nothing keeps a cursor: reads and writes name their offset.

mod dir;
mod file;
mod metadata;
mod open;
mod read_full;

pub use dir::{Dir, DirEntry, FileType, read_dir};
pub use file::{Advice, File, ReadAt, WriteAt};
pub use metadata::{Metadata, metadata};
pub use open::OpenOptions;
pub use read_full::ReadFull;

pub use crate::op::ReadMode;

use std::io;
use std::path::Path;

/// Reads a whole file.
///
/// # Errors
///
/// Those of open(2), statx(2) and read(2).
///
/// # Panics
///
/// The future panics when it is first polled outside of a worker.
///
/// # Cancel safety
///
/// Dropping the future stops the read.
pub async fn read(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    let file = File::open(path).await?;
    let len = usize::try_from(file.statx().await?.len())
        .map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
    let mut bytes = Vec::new();
    // Pseudo files report no length, and any file may have grown meanwhile.
    loop {
        let filled = bytes.len();
        if filled == bytes.capacity() {
            bytes.reserve(len.saturating_sub(filled).max(4096));
        }
        let (result, part) = file
            .read_at(crate::buf::IoBuf::slice(bytes, filled..), filled as u64)
            .await;
        bytes = part.into_inner();
        if result? == 0 {
            return Ok(bytes);
        }
    }
}

fn c_path(path: &Path) -> io::Result<std::ffi::CString> {
    use std::os::unix::ffi::OsStrExt;
    std::ffi::CString::new(path.as_os_str().as_bytes()).map_err(|_| {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("the path {} contains a NUL byte", path.display()),
        )
    })
}
