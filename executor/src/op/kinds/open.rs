//! Opening a file.
//!
//! # Safety
//!
//! The path and the open_how lie in one box, which does not move with the memory.
#![allow(unsafe_code, reason = "implements Kind")]

use std::ffi::CString;
use std::io;
use std::os::fd::{OwnedFd, RawFd};

use crate::op::fd;
use crate::op::{Dispose, Kind, Outcome, Request, SharedFd, close_untaken};

/// Opens a path relative to a folder, by openat2(2).
#[derive(Debug)]
pub(crate) struct Open;

/// What openat2(2) reads.
pub(crate) struct OpenArgs {
    path: CString,
    how: libc::open_how,
    dir: Option<SharedFd>,
}

impl OpenArgs {
    pub(crate) fn new(
        dir: Option<SharedFd>,
        path: CString,
        flags: i32,
        mode: u32,
        resolve: u64,
    ) -> Box<Self> {
        // SAFETY: an all-zero open_how is valid: plain integers.
        let mut how: libc::open_how = unsafe { std::mem::zeroed() };
        how.flags = u64::from(flags.cast_unsigned());
        how.mode = mode.into();
        how.resolve = resolve;
        Box::new(Self { path, how, dir })
    }
}

impl std::fmt::Debug for OpenArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenArgs")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

pub(crate) fn dir_fd(dir: Option<&SharedFd>) -> RawFd {
    dir.map_or(libc::AT_FDCWD, SharedFd::raw)
}

// SAFETY: both pointers point into the box, which stays where it is; the memory holds the
// folder's descriptor.
unsafe impl Kind for Open {
    type Memory = Box<OpenArgs>;
    type Output = io::Result<OwnedFd>;

    const DISPOSE: Dispose = close_untaken;

    fn request(&self, args: &mut Box<OpenArgs>, _owner: usize) -> Request {
        Request::Open {
            dir: dir_fd(args.dir.as_ref()),
            path: args.path.as_ptr(),
            how: &raw const args.how,
        }
    }

    fn complete(&self, outcome: Outcome, _: Box<OpenArgs>) -> Self::Output {
        outcome.into_result().map(fd::own)
    }
}
