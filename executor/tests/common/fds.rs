//! The process's descriptors.
//!
//! # Safety
//!
//! Only descriptors that no value owns any more are closed: those of operations that a test has
//! forgotten, which nothing will ever drop.
#![allow(unsafe_code, reason = "closes descriptors that were leaked on purpose")]

use std::collections::BTreeMap;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

/// The open descriptors and what they are.
pub type Fds = BTreeMap<RawFd, String>;

pub fn open() -> Fds {
    let entries = std::fs::read_dir("/proc/self/fd").unwrap();
    let fds: Vec<RawFd> = entries
        .map(|entry| {
            entry
                .unwrap()
                .file_name()
                .into_string()
                .unwrap()
                .parse()
                .unwrap()
        })
        .collect();
    // The folder's own descriptor is among them, and gone by now.
    fds.into_iter()
        .filter_map(|fd| {
            let target = std::fs::read_link(format!("/proc/self/fd/{fd}")).ok()?;
            Some((fd, target.to_string_lossy().into_owned()))
        })
        .collect()
}

/// What is open now and was not `before`.
pub fn since(before: &Fds) -> Fds {
    open()
        .into_iter()
        .filter(|(fd, target)| before.get(fd) != Some(target))
        .collect()
}

/// Closes descriptors that forgotten operations keep.
pub fn close_forgotten(fds: Fds) {
    for fd in fds.into_keys() {
        // SAFETY: open, and owned only by what the caller has leaked.
        drop(unsafe { OwnedFd::from_raw_fd(fd) });
    }
}
