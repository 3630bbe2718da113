//! Asking for the metadata of a file.
//!
//! # Safety
//!
//! The path and the result lie in one box, which does not move with the memory.
#![allow(unsafe_code, reason = "implements Kind")]

use std::ffi::CString;
use std::io;

use crate::op::kinds::open::dir_fd;
use crate::op::{Kind, Outcome, Request, SharedFd};

/// Asks statx(2) for basic metadata and the alignment of direct I/O.
#[derive(Debug)]
pub(crate) struct Statx;

/// What statx(2) reads and writes.
pub(crate) struct StatxArgs {
    path: CString,
    flags: i32,
    dir: Option<SharedFd>,
    out: libc::statx,
}

impl StatxArgs {
    /// Asks about `path` below `dir`, or about `dir` itself where the path is empty.
    pub(crate) fn new(dir: Option<SharedFd>, path: CString) -> Box<Self> {
        let flags = if path.is_empty() {
            libc::AT_EMPTY_PATH
        } else {
            0
        };
        // SAFETY: an all-zero statx is valid: plain integers.
        let out = unsafe { std::mem::zeroed() };
        Box::new(Self {
            path,
            flags,
            dir,
            out,
        })
    }
}

impl std::fmt::Debug for StatxArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StatxArgs")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

// SAFETY: both pointers point into the box, which stays where it is; the memory holds the
// folder's descriptor.
unsafe impl Kind for Statx {
    type Memory = Box<StatxArgs>;
    type Output = io::Result<libc::statx>;

    fn request(&self, args: &mut Box<StatxArgs>, _owner: usize) -> Request {
        Request::Statx {
            dir: dir_fd(args.dir.as_ref()),
            path: args.path.as_ptr(),
            flags: args.flags,
            mask: libc::STATX_BASIC_STATS | libc::STATX_DIOALIGN,
            out: &raw mut args.out,
        }
    }

    fn complete(&self, outcome: Outcome, args: Box<StatxArgs>) -> Self::Output {
        outcome.into_result().map(|_| args.out)
    }
}
