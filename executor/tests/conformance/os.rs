//! System calls that the cases make on their own process.
//!
//! # Safety
//!
//! Each call is given values, or pointers to locals that outlive it; limits, rights and handlers
//! of a whole process are changed only in a process that runs one case.
#![allow(unsafe_code, reason = "system calls that std has no name for")]

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A user without rights.
const NOBODY: libc::uid_t = 65_534;

pub(crate) fn mkfifo(path: &Path) {
    let path = CString::new(path.as_os_str().as_bytes()).unwrap();
    // SAFETY: the path is a live C string.
    assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0);
}

/// Says whether one of the poll(2) events is there, or an error or a hang-up.
pub(crate) fn is_ready(fd: impl AsFd, events: i16) -> bool {
    let mut poll = libc::pollfd {
        fd: fd.as_fd().as_raw_fd(),
        events,
        revents: 0,
    };
    // SAFETY: `poll` is one valid pollfd for the duration of the call.
    let ready = unsafe { libc::poll(&raw mut poll, 1, 0) };
    ready == 1
}

/// Becomes nobody, where this is root.
pub(crate) fn leave_root() {
    // SAFETY: no pointers.
    if unsafe { libc::geteuid() } != 0 {
        return;
    }
    // SAFETY: a list of no groups is not read.
    assert_eq!(unsafe { libc::setgroups(0, std::ptr::null()) }, 0);
    // SAFETY: no pointers.
    assert_eq!(unsafe { libc::setresgid(NOBODY, NOBODY, NOBODY) }, 0);
    // SAFETY: no pointers.
    assert_eq!(unsafe { libc::setresuid(NOBODY, NOBODY, NOBODY) }, 0);
}

/// Sets how many descriptors the process may have, and returns how many it might before.
pub(crate) fn limit_descriptors(max: u64) -> u64 {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is a local.
    let asked = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    assert_eq!(asked, 0);
    let before = std::mem::replace(&mut limit.rlim_cur, max);
    // SAFETY: as above.
    let set = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    assert_eq!(set, 0);
    before
}

/// Lets a signal interrupt calls and do nothing else.
pub(crate) fn interrupt_by(signal: libc::c_int) {
    extern "C" fn nothing(_: libc::c_int) {}
    // SAFETY: a sigaction of zeros is valid: no flags (no SA_RESTART) and an empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = nothing as extern "C" fn(libc::c_int) as usize;
    // SAFETY: the action is a local, and its handler does nothing.
    let set = unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) };
    assert_eq!(set, 0);
}

/// Sends a signal to every thread of the process but the calling one.
pub(crate) fn signal_other_threads(signal: libc::c_int) {
    let process = libc::pid_t::try_from(std::process::id()).unwrap();
    // SAFETY: no pointers.
    let own = unsafe { libc::gettid() };
    for task in std::fs::read_dir("/proc/self/task").unwrap().flatten() {
        let thread: libc::pid_t = task.file_name().to_str().unwrap().parse().unwrap();
        if thread != own {
            // SAFETY: no pointers; a thread that is gone meanwhile is an error, which is fine.
            unsafe { libc::syscall(libc::SYS_tgkill, process, thread, signal) };
        }
    }
}
