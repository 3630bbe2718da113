//! The blocking file reader: `pread(2)` and `preadv(2)`.

mod pread;

use std::fs::File;
use std::io;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use crate::mmap::Mapping;
use crate::traits::{BlobMetadata, MemoryMapBlob, RandomReadBlob};

/// A file as a blob, read with `pread(2)` on the calling thread.
///
/// Clones share one file descriptor, which is closed with the last of them.
///
/// ```no_run
/// use blobio::{NativeFileBlobRandomReader, RandomReadBlob};
///
/// let level = NativeFileBlobRandomReader::open("levels/e1m1.bsp")?;
/// let header = level.read_vec(0, 124)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct NativeFileBlobRandomReader {
    file: Arc<File>,
}

impl NativeFileBlobRandomReader {
    /// Opens the file at `path`, which need not be UTF-8.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened for reading.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        File::open(path).map(Self::from)
    }
}

impl From<File> for NativeFileBlobRandomReader {
    fn from(file: File) -> Self {
        Self {
            file: Arc::new(file),
        }
    }
}

impl AsFd for NativeFileBlobRandomReader {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl BlobMetadata for NativeFileBlobRandomReader {
    fn byte_length(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }
}

impl RandomReadBlob for NativeFileBlobRandomReader {
    fn read_slice(&self, pos: u64, buf: &mut [u8]) -> io::Result<usize> {
        pread::fill(pos, buf.len(), pread::RW_COUNT_MAX, |at, done, len| {
            self.file.read_at(&mut buf[done..done + len], at)
        })
    }

    fn read(&self, pos: u64, buf: &mut [MaybeUninit<u8>]) -> io::Result<usize> {
        pread::read_uninit(self.file.as_fd(), pos, buf)
    }

    fn readv(&self, pos: u64, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        pread::read_vectored(self.file.as_fd(), pos, bufs)
    }

    fn read_vec(&self, pos: u64, len: usize) -> io::Result<Vec<u8>> {
        pread::read_vec(self.file.as_fd(), pos, len)
    }
}

impl MemoryMapBlob for NativeFileBlobRandomReader {
    fn mmap(&self, offset: u64, len: usize) -> io::Result<Mapping> {
        Mapping::of_file(self.file.as_fd(), self.byte_length()?, offset, len)
    }
}
