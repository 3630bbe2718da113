//! Reads into borrowed memory, through a vector that the read owns.

use std::fmt;
use std::future::Future;
use std::io;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use crate::traits::{RandomReadBlobAsync, advance};
use crate::uninit;

/// The most bytes that pass through the vector at a time.
const CHUNK_LEN: usize = 256 << 10;

/// Borrowed memory that a read is copied into.
pub trait Destination {
    /// Gives the number of bytes that fit.
    fn room(&self) -> usize;

    /// Copies `bytes` to `at`; what has been put there before `at` stays.
    fn put(&mut self, at: usize, bytes: &[u8]);
}

impl Destination for &mut [MaybeUninit<u8>] {
    fn room(&self) -> usize {
        self.len()
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        uninit::copy_into(&mut self[at..], bytes);
    }
}

impl Destination for &mut [IoSliceMut<'_>] {
    fn room(&self) -> usize {
        self.iter().map(|buf| buf.len()).sum()
    }

    fn put(&mut self, at: usize, mut bytes: &[u8]) {
        let mut skip = at;
        for buf in self.iter_mut() {
            let skipped = skip.min(buf.len());
            skip -= skipped;
            let len = bytes.len().min(buf.len() - skipped);
            let (now, later) = bytes.split_at(len);
            buf[skipped..skipped + len].copy_from_slice(now);
            bytes = later;
        }
    }
}

/// The future of a read into borrowed memory, which is written only while the future is polled.
#[must_use = "a read does nothing unless it is awaited"]
pub struct BorrowedRead<B: RandomReadBlobAsync, D> {
    blob: B,
    pos: u64,
    to: D,
    done: usize,
    want: usize,
    chunk: Option<B::ReadOwnedFuture>,
    spare: Vec<u8>,
}

impl<B: RandomReadBlobAsync, D> BorrowedRead<B, D> {
    pub(super) fn new(blob: B, pos: u64, to: D) -> Self {
        Self {
            blob,
            pos,
            to,
            done: 0,
            want: 0,
            chunk: None,
            spare: Vec::new(),
        }
    }
}

impl<B, D> Future for BorrowedRead<B, D>
where
    B: RandomReadBlobAsync + Unpin,
    B::ReadOwnedFuture: Unpin,
    D: Destination + Unpin,
{
    type Output = io::Result<usize>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        loop {
            if let Some(chunk) = &mut this.chunk {
                let (result, bytes) = ready!(Pin::new(chunk).poll(cx));
                this.chunk = None;
                let got = result?;
                this.to.put(this.done, &bytes[..got]);
                this.done += got;
                this.spare = bytes;
                if got < this.want {
                    return Poll::Ready(Ok(this.done));
                }
            }
            this.want = CHUNK_LEN.min(this.to.room() - this.done);
            let Some(at) = advance(this.pos, this.done).filter(|_| this.want > 0) else {
                return Poll::Ready(Ok(this.done));
            };
            let spare = std::mem::take(&mut this.spare);
            this.chunk = Some(this.blob.read_owned_async(at, this.want, spare));
        }
    }
}

impl<B: RandomReadBlobAsync, D> fmt::Debug for BorrowedRead<B, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BorrowedRead")
            .field("pos", &self.pos)
            .field("done", &self.done)
            .finish_non_exhaustive()
    }
}
