//! Advice on how a file will be read.
//!
//! # Safety
//!
//! The request has no pointer; the memory holds the descriptor.
#![allow(unsafe_code, reason = "implements Kind")]

use std::io;

use crate::op::{Kind, Outcome, Request, SharedFd};

/// Gives posix_fadvise(2) advice on a range.
#[derive(Debug)]
pub(crate) struct Fadvise {
    pub(crate) offset: u64,
    pub(crate) len: u32,
    pub(crate) advice: i32,
}

// SAFETY: there is no pointer; the memory holds the descriptor.
unsafe impl Kind for Fadvise {
    type Memory = SharedFd;
    type Output = io::Result<()>;

    fn request(&self, fd: &mut SharedFd, _owner: usize) -> Request {
        Request::Fadvise {
            fd: fd.raw(),
            offset: self.offset,
            len: self.len,
            advice: self.advice,
        }
    }

    fn complete(&self, outcome: Outcome, _: SharedFd) -> Self::Output {
        outcome.into_result().map(drop)
    }
}
