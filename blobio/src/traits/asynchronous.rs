//! The asynchronous traits.

use std::future::Future;
use std::io;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;

use super::blocking::total_len;
#[cfg(feature = "executor")]
use super::hints::ReadHow;
use super::{BlobHints, GROWTH_PROBE_LEN, GROWTH_READ_MAX, advance, unexpected_eof};
#[cfg(feature = "executor")]
use crate::async_reader::{Destination, ReadInto, read_into_by_copy};
use crate::uninit;

/// The longest read behind [`RandomReadBlobAsync::readv_all_async`].
const EXACT_CHUNK_LEN: usize = 1 << 20;

/// The outcome of a read into an owned vector: the byte count or the error, and the vector.
///
/// The vector holds the bytes that were read; what it holds after an error is unspecified.
pub type OwnedRead = (io::Result<usize>, Vec<u8>);

/// A blob whose length can be asked without blocking.
pub trait BlobMetadataAsync {
    /// The future of [`byte_length_async`](Self::byte_length_async); it borrows nothing.
    type ByteLengthFuture: Future<Output = io::Result<u64>>;

    /// Gives the length of the blob in bytes, as it is when the future runs.
    ///
    /// # Errors
    ///
    /// The future fails when the length cannot be found out.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing behind.
    fn byte_length_async(&self) -> Self::ByteLengthFuture;
}

/// A blob that is read by position without blocking; [the module](crate::traits) states the
/// contract of reads.
///
/// Futures are associated types, so that a reader whose futures are `Send` can say so. The
/// futures of the provided methods are `Send` where the reader and its futures are.
pub trait RandomReadBlobAsync: BlobMetadataAsync {
    /// The future of [`read_async`](Self::read_async).
    type ReadFuture<'a, 'b>: Future<Output = io::Result<usize>>
    where
        Self: 'a;

    /// The future of [`readv_async`](Self::readv_async).
    type ReadVecFuture<'a, 'b, 'bb>: Future<Output = io::Result<usize>>
    where
        Self: 'a,
        'bb: 'b;

    /// The future of [`read_owned_async`](Self::read_owned_async); it borrows nothing from the
    /// blob, so that whoever owns the blob can store the future beside it.
    type ReadOwnedFuture: Future<Output = OwnedRead> + 'static;

    /// Reads at `pos` into memory that may be uninitialised, and gives the number of bytes read.
    ///
    /// # Errors
    ///
    /// The future fails when reading fails; any part of `buf` may then have been written.
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped or forgotten at any time: nothing is written to `buf` but
    /// while the future is polled.
    fn read_async<'a, 'b>(
        &'a self,
        pos: u64,
        buf: &'b mut [MaybeUninit<u8>],
    ) -> Self::ReadFuture<'a, 'b>;

