//! The file reader on a worker's ring.

use std::future::{Future, ready};
use std::io;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::path::Path;
use std::pin::Pin;

use corelane::buf::IoBufMut;
use corelane::fs::File;

use super::borrowed::BorrowedRead;
use super::destination::{Destination, ReadInto};
use super::full::FullRead;
use crate::mmap::Mapping;
use crate::slice::BlobSlice;
use crate::traits::{BlobMetadataAsync, RandomReadBlobAsync, ReadHow};
use crate::uninit;

/// A file as a blob, read by the ring of the worker that opened it.
///
/// Any number of reads may be in flight at once. Clones share one file descriptor; it is closed
/// when the last of them, and the last read, is gone.
///
/// ```
/// # #[corelane::main]
/// # async fn main() -> std::io::Result<()> {
/// use blobio::{NativeFileAsyncBlobRandomReader, RandomReadBlobAsync};
///
/// let reader = NativeFileAsyncBlobRandomReader::open("/proc/self/exe").await?;
/// let (got, magic) = reader.read_at(Vec::with_capacity(4), 0).await;
/// assert_eq!((got?, magic.as_slice()), (4, &b"\x7fELF"[..]));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct NativeFileAsyncBlobRandomReader {
    file: File,
}

impl NativeFileAsyncBlobRandomReader {
    /// Opens the file at `path`, which need not be UTF-8, without blocking.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened for reading.
    ///
    /// # Panics
    ///
    /// The future panics when it is polled outside of a worker.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops the operation; a file that was opened all the same is closed.
    pub async fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        Ok(Self {
            file: File::open(path).await?,
        })
    }

    /// Gives the file below.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Reads at `pos` into `buf`, from its start to its capacity, and gives it back with the
    /// count: fewer bytes only at the end of the file. Nothing is copied.
    ///
    /// Take a [`RegionSlice`](crate::RegionSlice) to read into memory that Rust did not allocate.
    ///
    /// # Errors
    ///
    /// The count is an error when reading fails; the buffer may then have been written.
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped or forgotten at any time. The buffer goes with it, and is dropped
    /// once the kernel is done with it.
    pub fn read_at<B: IoBufMut>(&self, buf: B, pos: u64) -> FullRead<B> {
        let len = buf.capacity();
        FullRead::new(&self.file, pos, len, buf)
    }

    /// Maps `len` bytes from `offset`, which need not be aligned to a page.
    ///
    /// Touching a page that is not in memory blocks the worker. Nobody may change or truncate the
    /// file while it is mapped, which nothing checks: see [`Mapping`] for what happens otherwise.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof`, naming position and length, when the range is not inside of the file;
    /// otherwise when the system refuses the mapping.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing behind.
    pub async fn mmap_async(&self, offset: u64, len: usize) -> io::Result<Mapping> {
        let file_len = self.file.statx().await?.len();
        Mapping::of_file(self.file.as_fd(), file_len, offset, len)
    }
}

impl BlobSlice<NativeFileAsyncBlobRandomReader> {
    /// Reads at `pos` of the range into `buf`, from its start to its capacity, and gives it back
    /// with the count: fewer bytes only at the end of the range. Nothing is copied.
    ///
    /// # Errors
    ///
    /// The count is an error when reading fails; the buffer may then have been written.
    ///
    /// # Cancel safety
    ///
    /// As [`NativeFileAsyncBlobRandomReader::read_at`].
    pub fn read_at<B: IoBufMut>(&self, buf: B, pos: u64) -> FullRead<B> {
        let (at, len) = self.clamp(pos, buf.capacity());
        FullRead::new(&self.inner().file, at, len, buf)
    }
}

impl From<File> for NativeFileAsyncBlobRandomReader {
    fn from(file: File) -> Self {
        Self { file }
    }
}

impl BlobMetadataAsync for NativeFileAsyncBlobRandomReader {
    type ByteLengthFuture = Pin<Box<dyn Future<Output = io::Result<u64>>>>;

    fn byte_length_async(&self) -> Self::ByteLengthFuture {
        let file = self.file.clone();
        Box::pin(async move { Ok(file.statx().await?.len()) })
    }
}

impl RandomReadBlobAsync for NativeFileAsyncBlobRandomReader {
    type ReadFuture<'a, 'b> = BorrowedRead<Self, &'b mut [MaybeUninit<u8>]>;
    type ReadVecFuture<'a, 'b, 'bb>
        = BorrowedRead<Self, &'b mut [IoSliceMut<'bb>]>
    where
        'bb: 'b;
    type ReadOwnedFuture = FullRead<Vec<u8>>;

    fn read_async<'a, 'b>(
        &'a self,
        pos: u64,
        buf: &'b mut [MaybeUninit<u8>],
    ) -> Self::ReadFuture<'a, 'b> {
        BorrowedRead::new(self.clone(), pos, buf)
    }

    fn readv_async<'a, 'b, 'bb>(
        &'a self,
        pos: u64,
        bufs: &'b mut [IoSliceMut<'bb>],
    ) -> Self::ReadVecFuture<'a, 'b, 'bb> {
        BorrowedRead::new(self.clone(), pos, bufs)
    }

    fn read_owned_async(&self, pos: u64, len: usize, mut buf: Vec<u8>) -> Self::ReadOwnedFuture {
        match uninit::make_room(&mut buf, len) {
            Ok(()) => FullRead::new(&self.file, pos, len, buf),
            Err(e) => FullRead::failed(e, buf),
        }
    }

    fn read_into_async(
        &self,
        pos: u64,
        len: usize,
        mut dest: Destination,
        how: ReadHow,
    ) -> ReadInto {
        if let Err(error) = dest.reserve(len) {
            return Box::pin(ready((Err(error), dest)));
        }
        // Each kind of buffer by itself fits an operation's slot; the enum would be boxed.
        match dest {
            Destination::Vec(buf) => self.read_kind(pos, len, buf, how),
            Destination::Pool(buf) => self.read_kind(pos, len, buf, how),
            Destination::Aligned(buf) => self.read_kind(pos, len, buf, how),
            Destination::Region(slice) => self.read_kind(pos, len, slice, how),
        }
    }
}

impl NativeFileAsyncBlobRandomReader {
    fn read_kind<B>(&self, pos: u64, len: usize, buf: B, how: ReadHow) -> ReadInto
    where
        B: IoBufMut + Into<Destination>,
    {
        let read = FullRead::issued(&self.file, pos, len, buf, how);
        Box::pin(async move {
            let (result, buf) = read.await;
            (result, buf.into())
        })
    }
}
