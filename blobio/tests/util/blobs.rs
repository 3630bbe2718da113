//! Blobs that behave oddly, within the contract.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use blobio::{
    BlobMetadata, BlobMetadataAsync, MemoryBlob, OwnedRead, RandomReadBlob, RandomReadBlobAsync,
};

use super::pattern_at;

/// The least that a reader has to write: everything else is provided.
#[derive(Clone, Debug)]
pub(crate) struct Minimal(pub(crate) Vec<u8>);

impl BlobMetadata for Minimal {
    fn byte_length(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }
}

impl RandomReadBlob for Minimal {
    fn read_slice(&self, pos: u64, buf: &mut [u8]) -> io::Result<usize> {
        MemoryBlob::new(&self.0).read_slice(pos, buf)
    }
}

/// A blob of any length, up to the longest there is, that takes no memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pattern {
    pub(crate) len: u64,
}

impl BlobMetadata for Pattern {
    fn byte_length(&self) -> io::Result<u64> {
        Ok(self.len)
    }
}

impl RandomReadBlob for Pattern {
    fn read_slice(&self, pos: u64, buf: &mut [u8]) -> io::Result<usize> {
        let mut got = 0;
        for (at, byte) in (pos..self.len).zip(buf) {
            *byte = pattern_at(at);
            got += 1;
        }
        Ok(got)
    }
}

/// A blob that is longer each time its length is not asked but its end is read.
#[derive(Debug)]
pub(crate) struct Growing {
    pub(crate) bytes: Vec<u8>,
    pub(crate) visible: Cell<usize>,
    pub(crate) step: usize,
}

impl BlobMetadata for Growing {
    fn byte_length(&self) -> io::Result<u64> {
        Ok(self.visible.get() as u64)
    }
}

impl RandomReadBlob for Growing {
    fn read_slice(&self, pos: u64, buf: &mut [u8]) -> io::Result<usize> {
        let got = MemoryBlob::new(&self.bytes[..self.visible.get()]).read_slice(pos, buf);
        self.visible
            .set((self.visible.get() + self.step).min(self.bytes.len()));
        got
    }
}

/// Counts the reads that reach the blob below.
#[derive(Clone, Debug)]
pub(crate) struct Counting<B> {
    pub(crate) inner: B,
    pub(crate) reads: Arc<AtomicU64>,
}

impl<B> Counting<B> {
    pub(crate) fn new(inner: B) -> Self {
        Self {
            inner,
            reads: Arc::default(),
        }
    }

    pub(crate) fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }
}

impl<B: BlobMetadata> BlobMetadata for Counting<B> {
    fn byte_length(&self) -> io::Result<u64> {
        self.inner.byte_length()
    }
}

impl<B: RandomReadBlob> RandomReadBlob for Counting<B> {
    fn read_slice(&self, pos: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.inner.read_slice(pos, buf)
    }
}

/// An asynchronous blob whose futures are pending a few times before they read.
#[derive(Clone, Debug)]
pub(crate) struct Slow<B>(pub(crate) B, pub(crate) u32);

/// A future that reads when it has been polled often enough.
#[derive(Debug)]
pub(crate) struct Later<F> {
    pending: u32,
    read: Option<F>,
}

impl<F: FnOnce() -> T + Unpin, T> Future for Later<F> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        if self.pending > 0 {
            self.pending -= 1;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let read = self.read.take().expect("polled after it was ready");
        Poll::Ready(read())
    }
}

type Boxed<'a, T> = Later<Box<dyn FnOnce() -> T + 'a>>;

impl<B> Slow<B> {
    fn later<'a, T>(&self, read: impl FnOnce() -> T + 'a) -> Boxed<'a, T> {
        Later {
            pending: self.1,
            read: Some(Box::new(read)),
        }
    }
}

impl<B: BlobMetadata + Clone + 'static> BlobMetadataAsync for Slow<B> {
    type ByteLengthFuture = Boxed<'static, io::Result<u64>>;

    fn byte_length_async(&self) -> Self::ByteLengthFuture {
        let blob = self.0.clone();
        self.later(move || blob.byte_length())
    }
}

impl<B: RandomReadBlob + Clone + 'static> RandomReadBlobAsync for Slow<B> {
    type ReadFuture<'a, 'b> = Boxed<'b, io::Result<usize>>;
    type ReadVecFuture<'a, 'b, 'bb>
        = Boxed<'b, io::Result<usize>>
    where
        'bb: 'b;
    type ReadOwnedFuture = Boxed<'static, OwnedRead>;

    fn read_async<'a, 'b>(
        &'a self,
        pos: u64,
        buf: &'b mut [MaybeUninit<u8>],
    ) -> Self::ReadFuture<'a, 'b> {
        let blob = self.0.clone();
        Later {
            pending: self.1,
            read: Some(Box::new(move || blob.read(pos, buf))),
        }
    }

    fn readv_async<'a, 'b, 'bb>(
        &'a self,
        pos: u64,
        bufs: &'b mut [IoSliceMut<'bb>],
    ) -> Self::ReadVecFuture<'a, 'b, 'bb> {
        let blob = self.0.clone();
        Later {
            pending: self.1,
            read: Some(Box::new(move || blob.readv(pos, bufs))),
        }
    }

    fn read_owned_async(&self, pos: u64, len: usize, mut buf: Vec<u8>) -> Self::ReadOwnedFuture {
        let blob = self.0.clone();
        self.later(move || match blob.read_vec(pos, len) {
            Ok(bytes) => {
                buf.clear();
                buf.extend_from_slice(&bytes);
                (Ok(bytes.len()), buf)
            }
            Err(e) => (Err(e), Vec::new()),
        })
    }
}
