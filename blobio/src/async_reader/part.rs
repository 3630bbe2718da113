//! Destinations of reads: the part of a buffer that is still to be filled, a region, a pointer.
//!
//! # Safety
//!
//! What corelane asks of a buffer is that its bytes stay where they are while the value moves,
//! that nothing else touches them meanwhile, and that it claims no byte to be initialised that is
//! not.
//!
//! - [`Part`] is over a buffer that keeps these promises, and stays within its capacity. It begins
//!   where the bytes end that `set_init` was called for, and moves with that call, which
//!   [`IoBufMut`] forbids of buffers at large: a part is given to one operation at a time, of one
//!   buffer, which calls `set_init` last, and nothing asks for its address between a completion
//!   and the next request.
//! - [`DirectPart`] is over a part, and may read on behind its end, within the capacity of the
//!   buffer below; it claims no byte behind the part's end.
//! - [`Held`] passes every call on to the buffer in it.
//! - [`RegionSlice`] points into memory that its owner, which it keeps alive, does not move, and
//!   that nothing else reaches; it claims no byte initialised.
//! - [`RawDestination`] leaves the promises to the caller of
//!   [`read_raw`](NativeFileAsyncBlobRandomReader::read_raw).
#![allow(unsafe_code, reason = "implements corelane's buffer traits")]

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use corelane::buf::{IoBuf, IoBufMut};

use super::device::Permit;
use super::full::FullRead;
use super::native::NativeFileAsyncBlobRandomReader;
use crate::region::RegionSlice;

/// What is left to read of a buffer's bytes up to `end`.
///
/// Two words besides the buffer, so that with a vector or a region's slice it fits into an
/// operation's slot without an allocation.
#[derive(Debug)]
pub(super) struct Part<B> {
    inner: B,
    // The bytes before it are initialised: moved by `set_init` alone, whose caller saw to that.
    begin: usize,
    end: usize,
}

impl<B: IoBufMut> Part<B> {
    /// Makes the part of the first `len` bytes of `inner`, or all of them if there are fewer.
    pub(super) fn new(inner: B, len: usize) -> Self {
        let end = inner.capacity().min(len);
        Self {
            inner,
            begin: 0,
            end,
        }
    }

    /// Gives the number of bytes read so far.
    pub(super) fn filled(&self) -> usize {
        self.begin
    }

    /// Gives the number of bytes left to fill.
    pub(super) fn left(&self) -> usize {
        self.end - self.begin
    }

    /// Gives the number of bytes that the buffer has from where the next one is read to.
    pub(super) fn room(&self) -> usize {
        self.inner.capacity() - self.begin
    }

    /// Gives the address that the next byte is read to.
    pub(super) fn addr(&self) -> usize {
        self.stable_ptr().addr()
    }

    /// Copies `bytes` to where the next byte is read to.
    ///
    /// # Panics
    ///
    /// When there are more of them than are left to fill.
    pub(super) fn put(&mut self, bytes: &[u8]) {
        assert!(bytes.len() <= self.left(), "more was read than asked for");
        let to = self.stable_mut_ptr();
        // SAFETY: that many bytes may be written from `begin`; they are the buffer's alone, which
        // is borrowed exclusively, so `bytes` lie elsewhere.
        unsafe { to.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        // SAFETY: just written, and no more than are left.
        unsafe { self.set_init(bytes.len()) };
    }

    /// Says whether there is nothing left to fill.
    pub(super) fn is_full(&self) -> bool {
        self.begin >= self.end
    }

    /// Gives the buffer back as a read that found nothing does: with no byte initialised.
    pub(super) fn into_emptied(mut self) -> B {
        // SAFETY: no bytes are claimed.
        unsafe { self.inner.set_init(0) };
        self.inner
    }

    /// Gives the buffer back.
    pub(super) fn into_inner(self) -> B {
        self.inner
    }
}

// SAFETY: the address is the inner buffer's, which is stable, with `begin` added; `begin` is at
// most the capacity, and the bytes claimed are claimed by the inner buffer.
unsafe impl<B: IoBufMut> IoBuf for Part<B> {
    fn stable_ptr(&self) -> *const u8 {
        // SAFETY: `begin` is at most `end`, which is at most the inner capacity.
        unsafe { self.inner.stable_ptr().add(self.begin) }
    }

    fn init_len(&self) -> usize {
        self.inner
            .init_len()
            .min(self.end)
            .saturating_sub(self.begin)
    }

    fn fixed_index(&self, owner: usize) -> Option<u16> {
        self.inner.fixed_index(owner)
    }
}

// SAFETY: as for IoBuf, within the inner buffer's capacity; nothing is claimed without set_init.
unsafe impl<B: IoBufMut> IoBufMut for Part<B> {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        // SAFETY: `begin` is at most `end`, which is at most the inner capacity.
        unsafe { self.inner.stable_mut_ptr().add(self.begin) }
    }

    fn capacity(&self) -> usize {
        self.end - self.begin
    }

    unsafe fn set_init(&mut self, len: usize) {
        self.begin += len;
        // SAFETY: the caller has initialised `len` bytes from the former `begin`, within `end`;
        // those before it are initialised, because it is 0 or was moved by such a call.
        unsafe { self.inner.set_init(self.begin) };
    }
}

/// A buffer, and something that is to last for as long as the kernel works on it.
#[derive(Debug)]
pub(super) struct Held<B, K> {
    buf: B,
    _kept: K,
}

impl<B, K> Held<B, K> {
    /// Lets `kept` go with `buf`.
    pub(super) fn new(buf: B, kept: K) -> Self {
        Self { buf, _kept: kept }
    }

    /// Gives the buffer back, and up what went with it.
    pub(super) fn into_inner(self) -> B {
        self.buf
    }
}

