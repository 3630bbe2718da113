//! The calls that do not block, on the worker, at descriptors that are ready or may be.
//!
//! # Safety
//!
//! Pointers and descriptors are those of a [`Work`], valid as long as there is one; provided
//! buffers are this side's from when they are provided until a completion names them.
#![allow(
    unsafe_code,
    reason = "system calls on the memory of operations in flight"
)]

use std::os::fd::RawFd;
use std::time::Duration;

use super::work::{
    Attempt, Stage, Work, count, poll, poll_bits, set_nonblocking, status, transferred, would_block,
};
use crate::op::Request;
use crate::ring::buf_ring::Consumer;

/// The shortest and the longest pause before a connect is tried again whose peer has no room.
const PAUSE_MIN: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(32);

/// `IORING_CQE_F_BUFFER` and where the buffer's identity begins.
const CQE_BUFFER: u32 = 1;
const CQE_BUFFER_SHIFT: u32 = 16;

impl Work {
    /// Tries the operation without blocking; `buffers` are those of its group.
    pub(super) fn attempt(&mut self, buffers: Option<&mut Consumer>) -> Attempt {
        match self.request {
            Request::Accept {
                fd,
                flags,
                multishot,
            } => self.accept(fd, flags, multishot),
            Request::Connect { fd, addr, len } => self.connect(fd, addr, len),
            Request::Recv { .. } | Request::Send { .. } | Request::SendMsg { .. } => {
                self.exchange()
            }
            Request::RecvMulti { fd, .. } => recv_provided(fd, buffers),
            Request::Poll { fd, events } => match poll(fd, events) {
                0 => Attempt::Wait,
                ready if ready & poll_bits(libc::POLLNVAL) != 0 => Attempt::Done(-libc::EBADF),
                ready => Attempt::Done(ready.cast_signed()),
            },
            Request::Read { .. }
            | Request::Readv { .. }
            | Request::Write { .. }
            | Request::Writev { .. } => self.stream_transfer(),
            Request::Shutdown { .. } => Attempt::Done(self.block()),
            Request::Fsync { .. }
            | Request::Fadvise { .. }
            | Request::Open { .. }
            | Request::Statx { .. }
            | Request::Close { .. } => Attempt::Pool,
        }
    }

    fn accept(&mut self, fd: RawFd, flags: i32, multishot: bool) -> Attempt {
        if self.stage == Stage::Fresh {
            // Another worker may take the connection between readiness and the call.
            let set = set_nonblocking(fd);
            if set < 0 {
                return Attempt::Done(set);
            }
            self.stage = Stage::Accepting;
        }
        let null = std::ptr::null_mut();
        // SAFETY: the peer's address is not asked for; the descriptor is open (`Work::new`).
        match status(unsafe { libc::accept4(fd, null, null.cast(), flags) }) {
            result if would_block(result) => Attempt::Wait,
            accepted @ 0.. if multishot => Attempt::More(accepted, 0),
            result => Attempt::Done(result),
        }
    }

    fn connect(&mut self, fd: RawFd, addr: *const libc::sockaddr, len: libc::socklen_t) -> Attempt {
        if self.stage == Stage::Connecting {
            return match poll(fd, poll_bits(libc::POLLOUT)) {
                0 => Attempt::Wait,
                _ => Attempt::Done(-pending_error(fd)),
            };
        }
        let set = set_nonblocking(fd);
        if set < 0 {
            return Attempt::Done(set);
        }
        // SAFETY: the address is valid while in flight (`Work::new`).
        match status(unsafe { libc::connect(fd, addr, len) }) {
            // Interrupted, the connection is made all the same.
            result if [-libc::EINPROGRESS, -libc::EINTR].contains(&result) => {
                self.stage = Stage::Connecting;
                Attempt::Wait
            }
            // The backlog of a Unix socket is full, of which no readiness tells.
            result if would_block(result) => {
                let pause = match self.stage {
                    Stage::Paused(pause) => (2 * pause).min(PAUSE_MAX),
                    _ => PAUSE_MIN,
                };
                self.stage = Stage::Paused(pause);
                Attempt::Pause(pause)
            }
            result => Attempt::Done(result),
        }
    }