    /// Reads at `pos` into every slice of `bufs` in order, and gives the number of bytes read.
    ///
    /// # Errors
    ///
    /// The future fails when reading fails; the slices then hold unspecified bytes.
    ///
    /// # Cancel safety
    ///
    /// As [`read_async`](Self::read_async).
    fn readv_async<'a, 'b, 'bb>(
        &'a self,
        pos: u64,
        bufs: &'b mut [IoSliceMut<'bb>],
    ) -> Self::ReadVecFuture<'a, 'b, 'bb>;

    /// Reads up to `len` bytes at `pos` into `buf`, which is emptied and grown first, and gives
    /// the vector back with the count.
    ///
    /// This is the form that needs no copy.
    ///
    /// # Errors
    ///
    /// The count is an error when reading fails or there is no memory for `len` bytes.
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped or forgotten at any time; the vector goes with it.
    fn read_owned_async(&self, pos: u64, len: usize, buf: Vec<u8>) -> Self::ReadOwnedFuture;

    /// Says what helps to order and merge reads of the blob. Advice: nothing depends on it but
    /// speed.
    fn hints(&self) -> BlobHints {
        BlobHints::new()
    }

    /// Reads up to `len` bytes at `pos` into `dest`, which is emptied first, and gives it back with
    /// the count: fewer bytes only at the end of the blob.
    ///
    /// Readers of files read straight into the destination; the provided method does so for
    /// vectors, and copies otherwise.
    ///
    /// # Errors
    ///
    /// The count is an error when reading fails, with `WouldBlock` where [`ReadHow::NoWait`] would
    /// have to wait; the destination may then have been written. `InvalidInput` when `len` bytes
    /// do not fit the destination.
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped or forgotten at any time; the destination goes with it, and is
    /// dropped once the kernel is done with it.
    #[cfg(feature = "executor")]
    fn read_into_async(&self, pos: u64, len: usize, dest: Destination, how: ReadHow) -> ReadInto {
        let _ = how;
        read_into_by_copy(dest, len, |vec| self.read_owned_async(pos, len, vec))
    }

    /// Reads exactly `buf.len()` bytes at `pos`.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof`, naming position and length, when the blob ends before; otherwise when
    /// reading fails.
    ///
    /// # Cancel safety
    ///
    /// As [`read_async`](Self::read_async).
    fn read_exact_async(
        &self,
        pos: u64,
        buf: &mut [MaybeUninit<u8>],
    ) -> impl Future<Output = io::Result<()>> {
        async move {
            let mut done = 0;
            while done < buf.len() {
                let got = match advance(pos, done) {
                    Some(at) => self.read_async(at, &mut buf[done..]).await?,
                    None => 0,
                };
                if got == 0 {
                    return Err(unexpected_eof(pos, buf.len() as u64, done as u64));
                }
                done += got;
            }
            Ok(())
        }
    }

    /// Fills every slice of `bufs`, in order, from `pos`.
    ///
    /// The bytes pass through a vector, so that the future is `Send` where the owned reads are:
    /// of a future that borrows slices of slices the compiler cannot see that
    /// (rust-lang/rust#100013).
    ///
    /// # Errors
    ///
    /// `UnexpectedEof`, naming position and length, when the blob ends before; otherwise when
    /// reading fails.
    ///
    /// # Cancel safety
    ///
    /// As [`readv_async`](Self::readv_async).
    fn readv_all_async(
        &self,
        pos: u64,
        bufs: &mut [IoSliceMut<'_>],
    ) -> impl Future<Output = io::Result<()>> {
        async move {
            let total = total_len(bufs);
            let mut done = 0;
            let mut chunk = Vec::new();
            let mut taken = 0;
            for buf in bufs.iter_mut() {
                let mut rest = &mut buf[..];
                while !rest.is_empty() {
                    if taken == chunk.len() {
                        let want = uninit::clamp(EXACT_CHUNK_LEN, total - done);
                        let got;
                        (got, chunk) = match pos.checked_add(done) {
                            Some(at) => self.read_owned_async(at, want, chunk).await,
                            None => (Ok(0), Vec::new()),
                        };
                        if got? == 0 {
                            return Err(unexpected_eof(pos, total, done));
                        }
                        done += chunk.len() as u64;
                        taken = 0;
                    }
                    let len = rest.len().min(chunk.len() - taken);
                    rest[..len].copy_from_slice(&chunk[taken..taken + len]);
                    taken += len;
                    rest = &mut rest[len..];
                }
            }
            Ok(())
        }
    }

    /// Reads from `pos` to the end of the blob.
    ///
    /// The vector is allocated once, for the length that the blob has now; should the blob have
    /// grown by the time it is read, reading goes on until its end.
    ///
    /// # Errors
    ///
    /// When reading fails or there is no memory for the bytes.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops what was read; nothing else is lost.
    fn read_to_end_async(&self, pos: u64) -> impl Future<Output = io::Result<Vec<u8>>> {
        async move {
            let left = self.byte_length_async().await?.saturating_sub(pos);
            let len = usize::try_from(left).map_err(|_| io::ErrorKind::OutOfMemory)?;
            let (got, mut vec) = self.read_owned_async(pos, len, Vec::new()).await;
            let mut grown = got? == len;
            let mut want = GROWTH_PROBE_LEN;
            let mut spare = Vec::new();
            while grown {
                let Some(at) = advance(pos, vec.len()) else {
                    break;
                };
                let (got, more) = self.read_owned_async(at, want, spare).await;
                grown = got? > 0;
                vec.extend_from_slice(&more);
                want = vec.len().clamp(GROWTH_PROBE_LEN, GROWTH_READ_MAX);
                spare = more;
            }
            Ok(vec)
        }
    }
}
