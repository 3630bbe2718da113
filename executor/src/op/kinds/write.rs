//! Positional write from one buffer.
//!
//! # Safety
//!
//! The request points to the buffer, whose bytes do not move (`IoBuf`).
#![allow(unsafe_code, reason = "implements Kind")]

use crate::buf::{BufResult, IoBuf};
use crate::op::request::request_len;
use crate::op::{Kind, Outcome, Request, SharedFd};

/// Writes `B` at `offset`.
#[derive(Debug)]
pub(crate) struct Write<B> {
    offset: u64,
    handed_off: bool,
    buffer: std::marker::PhantomData<fn() -> B>,
}

impl<B> Write<B> {
    pub(crate) fn new(offset: u64, handed_off: bool) -> Self {
        Self {
            offset,
            handed_off,
            buffer: std::marker::PhantomData,
        }
    }
}

// SAFETY: the only pointer is the buffer's, stable by the contract of IoBuf, and the length
// counts its initialised bytes; the memory holds the descriptor.
unsafe impl<B: IoBuf> Kind for Write<B> {
    type Memory = (B, SharedFd);
    type Output = BufResult<usize, B>;

    fn request(&self, (buf, fd): &mut Self::Memory, owner: usize) -> Request {
        Request::Write {
            fd: fd.raw(),
            ptr: buf.stable_ptr(),
            len: request_len(buf.init_len()),
            offset: self.offset,
            fixed: buf.fixed_index(owner),
            handed_off: self.handed_off,
        }
    }

    fn complete(&self, outcome: Outcome, (buf, _): Self::Memory) -> Self::Output {
        (outcome.into_result().map(|count| count as usize), buf)
    }
}
