//! The process's descriptors.
//!
//! # Safety
//!
//! Only descriptors that no value owns any more are closed: those of operations that a test has
//! forgotten, which nothing will ever drop.
#![allow(unsafe_code, reason = "closes descriptors that were leaked on purpose")]

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// Descriptors and what they are.
pub type Fds = BTreeMap<RawFd, String>;

/// What is open now.
pub fn open() -> BTreeSet<RawFd> {
    // The listing's own descriptor takes the lowest free number.
    let own = std::fs::File::open("/dev/null").unwrap().as_raw_fd();
    std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .map(|entry| {
            entry
                .unwrap()
                .file_name()
                .into_string()
                .unwrap()
                .parse()
                .unwrap()
        })
        .filter(|fd| *fd != own)
        .collect()
}

/// What is open now and was not `before`.
pub fn since(before: &BTreeSet<RawFd>) -> Fds {
    open()
        .difference(before)
        .filter_map(|&fd| {
            let target = std::fs::read_link(format!("/proc/self/fd/{fd}")).ok()?;
            Some((fd, target.to_string_lossy().into_owned()))
        })
        .collect()
}

/// Closes descriptors that forgotten operations keep.
pub fn close_forgotten(fds: Fds) {
    for fd in fds.into_keys() {
        // SAFETY: open, and owned only by what the caller has leaked.
        drop(unsafe { OwnedFd::from_raw_fd(fd) });
    }
}
