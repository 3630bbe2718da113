//! A range of a blob is a blob.

use std::future::Future;
use std::io;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

#[cfg(feature = "executor")]
use crate::async_reader::{Destination, ReadInto};
use crate::mmap::Mapping;
#[cfg(feature = "executor")]
use crate::traits::ReadHow;
use crate::traits::{
    BlobHints, BlobMetadata, BlobMetadataAsync, MemoryMapBlob, RandomReadBlob, RandomReadBlobAsync,
    unexpected_eof,
};
use crate::uninit;

/// A range of a blob, as a blob of its own.
///
/// Reads end where the range ends, or where the blob below does if that comes first.
#[derive(Clone, Copy, Debug)]
pub struct BlobSlice<B> {
    inner: B,
    offset: u64,
    len: u64,
}

impl<B> BlobSlice<B> {
    /// Makes a blob of `len` bytes of `inner` from `offset`.
    ///
    /// The range may reach past the end of `inner`; what is not there is not read.
    ///
    /// # Errors
    ///
    /// `InvalidInput` when `offset + len` is more than a `u64` holds.
    pub fn new(inner: B, offset: u64, len: u64) -> io::Result<Self> {
        if offset.checked_add(len).is_none() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("blob slice of {len} bytes at {offset} has no end"),
            ));
        }
        Ok(Self { inner, offset, len })
    }

    /// Gives the position of the range in the blob below.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Gives the blob below.
    pub fn inner(&self) -> &B {
        &self.inner
    }

    /// Gives the blob below back.
    pub fn into_inner(self) -> B {
        self.inner
    }

    /// Turns a read of the range into one of the blob below: where, and how many bytes.
    pub(crate) fn clamp(&self, pos: u64, want: usize) -> (u64, usize) {
        let pos = pos.min(self.len);
        (self.offset + pos, uninit::clamp(want, self.len - pos))
    }

    /// Gives the length of the range inside of a blob of `inner_len` bytes.
    fn clamp_len(&self, inner_len: u64) -> u64 {
        self.len.min(inner_len.saturating_sub(self.offset))
    }
}

