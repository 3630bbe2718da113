//! Submission queue entries as opaque values: one function per operation that is used.
//!
//! Nothing here is unsafe: an entry is inert until [`Ring::push`](super::Ring::push).

use std::os::fd::RawFd;

use io_uring::{opcode, squeue, types};

/// A submission queue entry.
#[derive(Clone)]
pub(crate) struct Sqe(pub(super) squeue::Entry);

impl Sqe {
    #[inline]
    pub(crate) fn user_data(self, user_data: u64) -> Self {
        Self(self.0.user_data(user_data))
    }

    /// Lets the kernel hand the operation to one of its threads without trying it first.
    #[inline]
    pub(crate) fn handed_off(self) -> Self {
        Self(self.0.flags(squeue::Flags::ASYNC))
    }
}

impl std::fmt::Debug for Sqe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sqe")
            .field("opcode", &self.0.get_opcode())
            .finish_non_exhaustive()
    }
}

pub(crate) fn nop() -> Sqe {
    Sqe(opcode::Nop::new().build())
}

/// Keeps an offset of `u64::MAX` from naming the descriptor's own position, which it does for the
/// kernel: the number below is refused (`EINVAL`), as all offsets are that no file has.
#[inline]
fn position(offset: u64) -> u64 {
    offset.min(u64::MAX - 1)
}

/// Reads, into registered memory when `fixed` names it; with `nowait`, only what is cached.
#[inline]
pub(crate) fn read(
    fd: RawFd,
    ptr: *mut u8,
    len: u32,
    offset: u64,
    fixed: Option<u16>,
    nowait: bool,
) -> Sqe {
    let fd = types::Fd(fd);
    let flags = if nowait { libc::RWF_NOWAIT } else { 0 };
    Sqe(match fixed {
        None => opcode::Read::new(fd, ptr, len)
            .offset(position(offset))
            .rw_flags(flags)
            .build(),
        Some(index) => opcode::ReadFixed::new(fd, ptr, len, index)
            .offset(position(offset))
            .rw_flags(flags)
            .build(),
    })
}

/// Writes, from registered memory when `fixed` names it.
#[inline]
pub(crate) fn write(fd: RawFd, ptr: *const u8, len: u32, offset: u64, fixed: Option<u16>) -> Sqe {
    let fd = types::Fd(fd);
    Sqe(match fixed {
        None => opcode::Write::new(fd, ptr, len)
            .offset(position(offset))
            .build(),
        Some(index) => opcode::WriteFixed::new(fd, ptr, len, index)
            .offset(position(offset))
            .build(),
    })
}

pub(crate) fn readv(fd: RawFd, iovecs: *const libc::iovec, count: u32, offset: u64) -> Sqe {
    Sqe(opcode::Readv::new(types::Fd(fd), iovecs, count)
        .offset(position(offset))
        .build())
}

pub(crate) fn writev(fd: RawFd, iovecs: *const libc::iovec, count: u32, offset: u64) -> Sqe {
    Sqe(opcode::Writev::new(types::Fd(fd), iovecs, count)
        .offset(position(offset))
        .build())
}

pub(crate) fn fsync(fd: RawFd, data_only: bool) -> Sqe {
    let flags = if data_only {
        types::FsyncFlags::DATASYNC
    } else {
        types::FsyncFlags::empty()
    };
    Sqe(opcode::Fsync::new(types::Fd(fd)).flags(flags).build())
}

pub(crate) fn fadvise(fd: RawFd, offset: u64, len: u32, advice: i32) -> Sqe {
    let len = libc::off_t::from(len);
    Sqe(opcode::Fadvise::new(types::Fd(fd), len, advice)
        .offset(offset)
        .build())
}

/// Handed off: where the name is known, the kernel would go on to the file system's own open on the
/// spot, and wait for its answer inside of the enter.
pub(crate) fn openat2(dir: RawFd, path: *const libc::c_char, how: *const libc::open_how) -> Sqe {
    Sqe(opcode::OpenAt2::new(types::Fd(dir), path, how.cast()).build()).handed_off()
}

pub(crate) fn statx(
    dir: RawFd,
    path: *const libc::c_char,
    flags: i32,
    mask: u32,
    out: *mut libc::statx,
) -> Sqe {
    Sqe(opcode::Statx::new(types::Fd(dir), path, out.cast())
        .flags(flags)
        .mask(mask)
        .build())
}

pub(crate) fn close(fd: RawFd) -> Sqe {
    Sqe(opcode::Close::new(types::Fd(fd)).build())
}

pub(crate) fn accept(fd: RawFd, flags: i32, multishot: bool) -> Sqe {
    let (fd, null) = (types::Fd(fd), std::ptr::null_mut());
    Sqe(if multishot {
        opcode::AcceptMulti::new(fd).flags(flags).build()
    } else {
        opcode::Accept::new(fd, null, null.cast())
            .flags(flags)
            .build()
    })
}

pub(crate) fn connect(fd: RawFd, addr: *const libc::sockaddr, len: libc::socklen_t) -> Sqe {
    Sqe(opcode::Connect::new(types::Fd(fd), addr, len).build())
}

#[inline]
pub(crate) fn recv(fd: RawFd, ptr: *mut u8, len: u32, flags: i32) -> Sqe {
    Sqe(opcode::Recv::new(types::Fd(fd), ptr, len)
        .flags(flags)
        .build())
}

pub(crate) fn recv_multi(fd: RawFd, group: u16) -> Sqe {
    Sqe(opcode::RecvMulti::new(types::Fd(fd), group).build())
}

#[inline]
pub(crate) fn send(fd: RawFd, ptr: *const u8, len: u32, flags: i32) -> Sqe {
    Sqe(opcode::Send::new(types::Fd(fd), ptr, len)
        .flags(flags)
        .build())
}

pub(crate) fn sendmsg(fd: RawFd, msg: *const libc::msghdr, flags: u32) -> Sqe {
    Sqe(opcode::SendMsg::new(types::Fd(fd), msg)
        .flags(flags)
        .build())
}

pub(crate) fn shutdown(fd: RawFd, how: i32) -> Sqe {
    Sqe(opcode::Shutdown::new(types::Fd(fd), how).build())
}

pub(crate) fn poll(fd: RawFd, events: u32, multishot: bool) -> Sqe {
    Sqe(opcode::PollAdd::new(types::Fd(fd), events)
        .multi(multishot)
        .build())
}

pub(crate) fn cancel(target: u64) -> Sqe {
    Sqe(opcode::AsyncCancel::new(target).build())
}
