//! Positional reads into one buffer: once, or a part of a read that goes on until it is full.
//!
//! # Safety
//!
//! The request points to the buffer, whose bytes do not move (`IoBufMut`).
#![allow(unsafe_code, reason = "implements Kind")]

use crate::buf::{BufResult, IoBufMut};
use crate::op::request::request_len;
use crate::op::{Kind, Outcome, ReadMode, Request, SharedFd};

/// Reads at `offset` into `B`.
#[derive(Debug)]
pub(crate) struct Read<B> {
    offset: u64,
    mode: ReadMode,
    direct: bool,
    buffer: std::marker::PhantomData<fn() -> B>,
}

impl<B> Read<B> {
    #[inline]
    pub(crate) fn new(offset: u64, mode: ReadMode, direct: bool) -> Self {
        Self {
            offset,
            mode,
            direct,
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
            direct: self.direct,
        }
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

/// Reads the rest of the first `end` bytes of `B`, of which `done` were read, from `offset` on.
#[derive(Debug)]
pub(crate) struct ReadRest<B> {
    offset: u64,
    mode: ReadMode,
    /// How it is issued where the file cannot tell what is cached.
    otherwise: ReadMode,
    direct: bool,
    done: usize,
    end: usize,
    buffer: std::marker::PhantomData<fn() -> B>,
}

impl<B> ReadRest<B> {
    /// `end` bytes of the buffer at most, the first of them from `offset`.
    #[inline]
    pub(crate) fn new(
        offset: u64,
        end: usize,
        mode: ReadMode,
        otherwise: ReadMode,
        direct: bool,
    ) -> Self {
        Self {
            offset,
            mode,
            otherwise,
            direct,
            done: 0,
            end,
            buffer: std::marker::PhantomData,
        }
    }

    /// Returns how many bytes were read.
    #[inline]
    pub(crate) fn done(&self) -> usize {
        self.done
    }

    /// Says whether it asks for cached bytes alone; it does not from now on.
    pub(crate) fn wait(&mut self) -> bool {
        std::mem::replace(&mut self.mode, self.otherwise) == ReadMode::NoWait
    }

    /// Goes on behind `count` more bytes, which were read; false when none are left to read.
    #[inline]
    pub(crate) fn advance(&mut self, count: usize) -> bool {
        self.done += count;
        self.done < self.end
    }
}

// SAFETY: the only pointer is the buffer's, stable by the contract of IoBufMut, with bytes added that
// are within its capacity, and the length is what the capacity has behind them; the memory holds the
// descriptor.
unsafe impl<B: IoBufMut> Kind for ReadRest<B> {
    type Memory = (B, SharedFd);
    type Output = (std::io::Result<usize>, (B, SharedFd));

    #[inline]
    fn request(&self, (buf, fd): &mut Self::Memory, owner: usize) -> Request {
        let end = self.end.min(buf.capacity());
        let done = self.done.min(end);
        Request::Read {
            fd: fd.raw(),
            len: request_len(end - done),
            fixed: buf.fixed_index(owner),
            // SAFETY: within the buffer's capacity.
            ptr: unsafe { buf.stable_mut_ptr().add(done) },
            offset: self.offset.saturating_add(done as u64),
            mode: self.mode,
            direct: self.direct,
        }
    }

    #[inline]
    fn complete(&self, outcome: Outcome, (mut buf, fd): Self::Memory) -> Self::Output {
        let result = outcome.into_result().map(|count| {
            let count = count as usize;
            // SAFETY: the kernel has written `count` bytes behind those that it wrote before, at
            // most up to the capacity.
            unsafe { buf.set_init(self.done + count) };
            count
        });
        (result, (buf, fd))
    }
}
