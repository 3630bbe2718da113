//! The io_uring backend: requests become submissions.

use std::io;
use std::os::fd::RawFd;

use super::backend::next_identity;
use super::submit::push;
use crate::op::slab::{KICK, OpKey};
use crate::op::{ReadMode, Request};
use crate::ring::{Cqe, Pending, Ring, Sqe, Wait, sqe};

/// A ring.
#[derive(Debug)]
pub(crate) struct Uring {
    ring: Ring,
    identity: usize,
}

impl Uring {
    pub(super) fn new(ring: Ring) -> Self {
        Self {
            ring,
            identity: next_identity(),
        }
    }

    pub(super) fn ring(&self) -> &Ring {
        &self.ring
    }

    pub(super) fn cq_entries(&self) -> u32 {
        self.ring.cq_entries()
    }

    #[inline]
    pub(super) fn identity(&self) -> usize {
        self.identity
    }

    #[inline]
    pub(super) fn is_full(&mut self) -> bool {
        self.ring.is_full()
    }

    #[inline(always)]
    pub(super) fn push(&mut self, key: OpKey, request: &Request) -> bool {
        push(&mut self.ring, &to_sqe(request).user_data(key.user_data()))
    }

    pub(super) fn cancel(&mut self, key: OpKey) -> bool {
        push(
            &mut self.ring,
            &sqe::cancel(key.user_data()).user_data(key.cancel_data()),
        )
    }

    pub(super) fn arm_kick(&mut self, eventfd: RawFd) -> bool {
        let events = u32::from(libc::POLLIN.unsigned_abs());
        push(
            &mut self.ring,
            &sqe::poll(eventfd, events, true).user_data(KICK),
        )
    }

    #[inline]
    pub(super) fn queued(&mut self) -> usize {
        self.ring.queued()
    }

    #[inline]
    pub(super) fn pending(&mut self) -> Pending {
        self.ring.pending()
    }

    pub(super) fn overflowed(&mut self) -> bool {
        self.ring.cq_overflowed()
    }

    pub(super) fn enter(&mut self, wait: Wait) -> io::Result<()> {
        self.ring.enter(wait)
    }

    #[inline]
    pub(super) fn reap(&mut self, out: &mut Vec<Cqe>) -> usize {
        self.ring.reap(out)
    }
}

#[inline(always)]
fn to_sqe(request: &Request) -> Sqe {
    match *request {
        Request::Read { mode, .. } | Request::Readv { mode, .. } => {
            issued(mode, |nowait| to_read(request, nowait))
        }
        Request::Write {
            fd,
            ptr,
            len,
            offset,
            fixed,
            handed_off,
        } => written(handed_off, sqe::write(fd, ptr, len, offset, fixed)),
        Request::Writev {
            fd,
            iovecs,
            count,
            offset,
            handed_off,
        } => written(handed_off, sqe::writev(fd, iovecs, count, offset)),
        Request::Fsync { fd, data_only } => sqe::fsync(fd, data_only),
        Request::Fadvise {
            fd,
            offset,
            len,
            advice,
        } => sqe::fadvise(fd, offset, len, advice),
        Request::Open { dir, path, how } => sqe::openat2(dir, path, how),
        Request::Statx {
            dir,
            path,
            flags,
            mask,
            out,
        } => sqe::statx(dir, path, flags, mask, out),
        Request::Close { fd } => sqe::close(fd),
        Request::Accept {
            fd,
            flags,
            multishot,
        } => sqe::accept(fd, flags, multishot),
        Request::Connect { fd, addr, len } => sqe::connect(fd, addr, len),
        Request::Recv {
            fd,
            ptr,
            len,
            flags,
        } => sqe::recv(fd, ptr, len, flags),
        Request::RecvMulti { fd, group } => sqe::recv_multi(fd, group),
        Request::Send {
            fd,
            ptr,
            len,
            flags,
        } => sqe::send(fd, ptr, len, flags),
        Request::SendMsg { fd, msg, flags } => sqe::sendmsg(fd, msg, flags),
        Request::Shutdown { fd, how } => sqe::shutdown(fd, how),
        Request::Poll { fd, events } => sqe::poll(fd, events, false),
    }
}

#[inline(always)]
fn to_read(request: &Request, nowait: bool) -> Sqe {
    match *request {
        Request::Read {
            fd,
            ptr,
            len,
            offset,
            fixed,
            ..
        } => sqe::read(fd, ptr, len, offset, fixed, nowait),
        Request::Readv {
            fd,
            iovecs,
            count,
            offset,
            ..
        } => sqe::readv(fd, iovecs, count, offset),
        _ => unreachable!("no read: {request:?}"),
    }
}

#[inline]
fn issued(mode: ReadMode, read: impl FnOnce(bool) -> Sqe) -> Sqe {
    match mode {
        ReadMode::Inline => read(false),
        ReadMode::NoWait => read(true),
        ReadMode::Async => read(false).handed_off(),
    }
}

#[inline]
fn written(handed_off: bool, sqe: Sqe) -> Sqe {
    if handed_off { sqe.handed_off() } else { sqe }
}