// SAFETY: passed on to the buffer, which is one itself and is reached through this value alone.
unsafe impl<B: IoBuf, K: 'static> IoBuf for Held<B, K> {
    fn stable_ptr(&self) -> *const u8 {
        self.buf.stable_ptr()
    }

    fn init_len(&self) -> usize {
        self.buf.init_len()
    }

    fn fixed_index(&self, owner: usize) -> Option<u16> {
        self.buf.fixed_index(owner)
    }
}

// SAFETY: as for IoBuf.
unsafe impl<B: IoBufMut, K: 'static> IoBufMut for Held<B, K> {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        self.buf.stable_mut_ptr()
    }

    fn capacity(&self) -> usize {
        self.buf.capacity()
    }

    unsafe fn set_init(&mut self, len: usize) {
        // SAFETY: the caller keeps to the buffer's own terms.
        unsafe { self.buf.set_init(len) };
    }
}

/// A part as the destination of one direct read, which may be longer than the part where the
/// buffer is, and the permit for it, held for as long as the kernel works on the read.
#[derive(Debug)]
pub(super) struct DirectPart<B> {
    part: Part<B>,
    len: usize,
    _permit: Permit,
}

impl<B: IoBufMut> DirectPart<B> {
    /// Makes the destination of a read of `len` bytes.
    ///
    /// # Panics
    ///
    /// When the buffer has no room for them.
    pub(super) fn new(part: Part<B>, len: usize, permit: Permit) -> Self {
        assert!(len <= part.room(), "a read of more than there is room for");
        Self {
            part,
            len,
            _permit: permit,
        }
    }

    /// Gives the part back, and the permit up.
    pub(super) fn into_part(self) -> Part<B> {
        self.part
    }
}

// SAFETY: the part's address, which is stable; no byte is claimed but what the part claims.
unsafe impl<B: IoBufMut> IoBuf for DirectPart<B> {
    fn stable_ptr(&self) -> *const u8 {
        self.part.stable_ptr()
    }

    fn init_len(&self) -> usize {
        self.part.init_len().min(self.len)
    }

    fn fixed_index(&self, owner: usize) -> Option<u16> {
        self.part.fixed_index(owner)
    }
}

// SAFETY: as for IoBuf; `len` bytes from the part's beginning are within the buffer's capacity.
unsafe impl<B: IoBufMut> IoBufMut for DirectPart<B> {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        self.part.stable_mut_ptr()
    }

    fn capacity(&self) -> usize {
        self.len
    }

    unsafe fn set_init(&mut self, len: usize) {
        let claimed = len.min(self.part.left());
        // SAFETY: the caller has initialised `len` bytes, of which the part has `claimed`.
        unsafe { self.part.set_init(claimed) };
    }
}

// SAFETY: the bytes are in memory that the slice's owner does not move and that the slice alone
// reaches, while it is borrowed or owned here; none counts as initialised.
unsafe impl IoBuf for RegionSlice {
    fn stable_ptr(&self) -> *const u8 {
        self.as_ptr()
    }

    fn init_len(&self) -> usize {
        0
    }
}

// SAFETY: as for IoBuf; `Region::new` vouches that the bytes may be written.
unsafe impl IoBufMut for RegionSlice {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        self.as_ptr().cast_mut()
    }

    fn capacity(&self) -> usize {
        self.len()
    }

    unsafe fn set_init(&mut self, _len: usize) {}
}

/// A pointer as the destination of one read; [`NativeFileAsyncBlobRandomReader::read_raw`] alone
/// makes and drops it.
#[derive(Debug)]
struct RawDestination {
    start: *mut u8,
    len: usize,
}

// SAFETY: the caller of `read_raw` vouches for the memory; none counts as initialised.
unsafe impl IoBuf for RawDestination {
    fn stable_ptr(&self) -> *const u8 {
        self.start
    }

    fn init_len(&self) -> usize {
        0
    }
}

// SAFETY: as for IoBuf.
unsafe impl IoBufMut for RawDestination {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        self.start
    }

    fn capacity(&self) -> usize {
        self.len
    }

    unsafe fn set_init(&mut self, _len: usize) {}
}

impl NativeFileAsyncBlobRandomReader {
    /// Reads up to `len` bytes at `pos` to `start` and gives the number of bytes read: fewer only
    /// at the end of the file. Nothing is copied.
    ///
    /// # Errors
    ///
    /// The future fails when reading fails; the memory may then have been written.
    ///
    /// # Safety
    ///
    /// Until the future has given its result, or the worker has shut down and its report says that the
    /// kernel has let go of all ([`ShutdownReport::is_drained`](corelane::ShutdownReport::is_drained));
    /// otherwise for ever:
    ///
    /// 1. `start` is valid for writes of `len` bytes, also by the kernel;
    /// 2. nothing else reads or writes these bytes.
    ///
    /// Dropping or forgetting the future does *not* end this: the kernel may go on writing. Nor
    /// does a shutdown that gave up on operations: the kernel may still write for
    /// those that it leaked.
    ///
    /// # Cancel safety
    ///
    /// See Safety.
    pub unsafe fn read_raw(&self, pos: u64, start: *mut u8, len: usize) -> RawRead {
        RawRead {
            read: self.read_at(RawDestination { start, len }, pos),
        }
    }
}

/// The future of [`NativeFileAsyncBlobRandomReader::read_raw`].
#[must_use = "a read does nothing unless it is awaited"]
pub struct RawRead {
    read: FullRead<RawDestination>,
}

impl Future for RawRead {
    type Output = io::Result<usize>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let (result, _) = ready!(Pin::new(&mut self.read).poll(cx));
        Poll::Ready(result)
    }
}

impl fmt::Debug for RawRead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawRead").field("read", &self.read).finish()
    }
}
