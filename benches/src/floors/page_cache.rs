//! How much of a file is in the page cache.
//!
//! # Safety
//!
//! The kernel reads one structure and writes another, both of which outlive the call.
#![allow(unsafe_code, reason = "cachestat(2)")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// The number of cachestat(2), on all architectures that Linux got it for in 6.5 but alpha.
const CACHESTAT: libc::c_long = 451;

/// `struct cachestat_range`; a length of zero is up to the end.
#[repr(C)]
struct Range {
    offset: u64,
    len: u64,
}

/// `struct cachestat`, in pages.
#[repr(C)]
#[derive(Default)]
struct Stat {
    cached: u64,
    dirty: u64,
    writeback: u64,
    evicted: u64,
    recently_evicted: u64,
}

/// Returns how many pages of a file are cached; `None` where the kernel cannot say (before Linux 6.5).
pub(crate) fn cached_pages(file: BorrowedFd<'_>) -> io::Result<Option<u64>> {
    let range = Range { offset: 0, len: 0 };
    let mut stat = Stat::default();
    // SAFETY: both structures are laid out as cachestat(2) has them and live on the stack meanwhile.
    let done = unsafe {
        libc::syscall(
            CACHESTAT,
            file.as_raw_fd(),
            &raw const range,
            &raw mut stat,
            0,
        )
    };
    if done == 0 {
        return Ok(Some(stat.cached));
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::ENOSYS | libc::EOPNOTSUPP) => Ok(None),
        _ => Err(error),
    }
}
