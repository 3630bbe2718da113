//! Connecting a socket.
//!
//! # Safety
//!
//! The address lies in a box, which does not move with the memory.
#![allow(unsafe_code, reason = "implements Kind")]

use std::io;

use socket2::SockAddr;

use crate::op::{Kind, Outcome, Request, SharedFd};

/// Connects a socket to an address.
#[derive(Debug)]
pub(crate) struct Connect;

// SAFETY: the pointer is to the boxed address, which stays where it is; the memory holds the
// socket.
unsafe impl Kind for Connect {
    type Memory = (Box<SockAddr>, SharedFd);
    type Output = io::Result<()>;

    fn request(&self, (addr, fd): &mut Self::Memory, _owner: usize) -> Request {
        Request::Connect {
            fd: fd.raw(),
            addr: addr.as_ptr().cast(),
            len: addr.len(),
        }
    }

    fn complete(&self, outcome: Outcome, _: Self::Memory) -> Self::Output {
        outcome.into_result().map(drop)
    }
}
