//! sendfile(2), and the question whether a file's pages are resident.
//!
//! # Safety
//!
//! The calls touch only locals that outlive them.
#![allow(
    unsafe_code,
    reason = "sendfile and cachestat have no safe wrapper in std"
)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

const PAGE: u64 = 4096;
/// How far apart the bytes are that stand for those between: no more than readahead brings at once.
const STRIDE: usize = 128 * 1024;
/// cachestat(2), Linux 6.5; the same number on every architecture.
const SYS_CACHESTAT: libc::c_long = 451;

/// Sends up to `len` bytes at `offset` of `file` into `socket` without copying them.
///
/// A short count means that the socket's buffer is full; `WouldBlock` that it was full at once.
pub(crate) fn sendfile(
    socket: BorrowedFd<'_>,
    file: BorrowedFd<'_>,
    offset: u64,
    len: usize,
) -> io::Result<usize> {
    let mut offset =
        libc::off_t::try_from(offset).map_err(|_| io::Error::from_raw_os_error(libc::EOVERFLOW))?;
    // SAFETY: `offset` is a local that outlives the call; the descriptors are borrowed for it.
    let sent =
        unsafe { libc::sendfile(socket.as_raw_fd(), file.as_raw_fd(), &raw mut offset, len) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

#[repr(C)]
struct CachestatRange {
    off: u64,
    len: u64,
}

#[repr(C)]
#[derive(Default)]
struct Cachestat {
    nr_cache: u64,
    nr_dirty: u64,
    nr_writeback: u64,
    nr_evicted: u64,
    nr_recently_evicted: u64,
}

/// Says whether the pages of the range, which is not empty, are in the page cache: `None` where
/// the kernel and the file system cannot tell.
///
/// The kernel tells of all pages (cachestat(2)) to who may write the file or owns it; otherwise
/// a byte in each [`STRIDE`] and the last one stand for those between.
pub(crate) fn is_resident(file: BorrowedFd<'_>, offset: u64, len: u64) -> Option<bool> {
    all_resident(file, offset, len).or_else(|| {
        let last = offset.saturating_add(len - 1);
        for at in (offset..last).step_by(STRIDE) {
            if !byte_is_resident(file, at)? {
                return Some(false);
            }
        }
        byte_is_resident(file, last)
    })
}

/// Asks by a read that may not wait (preadv2(2) with `RWF_NOWAIT`, Linux 4.14).
fn byte_is_resident(file: BorrowedFd<'_>, offset: u64) -> Option<bool> {
    let mut byte = 0_u8;
    let iovec = libc::iovec {
        iov_base: (&raw mut byte).cast(),
        iov_len: 1,
    };
    let offset = libc::off_t::try_from(offset).ok()?;
    // SAFETY: the vector and the byte that it points to are locals that outlive the call.
    let read = unsafe {
        libc::preadv2(
            file.as_raw_fd(),
            &raw const iovec,
            1,
            offset,
            libc::RWF_NOWAIT,
        )
    };
    match read {
        0.. => Some(read == 1),
        _ if io::Error::last_os_error().kind() == io::ErrorKind::WouldBlock => Some(false),
        _ => None,
    }
}

/// Asks for every page of the range.
fn all_resident(file: BorrowedFd<'_>, offset: u64, len: u64) -> Option<bool> {
    let range = CachestatRange { off: offset, len };
    let mut stat = Cachestat::default();
    // SAFETY: both structures are locals of the layout that cachestat(2) asks for.
    let answer = unsafe {
        libc::syscall(
            SYS_CACHESTAT,
            file.as_raw_fd(),
            &raw const range,
            &raw mut stat,
            0,
        )
    };
    if answer != 0 {
        return None;
    }
    let first = offset / PAGE;
    let last = offset.saturating_add(len).div_ceil(PAGE);
    Some(stat.nr_cache >= last - first)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn freshly_written_pages_are_resident() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[7; 10_000]).unwrap();
        assert_ne!(is_resident(file.as_fd(), 100, 9_000), Some(false));
        assert_ne!(byte_is_resident(file.as_fd(), 9_999), Some(false));
        assert_ne!(byte_is_resident(file.as_fd(), 10_000), Some(true));
    }
}
