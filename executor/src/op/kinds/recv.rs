//! Receiving from a socket into one buffer.
//!
//! # Safety
//!
//! The request points to the buffer, whose bytes do not move (`IoBufMut`).
#![allow(unsafe_code, reason = "implements Kind")]

use crate::buf::{BufResult, IoBufMut};
use crate::op::request::request_len;
use crate::op::{Kind, Outcome, Request, SharedFd};

/// Receives into `B`.
#[derive(Debug)]
pub(crate) struct Recv<B> {
    buffer: std::marker::PhantomData<fn() -> B>,
}

impl<B> Recv<B> {
    pub(crate) fn new() -> Self {
        Self {
            buffer: std::marker::PhantomData,
        }
    }
}

// SAFETY: the only pointer is the buffer's, stable by the contract of IoBufMut, and the length
// is its capacity; the memory holds the descriptor.
unsafe impl<B: IoBufMut> Kind for Recv<B> {
    type Memory = (B, SharedFd);
    type Output = BufResult<usize, B>;

    fn request(&self, (buf, fd): &mut Self::Memory, _owner: usize) -> Request {
        Request::Recv {
            fd: fd.raw(),
            len: request_len(buf.capacity()),
            ptr: buf.stable_mut_ptr(),
            flags: 0,
        }
    }

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