    /// Receives or sends; with `MSG_WAITALL` until all is moved.
    fn exchange(&mut self) -> Attempt {
        loop {
            let (result, wanted, all) = self.exchange_once();
            match usize::try_from(result) {
                Ok(moved) => {
                    self.moved += moved;
                    if !all || moved == 0 || moved >= wanted {
                        return Attempt::Done(count(self.moved));
                    }
                }
                Err(_) if result == -libc::EINTR => {}
                Err(_) if would_block(result) => return Attempt::Wait,
                // Not lost: the next call has it.
                Err(_) if self.moved > 0 => return Attempt::Done(count(self.moved)),
                Err(_) => return Attempt::Done(result),
            }
        }
    }

    /// Returns the result, how much was asked for, and whether all of it is wanted.
    fn exchange_once(&self) -> (i32, usize, bool) {
        match self.request {
            Request::Recv {
                fd,
                ptr,
                len,
                flags,
            } => {
                let len = len as usize - self.moved;
                let ptr = ptr.wrapping_add(self.moved).cast();
                // SAFETY: the buffer is valid while in flight (`Work::new`), behind `moved` too.
                let result = transferred(unsafe { libc::recv(fd, ptr, len, now(flags)) });
                (result, len, flags & libc::MSG_WAITALL != 0)
            }
            Request::Send {
                fd,
                ptr,
                len,
                flags,
            } => {
                let len = len as usize - self.moved;
                let ptr = ptr.wrapping_add(self.moved).cast();
                // SAFETY: the buffer is valid while in flight (`Work::new`), behind `moved` too.
                let result = transferred(unsafe { libc::send(fd, ptr, len, now(flags)) });
                (result, len, flags & libc::MSG_WAITALL != 0)
            }
            Request::SendMsg { fd, msg, flags } => {
                let flags = flags.cast_signed();
                // SAFETY: the header is valid while in flight (`Work::new`).
                let mut header = unsafe { msg.read() };
                let iovecs = self.segments(header.msg_iov, header.msg_iovlen);
                let (ptr, count) = iovecs.parts();
                header.msg_iov = ptr.cast_mut();
                header.msg_iovlen = usize::try_from(count).unwrap_or(0);
                let wanted = iovecs.len();
                // SAFETY: the header is a local; its table is in flight as well, or in `iovecs`,
                // and so are the buffers.
                let result =
                    transferred(unsafe { libc::sendmsg(fd, &raw const header, now(flags)) });
                (result, wanted, flags & libc::MSG_WAITALL != 0)
            }
            _ => unreachable!("no exchange: {self:?}"),
        }
    }
}

/// Receives into a provided buffer.
fn recv_provided(fd: RawFd, buffers: Option<&mut Consumer>) -> Attempt {
    let Some((buffers, buffer)) = buffers.and_then(|buffers| {
        let buffer = buffers.peek()?;
        Some((buffers, buffer))
    }) else {
        return Attempt::Done(-libc::ENOBUFS);
    };
    let (ptr, len) = (buffer.ptr.cast(), buffer.len as usize);
    // SAFETY: the buffer was provided and not taken since, so it is this side's to write; the
    // operation keeps its group mapped.
    match transferred(unsafe { libc::recv(fd, ptr, len, libc::MSG_DONTWAIT) }) {
        result if would_block(result) => Attempt::Wait,
        received @ 1.. => {
            buffers.take();
            let flags = CQE_BUFFER | u32::from(buffer.id) << CQE_BUFFER_SHIFT;
            Attempt::More(received, flags)
        }
        result => Attempt::Done(result),
    }
}

/// Returns the error that a socket holds, and clears it.
fn pending_error(fd: RawFd) -> i32 {
    let mut error: libc::c_int = 0;
    let mut len = libc::socklen_t::try_from(size_of::<libc::c_int>()).expect("four");
    // SAFETY: `error` and `len` are locals, and `len` is the size of `error`.
    let asked = status(unsafe {
        libc::getsockopt(
            fd,
            libc::SOL_SOCKET,
            libc::SO_ERROR,
            (&raw mut error).cast(),
            &raw mut len,
        )
    });
    if asked < 0 { -asked } else { error }
}

/// Makes a socket call return at once; going on until all is moved is done here.
fn now(flags: i32) -> i32 {
    (flags & !libc::MSG_WAITALL) | libc::MSG_DONTWAIT
}
