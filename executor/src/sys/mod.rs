//! The system calls that the ring does not make, and the only conversion of an errno.
//!
//! # Safety
//!
//! Every call here passes memory that outlives it and checks what it returns.
#![allow(unsafe_code, reason = "system calls without a safe wrapper in std")]

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use signal_hook_registry::SigId;

pub(crate) mod affinity;
pub(crate) mod mmap;
pub(crate) mod sendfile;

/// Converts the result of an operation: a negative one is an errno.
pub(crate) fn result(value: i32) -> io::Result<u32> {
    u32::try_from(value).map_err(|_| io::Error::from_raw_os_error(value.wrapping_neg()))
}

/// Converts the return value of a libc call that reports through errno.
pub(crate) fn check(value: libc::c_int) -> io::Result<libc::c_int> {
    if value < 0 {
        Err(last_error())
    } else {
        Ok(value)
    }
}

/// Returns the error of the call that has just failed.
pub(crate) fn last_error() -> io::Error {
    io::Error::last_os_error()
}

/// Takes the ownership of a descriptor that an operation has just made.
///
/// # Safety
///
/// - `fd` is open and nothing else owns it.
pub(crate) unsafe fn own_fd(fd: RawFd) -> OwnedFd {
    // SAFETY: the caller promises that `fd` is open and not owned.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// What of a regular file cannot be tried without waiting for whoever has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Waits {
    /// Reads and writes (`RWF_NOWAIT`, preadv2(2)).
    pub(crate) transfers: bool,
    /// close(2): the file system asks somebody else, to whom it may flush.
    pub(crate) close: bool,
}

/// Says what of a file may wait. Asks nothing of the file system, which may never answer, and reads
/// nothing: it asks for a byte behind the end of every file that the kernel can have, as one that is
/// there might start the device.
pub(crate) fn waits(fd: BorrowedFd<'_>) -> Waits {
    // A device may notice being read.
    let Some(stat) = known_stat(fd.as_raw_fd(), libc::STATX_TYPE).filter(is_regular) else {
        return Waits::default();
    };
    let mut byte = 0u8;
    let vec = libc::iovec {
        iov_base: (&raw mut byte).cast(),
        iov_len: 1,
    };
    // SAFETY: an open descriptor, and one segment of one byte, a local.
    let read = unsafe {
        libc::preadv2(
            fd.as_raw_fd(),
            &raw const vec,
            1,
            libc::off_t::MAX - 1,
            libc::RWF_NOWAIT,
        )
    };
    let close = !keeps_inode_flags(&stat);
    let transfers = match (read < 0).then(last_error).and_then(|it| it.raw_os_error()) {
        Some(libc::EOPNOTSUPP) => true,
        // Open for writing alone, and no write is without effect that gets as far as the answer.
        Some(libc::EBADF) => close,
        _ => false,
    };
    Waits { transfers, close }
}

/// Tells a file from all others that there are at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileId {
    device: (u32, u32),
    inode: u64,
}

impl FileId {
    /// Of the file that a number names now, which may be anybody's; `None` where it names none. Asks
    /// nothing of the file system.
    pub(crate) fn of(fd: RawFd) -> Option<Self> {
        let stat = known_stat(fd, libc::STATX_INO)?;
        Some(Self {
            device: (stat.stx_dev_major, stat.stx_dev_minor),
            inode: stat.stx_ino,
        })
    }
}

/// Returns what the kernel knows of a file by itself.
fn known_stat(fd: RawFd, mask: libc::c_uint) -> Option<libc::statx> {
    // SAFETY: all zeroes is a statx.
    let mut stat: libc::statx = unsafe { std::mem::zeroed() };
    let flags = libc::AT_EMPTY_PATH | libc::AT_STATX_DONT_SYNC;
    // SAFETY: any number will do, which is asked and not changed; an empty string and a local.
    let known = unsafe { libc::statx(fd, c"".as_ptr(), flags, mask, &raw mut stat) };
    (known >= 0).then_some(stat)
}

fn is_regular(stat: &libc::statx) -> bool {
    u32::from(stat.stx_mode) & libc::S_IFMT == libc::S_IFREG
}

