//! Flushing a file to its device.
//!
//! # Safety
//!
//! The request has no pointer; the memory holds the descriptor.
#![allow(unsafe_code, reason = "implements Kind")]

use std::io;

use crate::op::{Kind, Outcome, Request, SharedFd};

/// Flushes a file's data, and its metadata unless `data_only`.
#[derive(Debug)]
pub(crate) struct Fsync {
    pub(crate) data_only: bool,
}

// SAFETY: there is no pointer; the memory holds the descriptor.
unsafe impl Kind for Fsync {
    type Memory = SharedFd;
    type Output = io::Result<()>;

    fn request(&self, fd: &mut SharedFd, _owner: usize) -> Request {
        Request::Fsync {
            fd: fd.raw(),
            data_only: self.data_only,
        }
    }

    fn complete(&self, outcome: Outcome, _: SharedFd) -> Self::Output {
        outcome.into_result().map(drop)
    }
}
