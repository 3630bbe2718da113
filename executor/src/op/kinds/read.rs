//! Positional read into one buffer.
//!
//! # Safety
//!
//! The request points to the buffer, whose bytes do not move (`IoBufMut`).
#![allow(unsafe_code, reason = "implements Kind")]

use std::os::fd::AsFd as _;

use crate::buf::{BufResult, IoBufMut};
use crate::op::request::{RW_LEN_MAX, request_len};
use crate::op::{Kind, Outcome, ReadMode, Request, SharedFd};

/// Reads at `offset` into `B`.
#[derive(Debug)]
pub(crate) struct Read<B> {
    offset: u64,
    mode: ReadMode,
    buffer: std::marker::PhantomData<fn() -> B>,
}

impl<B> Read<B> {
    #[inline]
    pub(crate) fn new(offset: u64, mode: ReadMode) -> Self {
        Self {
            offset,
            mode,
            buffer: std::marker::PhantomData,
        }
    }
}

// SAFETY: the only pointer is the buffer's, stable by the contract of IoBufMut, and the length
// is its capacity; the memory holds the descriptor.
unsafe impl<B: IoBufMut> Kind for Read<B> {
    type Memory = (B, SharedFd);
    type Output = BufResult<usize, B>;

    #[inline]
    fn request(&self, (buf, fd): &mut Self::Memory, owner: usize) -> Request {
        Request::Read {
            fd: fd.raw(),
            len: request_len(buf.capacity()),
            fixed: buf.fixed_index(owner),
            ptr: buf.stable_mut_ptr(),
            offset: self.offset,
            mode: self.mode,
        }
    }

    #[inline]
    fn tries(&self, (buf, fd): &Self::Memory) -> Option<u32> {
        let (tried, hits) = fd.hits().get().next();
        fd.hits().set(hits);
        let len = buf.capacity();
        let wanted = tried && self.mode == ReadMode::Inline && len > 0 && len <= RW_LEN_MAX;
        wanted.then(|| request_len(len))
    }

    #[inline]
    fn done_at_once(&self, (buf, fd): &mut Self::Memory) -> Option<Outcome> {
        let (len, ptr) = (buf.capacity(), buf.stable_mut_ptr());
        // SAFETY: `len` bytes may be written at `ptr` (`IoBufMut`), and the buffer is here, by
        // value, until the call is over.
        let read = unsafe { crate::sys::read_cached(fd.as_fd(), ptr, len, self.offset) };
        let hits = fd.hits();
        // Fewer are the end of the file, or of what is cached: the backend finds out.
        if read != len {
            hits.set(hits.get().missed());
            return None;
        }
        hits.set(hits.get().hit());
        Some(Outcome::count(request_len(len)))
    }

    #[inline]
    fn complete(&self, outcome: Outcome, (mut buf, _): Self::Memory) -> Self::Output {
        let result = outcome.into_result().map(|count| {
            let count = count as usize;
            // SAFETY: the kernel has written `count` bytes, at most the capacity it was given.
            unsafe { buf.set_init(count) };
            count
        });
        (result, buf)
    }
}
