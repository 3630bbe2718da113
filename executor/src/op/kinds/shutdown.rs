//! Shutting a socket down.
//!
//! # Safety
//!
//! The request has no pointer; the memory holds the socket.
#![allow(unsafe_code, reason = "implements Kind")]

use std::io;
use std::net;

use crate::op::{Kind, Outcome, Request, SharedFd};

/// Shuts down one or both directions of a socket.
#[derive(Debug)]
pub(crate) struct Shutdown(pub(crate) net::Shutdown);

// SAFETY: there is no pointer; the memory holds the socket.
unsafe impl Kind for Shutdown {
    type Memory = SharedFd;
    type Output = io::Result<()>;

    fn request(&self, fd: &mut SharedFd, _owner: usize) -> Request {
        let how = match self.0 {
            net::Shutdown::Read => libc::SHUT_RD,
            net::Shutdown::Write => libc::SHUT_WR,
            net::Shutdown::Both => libc::SHUT_RDWR,
        };
        Request::Shutdown { fd: fd.raw(), how }
    }

    fn complete(&self, outcome: Outcome, _: SharedFd) -> Self::Output {
        outcome.into_result().map(drop)
    }
}
