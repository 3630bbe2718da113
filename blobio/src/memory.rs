//! A blob over bytes that are in memory already.

use std::future::{Ready, ready};
use std::io;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;

use crate::traits::{
    BlobMetadata, BlobMetadataAsync, OwnedRead, RandomReadBlob, RandomReadBlobAsync,
};
use crate::uninit;

/// A blob over anything that is a run of bytes: `Vec<u8>`, `Arc<[u8]>`, `&'static [u8]`,
/// a [`Mapping`](crate::Mapping).
///
/// Its asynchronous reads are done by the time their future is made.
///
/// ```
/// use std::sync::Arc;
/// use blobio::{MemoryBlob, RandomReadBlob};
///
/// let blob = MemoryBlob::new(Arc::<[u8]>::from(*b"0123456789"));
/// assert_eq!(blob.read_vec(7, 100)?, b"789");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct MemoryBlob<T> {
    bytes: T,
}

impl<T: AsRef<[u8]>> MemoryBlob<T> {
    /// Makes a blob of `bytes`.
    pub const fn new(bytes: T) -> Self {
        Self { bytes }
    }

    /// Gives the bytes back.
    pub fn into_inner(self) -> T {
        self.bytes
    }

    /// Gives up to `len` bytes from `pos`.
    fn at(&self, pos: u64, len: usize) -> &[u8] {
        let bytes = self.bytes.as_ref();
        let start = uninit::clamp(bytes.len(), pos);
        let end = start.saturating_add(len).min(bytes.len());
        &bytes[start..end]
    }
}

impl<T: AsRef<[u8]>> From<T> for MemoryBlob<T> {
    fn from(bytes: T) -> Self {
        Self::new(bytes)
    }
}

impl<T: AsRef<[u8]>> BlobMetadata for MemoryBlob<T> {
    fn byte_length(&self) -> io::Result<u64> {
        Ok(self.bytes.as_ref().len() as u64)
    }
}

impl<T: AsRef<[u8]>> RandomReadBlob for MemoryBlob<T> {
    fn read_slice(&self, pos: u64, buf: &mut [u8]) -> io::Result<usize> {
        let bytes = self.at(pos, buf.len());
        buf[..bytes.len()].copy_from_slice(bytes);
        Ok(bytes.len())
    }

    fn read(&self, pos: u64, buf: &mut [MaybeUninit<u8>]) -> io::Result<usize> {
        let bytes = self.at(pos, buf.len());
        uninit::copy_into(buf, bytes);
        Ok(bytes.len())
    }

    fn read_vec(&self, pos: u64, len: usize) -> io::Result<Vec<u8>> {
        let bytes = self.at(pos, len);
        let mut vec = uninit::vec_with_room(bytes.len())?;
        vec.extend_from_slice(bytes);
        Ok(vec)
    }
}

impl<T: AsRef<[u8]>> BlobMetadataAsync for MemoryBlob<T> {
    type ByteLengthFuture = Ready<io::Result<u64>>;

    fn byte_length_async(&self) -> Self::ByteLengthFuture {
        ready(self.byte_length())
    }
}

impl<T: AsRef<[u8]>> RandomReadBlobAsync for MemoryBlob<T> {
    type ReadFuture<'a, 'b>
        = Ready<io::Result<usize>>
    where
        Self: 'a;
    type ReadVecFuture<'a, 'b, 'bb>
        = Ready<io::Result<usize>>
    where
        Self: 'a,
        'bb: 'b;
    type ReadOwnedFuture = Ready<OwnedRead>;

    fn read_async<'a, 'b>(
        &'a self,
        pos: u64,
        buf: &'b mut [MaybeUninit<u8>],
    ) -> Self::ReadFuture<'a, 'b> {
        ready(self.read(pos, buf))
    }

    fn readv_async<'a, 'b, 'bb>(
        &'a self,
        pos: u64,
        bufs: &'b mut [IoSliceMut<'bb>],
    ) -> Self::ReadVecFuture<'a, 'b, 'bb> {
        ready(self.readv(pos, bufs))
    }

    fn read_owned_async(&self, pos: u64, len: usize, mut buf: Vec<u8>) -> Self::ReadOwnedFuture {
        let bytes = self.at(pos, len);
        let result = uninit::make_room(&mut buf, bytes.len()).map(|()| {
            buf.extend_from_slice(bytes);
            bytes.len()
        });
        ready((result, buf))
    }
}
