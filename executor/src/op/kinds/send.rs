//! Sending one buffer to a socket.
//!
//! # Safety
//!
//! The request points to the buffer, whose bytes do not move (`IoBuf`).
#![allow(unsafe_code, reason = "implements Kind")]

use crate::buf::{BufResult, IoBuf};
use crate::op::request::request_len;
use crate::op::{Kind, Outcome, Request, SharedFd};

/// Sends `B` from `skip` on; with `all`, the kernel retries until all of it is sent.
#[derive(Debug)]
pub(crate) struct Send<B> {
    all: bool,
    more: bool,
    skip: usize,
    buffer: std::marker::PhantomData<fn() -> B>,
}

impl<B> Send<B> {
    pub(crate) fn new(all: bool, skip: usize) -> Self {
        Self {
            all,
            more: false,
            skip,
            buffer: std::marker::PhantomData,
        }
    }

    /// Says that more follows at once: a segment that is not full waits for it.
    pub(crate) fn more(mut self, more: bool) -> Self {
        self.more = more;
        self
    }
}

// SAFETY: the only pointer is the buffer's, stable by the contract of IoBuf, moved forward by at
// most its length; the length counts the initialised bytes behind it; the memory holds the
// descriptor.
unsafe impl<B: IoBuf> Kind for Send<B> {
    type Memory = (B, SharedFd);
    type Output = BufResult<usize, B>;

    fn request(&self, (buf, fd): &mut Self::Memory, _owner: usize) -> Request {
        let skip = self.skip.min(buf.init_len());
        let wait_all = if self.all { libc::MSG_WAITALL } else { 0 };
        let more = if self.more { libc::MSG_MORE } else { 0 };
        Request::Send {
            fd: fd.raw(),
            // SAFETY: `skip` is at most the initialised length.
            ptr: unsafe { buf.stable_ptr().add(skip) },
            len: request_len(buf.init_len() - skip),
            flags: libc::MSG_NOSIGNAL | wait_all | more,
        }
    }

    fn complete(&self, outcome: Outcome, (buf, _): Self::Memory) -> Self::Output {
        (outcome.into_result().map(|count| count as usize), buf)
    }
}