/// Says whether the file system keeps the flags of chattr(1): those on disks of this machine and in
/// its memory do (ext4, xfs, btrfs, f2fs, tmpfs), those that ask a server do not (FUSE, NFS, 9p).
fn keeps_inode_flags(stat: &libc::statx) -> bool {
    let nodump = u64::try_from(libc::STATX_ATTR_NODUMP).unwrap_or(0);
    stat.stx_attributes_mask & nodump != 0
}

/// Says whether a file is read past the page cache (`O_DIRECT`, open(2)).
pub(crate) fn is_direct(fd: BorrowedFd<'_>) -> bool {
    // SAFETY: an open descriptor, and no pointer.
    let flags = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) };
    flags >= 0 && flags & libc::O_DIRECT != 0
}

/// An eventfd, non-blocking and closed on exec.
#[derive(Debug)]
pub(crate) struct EventFd(File);

impl EventFd {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: eventfd takes no memory.
        let fd = check(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
        // SAFETY: the call has just made this descriptor.
        Ok(Self(File::from(unsafe { own_fd(fd) })))
    }

    pub(crate) fn into_fd(self) -> OwnedFd {
        self.0.into()
    }

    /// Makes the eventfd readable. A counter that is full is readable already.
    pub(crate) fn signal(&self) {
        let _ = (&self.0).write(&1u64.to_ne_bytes());
    }

    /// Makes the eventfd unreadable until the next signal. True when it was readable.
    pub(crate) fn drain(&self) -> bool {
        (&self.0).read(&mut [0; 8]).is_ok()
    }

    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        std::os::fd::AsFd::as_fd(&self.0)
    }
}

impl From<OwnedFd> for EventFd {
    fn from(fd: OwnedFd) -> Self {
        Self(File::from(fd))
    }
}

/// Lets `signal` write a byte to `sender`, a non-blocking socket, until it is unregistered.
///
/// # Errors
///
/// Those of sigaction(2).
///
/// # Panics
///
/// Panics for a signal that cannot be caught.
pub(crate) fn on_signal(signal: i32, sender: OwnedFd) -> io::Result<SigId> {
    let write = move || {
        let byte = 1u8;
        // A full socket is readable already.
        // SAFETY: `byte` is a local; the closure owns the socket. write(2) is safe in a handler.
        let _ = unsafe { libc::write(sender.as_raw_fd(), (&raw const byte).cast(), 1) };
    };
    // SAFETY: the action makes one async-signal-safe call and touches only what it owns; errno
    // is saved and restored by the registry.
    unsafe { signal_hook_registry::register(signal, write) }
}

/// Keeps `SIGPIPE` from the calling thread: sendfile(2) raises it where send(2) can be told not to.
pub(crate) fn block_sigpipe() {
    // SAFETY: an all-zero signal set is a valid value to initialise.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: `set` is a local signal set.
    let _ = unsafe { libc::sigemptyset(&raw mut set) };
    // SAFETY: as above; SIGPIPE is a signal number.
    let _ = unsafe { libc::sigaddset(&raw mut set, libc::SIGPIPE) };
    // SAFETY: `set` is initialised, and the old mask is not asked for.
    let _ = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
}

/// Returns the soft limits of locked memory in bytes and of open files.
pub(crate) fn limits() -> [Option<u64>; 2] {
    [libc::RLIMIT_MEMLOCK, libc::RLIMIT_NOFILE].map(|resource| {
        let mut limit = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        // SAFETY: `limit` is a valid rlimit for the duration of the call.
        check(unsafe { libc::getrlimit(resource, &raw mut limit) })
            .ok()
            .map(|_| limit.rlim_cur)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_negative_result_is_an_errno() {
        assert_eq!(result(-9).unwrap_err().raw_os_error(), Some(9));
        assert_eq!(result(-125).unwrap_err().raw_os_error(), Some(125));
        assert_eq!(result(0).unwrap(), 0);
        assert_eq!(result(i32::MAX).unwrap(), i32::MAX as u32);
    }

    #[test]
    fn an_eventfd_is_drained_and_signalled() {
        let event = EventFd::new().unwrap();
        assert!(!event.drain());
        event.signal();
        event.signal();
        let mut value = [0; 8];
        assert_eq!((&event.0).read(&mut value).unwrap(), 8);
        assert_eq!(u64::from_ne_bytes(value), 2);
    }
}