/// Splits the slices of a vectored read at `limit` bytes: how many lie before it as a whole, and
/// how many bytes of the next one do.
fn split_point(bufs: &[IoSliceMut<'_>], limit: u64) -> (usize, usize) {
    let mut left = limit;
    for (index, buf) in bufs.iter().enumerate() {
        let len = buf.len() as u64;
        if len > left {
            return (index, uninit::clamp(buf.len(), left));
        }
        left -= len;
    }
    (bufs.len(), 0)
}

impl<B: BlobMetadata> BlobMetadata for BlobSlice<B> {
    fn byte_length(&self) -> io::Result<u64> {
        Ok(self.clamp_len(self.inner.byte_length()?))
    }
}

impl<B: RandomReadBlob> RandomReadBlob for BlobSlice<B> {
    fn read_slice(&self, pos: u64, buf: &mut [u8]) -> io::Result<usize> {
        let (at, len) = self.clamp(pos, buf.len());
        self.inner.read_slice(at, &mut buf[..len])
    }

    fn read(&self, pos: u64, buf: &mut [MaybeUninit<u8>]) -> io::Result<usize> {
        let (at, len) = self.clamp(pos, buf.len());
        self.inner.read(at, &mut buf[..len])
    }

    fn readv(&self, pos: u64, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let pos = pos.min(self.len);
        let at = self.offset + pos;
        let (whole, part) = split_point(bufs, self.len - pos);
        let (whole, rest) = bufs.split_at_mut(whole);
        let want: usize = whole.iter().map(|buf| buf.len()).sum();
        let got = self.inner.readv(at, whole)?;
        match rest.first_mut() {
            Some(buf) if part > 0 && got == want => {
                Ok(got + self.inner.read_slice(at + got as u64, &mut buf[..part])?)
            }
            _ => Ok(got),
        }
    }

    fn read_vec(&self, pos: u64, len: usize) -> io::Result<Vec<u8>> {
        let (at, len) = self.clamp(pos, len);
        self.inner.read_vec(at, len)
    }
}

impl<B: MemoryMapBlob> MemoryMapBlob for BlobSlice<B> {
    fn mmap(&self, offset: u64, len: usize) -> io::Result<Mapping> {
        let there = self.len.saturating_sub(offset);
        if len as u64 > there || offset > self.len {
            return Err(unexpected_eof(offset, len as u64, there));
        }
        self.inner.mmap(self.offset + offset, len)
    }
}

impl<B: BlobMetadataAsync> BlobMetadataAsync for BlobSlice<B> {
    type ByteLengthFuture = ByteLengthOfSlice<B::ByteLengthFuture>;

    fn byte_length_async(&self) -> Self::ByteLengthFuture {
        let inner = self.inner.byte_length_async();
        ByteLengthOfSlice {
            inner,
            offset: self.offset,
            len: self.len,
        }
    }
}

impl<B: RandomReadBlobAsync> RandomReadBlobAsync for BlobSlice<B> {
    type ReadFuture<'a, 'b>
        = B::ReadFuture<'a, 'b>
    where
        Self: 'a;
    type ReadVecFuture<'a, 'b, 'bb>
        = ReadVecOfSlice<'b, 'bb, B::ReadVecFuture<'a, 'b, 'bb>, B::ReadOwnedFuture>
    where
        Self: 'a,
        'bb: 'b;
    type ReadOwnedFuture = B::ReadOwnedFuture;

    fn read_async<'a, 'b>(
        &'a self,
        pos: u64,
        buf: &'b mut [MaybeUninit<u8>],
    ) -> Self::ReadFuture<'a, 'b> {
        let (at, len) = self.clamp(pos, buf.len());
        self.inner.read_async(at, &mut buf[..len])
    }

    fn readv_async<'a, 'b, 'bb>(
        &'a self,
        pos: u64,
        bufs: &'b mut [IoSliceMut<'bb>],
    ) -> Self::ReadVecFuture<'a, 'b, 'bb> {
        let pos = pos.min(self.len);
        let at = self.offset + pos;
        let (whole, part) = split_point(bufs, self.len - pos);
        let (whole, rest) = bufs.split_at_mut(whole);
        let want: usize = whole.iter().map(|buf| buf.len()).sum();
        // The part of a slice that the range ends in goes through a vector: there is no way to
        // shorten the slice for the reader below.
        let into = rest.first_mut().filter(|_| part > 0);
        let part = into.is_some().then(|| {
            self.inner
                .read_owned_async(at + want as u64, part, Vec::new())
        });
        ReadVecOfSlice {
            whole: self.inner.readv_async(at, whole),
            part,
            into,
            want,
            got: None,
        }
    }

    fn read_owned_async(&self, pos: u64, len: usize, buf: Vec<u8>) -> Self::ReadOwnedFuture {
        let (at, len) = self.clamp(pos, len);
        self.inner.read_owned_async(at, len, buf)
    }

    fn hints(&self) -> BlobHints {
        self.inner.hints().of_range(self.offset)
    }

    #[cfg(feature = "executor")]
    fn read_into_async(&self, pos: u64, len: usize, dest: Destination, how: ReadHow) -> ReadInto {
        let (at, len) = self.clamp(pos, len);
        self.inner.read_into_async(at, len, dest, how)
    }
}

pin_project! {
    /// The future of a slice's length.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct ByteLengthOfSlice<F> {
        #[pin]
        inner: F,
        offset: u64,
        len: u64,
    }
}

impl<F: Future<Output = io::Result<u64>>> Future for ByteLengthOfSlice<F> {
    type Output = io::Result<u64>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let inner_len = ready!(this.inner.poll(cx))?;
        Poll::Ready(Ok((*this.len).min(inner_len.saturating_sub(*this.offset))))
    }
}

pin_project! {
    /// The future of a vectored read of a slice.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct ReadVecOfSlice<'b, 'bb, V, O> {
        #[pin]
        whole: V,
        #[pin]
        part: Option<O>,
        into: Option<&'b mut IoSliceMut<'bb>>,
        want: usize,
        got: Option<usize>,
    }
}

impl<V, O> Future for ReadVecOfSlice<'_, '_, V, O>
where
    V: Future<Output = io::Result<usize>>,
    O: Future<Output = (io::Result<usize>, Vec<u8>)>,
{
    type Output = io::Result<usize>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let got = match *this.got {
            Some(got) => got,
            None => *this.got.insert(ready!(this.whole.poll(cx))?),
        };
        let Some(part) = this.part.as_pin_mut().filter(|_| got == *this.want) else {
            return Poll::Ready(Ok(got));
        };
        let (result, bytes) = ready!(part.poll(cx));
        result?;
        if let Some(into) = this.into {
            into[..bytes.len()].copy_from_slice(&bytes);
        }
        Poll::Ready(Ok(got + bytes.len()))
    }
}
