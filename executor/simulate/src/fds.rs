//! The process's descriptors.
//!
//! # Safety
//!
//! Only descriptors that no value owns any more are closed: those of operations that a program has
//! forgotten or the kernel has kept, which nothing will ever drop.
#![allow(unsafe_code, reason = "closes descriptors that were leaked on purpose")]

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// Returns what is open now.
pub(crate) fn open() -> io::Result<BTreeSet<RawFd>> {
    // The listing's own descriptor takes the lowest free number.
    let own = std::fs::File::open("/dev/null")?.as_raw_fd();
    let mut open = BTreeSet::new();
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let name = entry?.file_name();
        open.extend(name.to_str().and_then(|name| name.parse::<RawFd>().ok()));
    }
    open.remove(&own);
    Ok(open)
}

/// Closes descriptors that forgotten operations keep.
pub(crate) fn close_forgotten(fds: impl IntoIterator<Item = RawFd>) {
    for fd in fds {
        // SAFETY: open, and owned only by what was leaked.
        drop(unsafe { OwnedFd::from_raw_fd(fd) });
    }
}

/// Says whether a descriptor is an eventfd.
pub(crate) fn is_eventfd(fd: RawFd) -> bool {
    let link = std::fs::read_link(format!("/proc/self/fd/{fd}"));
    link.is_ok_and(|link| link.to_string_lossy().contains("eventfd"))
}
