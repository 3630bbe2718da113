//! A timer among the descriptors of a poller.
//!
//! # Safety
//!
//! The calls touch only locals that outlive them, and descriptors that are open.
#![allow(unsafe_code, reason = "timerfd has no safe wrapper in std")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use crate::sys::check;

/// A timerfd.
#[derive(Debug)]
pub(super) struct Alarm {
    timer: OwnedFd,
    started: bool,
}

impl Alarm {
    /// # Errors
    ///
    /// Those of timerfd_create(2).
    pub(super) fn new() -> io::Result<Self> {
        let flags = libc::TFD_CLOEXEC | libc::TFD_NONBLOCK;
        // SAFETY: no pointer.
        let fd = check(unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, flags) })?;
        Ok(Self {
            // SAFETY: the call has just made this descriptor.
            timer: unsafe { crate::sys::own_fd(fd) },
            started: false,
        })
    }

    pub(super) fn fd(&self) -> RawFd {
        self.timer.as_raw_fd()
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.timer.as_fd()
    }

    /// Lets the alarm go off after `after`, unless it is going to anyway.
    pub(super) fn start(&mut self, after: Duration) {
        if std::mem::replace(&mut self.started, true) {
            return;
        }
        let zero = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let value = libc::itimerspec {
            it_interval: zero,
            it_value: libc::timespec {
                tv_sec: libc::time_t::try_from(after.as_secs()).unwrap_or(libc::time_t::MAX),
                tv_nsec: after.subsec_nanos().into(),
            },
        };
        // SAFETY: the value is a local; what was set before is not asked for. It does not fail for
        // a time that is in range.
        let _ =
            unsafe { libc::timerfd_settime(self.fd(), 0, &raw const value, std::ptr::null_mut()) };
    }

    /// Notes that the alarm went off.
    pub(super) fn stop(&mut self) {
        self.started = false;
        drain(self.fd());
    }
}

/// Empties an eventfd or a timerfd, non-blocking ones. True when it was readable.
pub(super) fn drain(fd: RawFd) -> bool {
    let mut value = 0_u64;
    // SAFETY: `value` is a local of the eight bytes that are read; the descriptor is open.
    let read = unsafe { libc::read(fd, (&raw mut value).cast(), size_of::<u64>()) };
    read > 0
}
