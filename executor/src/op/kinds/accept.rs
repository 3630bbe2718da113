//! Accepting connections, once or continuously.
//!
//! # Safety
//!
//! The request has no pointer (the peer address is asked for later); the memory holds the
//! listener.
#![allow(unsafe_code, reason = "implements Kind")]

use std::io;
use std::os::fd::OwnedFd;

use crate::op::fd;
use crate::op::{Dispose, Kind, Outcome, Request, SharedFd, close_untaken};

/// Accepts one connection, or with `multishot` one connection per completion.
#[derive(Debug)]
pub(crate) struct Accept {
    pub(crate) multishot: bool,
}

// SAFETY: there is no pointer; the memory holds the listener's descriptor.
unsafe impl Kind for Accept {
    type Memory = SharedFd;
    type Output = io::Result<OwnedFd>;

    const DISPOSE: Dispose = close_untaken;

    fn request(&self, fd: &mut SharedFd, _owner: usize) -> Request {
        Request::Accept {
            fd: fd.raw(),
            // Non-blocking for sendfile(2); ring operations wait all the same.
            flags: libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK,
            multishot: self.multishot,
        }
    }

    fn complete(&self, outcome: Outcome, _: SharedFd) -> Self::Output {
        outcome.into_result().map(fd::own)
    }
}
