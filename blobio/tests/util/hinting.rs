//! The file reader with hints of one's choice.

use blobio::{
    BlobHints, BlobMetadataAsync, Destination, NativeFileAsyncBlobRandomReader,
    RandomReadBlobAsync, ReadHow, ReadInto,
};

/// The file's reader, saying what it is told to say of itself.
#[derive(Clone)]
pub(crate) struct Hinting {
    pub(crate) inner: NativeFileAsyncBlobRandomReader,
    pub(crate) hints: BlobHints,
}

impl BlobMetadataAsync for Hinting {
    type ByteLengthFuture =
        <NativeFileAsyncBlobRandomReader as BlobMetadataAsync>::ByteLengthFuture;

    fn byte_length_async(&self) -> Self::ByteLengthFuture {
        self.inner.byte_length_async()
    }
}

impl RandomReadBlobAsync for Hinting {
    type ReadFuture<'a, 'b> =
        <NativeFileAsyncBlobRandomReader as RandomReadBlobAsync>::ReadFuture<'a, 'b>;
    type ReadVecFuture<'a, 'b, 'bb>
        = <NativeFileAsyncBlobRandomReader as RandomReadBlobAsync>::ReadVecFuture<'a, 'b, 'bb>
    where
        'bb: 'b;
    type ReadOwnedFuture =
        <NativeFileAsyncBlobRandomReader as RandomReadBlobAsync>::ReadOwnedFuture;

    fn read_async<'a, 'b>(
        &'a self,
        pos: u64,
        buf: &'b mut [std::mem::MaybeUninit<u8>],
    ) -> Self::ReadFuture<'a, 'b> {
        self.inner.read_async(pos, buf)
    }

    fn readv_async<'a, 'b, 'bb>(
        &'a self,
        pos: u64,
        bufs: &'b mut [std::io::IoSliceMut<'bb>],
    ) -> Self::ReadVecFuture<'a, 'b, 'bb> {
        self.inner.readv_async(pos, bufs)
    }

    fn read_owned_async(&self, pos: u64, len: usize, buf: Vec<u8>) -> Self::ReadOwnedFuture {
        self.inner.read_owned_async(pos, len, buf)
    }

    fn hints(&self) -> BlobHints {
        self.hints
    }

    fn read_into_async(&self, pos: u64, len: usize, dest: Destination, how: ReadHow) -> ReadInto {
        self.inner.read_into_async(pos, len, dest, how)
    }
}
