//! A request on its way: where it is worked on, and what is known of it. The calls are in `block`,
//! which may, and in `attempt`, which may not.
//!
//! # Safety
//!
//! A [`Work`] is a request in flight: its pointers and descriptors are valid, and the memory is
//! used by nobody else, from [`Work::new`], whose caller promises it, until the operation's last
//! completion is posted. Whoever posts that has given the work up, so that every call through it
//! lies in between; a thread gives it back with the result. This is the use that the kernel makes
//! of a submission, and rests on the same chain.
#![allow(
    unsafe_code,
    reason = "system calls on the memory of operations in flight"
)]

use std::os::fd::RawFd;
use std::time::Duration;

use super::interest::Interest;
use crate::op::{ReadMode, Request};

/// A request in flight.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) request: Request,
    /// Bytes moved so far, by an operation that goes on until all are.
    pub(super) moved: usize,
    /// Bytes that one call is asked to move at most.
    pub(super) move_max: usize,
    pub(super) stage: Stage,
}

/// What is known of an operation since it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Fresh,
    /// A transfer of a file without positions: a pipe, a terminal.
    Stream,
    /// The listener has been made non-blocking.
    Accepting,
    /// The peer has been asked for the connection.
    Connecting,
    /// The peer had no room for a connection; so long was the last pause.
    Paused(Duration),
}

/// Where a request is worked on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// On the worker: it never blocks.
    Here,
    /// On the worker where the page cache has it all, else in the pool.
    Cache,
    /// In the pool.
    Pool,
    /// On the worker, once its descriptor is ready.
    Ready,
}

/// What an attempt that may not block came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    /// The last result.
    Done(i32),
    /// A result, with the completion's flags, of an operation that goes on.
    More(i32, u32),
    /// To be tried again when the descriptor is ready.
    Wait,
    /// To be tried again after a pause: no readiness tells.
    Pause(Duration),
    /// Only a call that may block can tell.
    Pool,
}

// SAFETY: the pointers of a request in flight are used by whoever holds the work, one thread at a
// time; the memory behind them is plain bytes, which belong to no thread.
unsafe impl Send for Work {}

impl Work {
    /// Takes a request in flight.
    ///
    /// # Safety
    ///
    /// - Until the last completion of the operation is posted, every pointer in the request is
    ///   valid and what it points to is neither moved, freed nor used by anyone else, and every
    ///   descriptor in it stays open.
    pub(super) unsafe fn new(request: Request) -> Self {
        Self {
            request,
            moved: 0,
            move_max: usize::MAX,
            stage: Stage::Fresh,
        }
    }

    pub(super) fn place(&self) -> Place {
        match self.request {
            Request::Read {
                mode: ReadMode::Async,
                ..
            }
            | Request::Readv {
                mode: ReadMode::Async,
                ..
            } => Place::Pool,
            Request::Read { .. } | Request::Readv { .. } => Place::Cache,
            Request::Write { .. }
            | Request::Writev { .. }
            | Request::Fsync { .. }
            | Request::Fadvise { .. }
            | Request::Open { .. }
            | Request::Statx { .. }
            | Request::Close { .. } => Place::Pool,
            Request::Accept { .. }
            | Request::Connect { .. }
            | Request::Recv { .. }
            | Request::RecvMulti { .. }
            | Request::Send { .. }
            | Request::SendMsg { .. }
            | Request::Poll { .. } => Place::Ready,
            Request::Shutdown { .. } => Place::Here,
        }
    }

    /// Returns the descriptor whose readiness counts.
    pub(super) fn fd(&self) -> RawFd {
        match self.request {
            Request::Read { fd, .. }
            | Request::Write { fd, .. }
            | Request::Readv { fd, .. }
            | Request::Writev { fd, .. }
            | Request::Fsync { fd, .. }
            | Request::Fadvise { fd, .. }
            | Request::Close { fd }
            | Request::Accept { fd, .. }
            | Request::Connect { fd, .. }
            | Request::Recv { fd, .. }
            | Request::RecvMulti { fd, .. }
            | Request::Send { fd, .. }
            | Request::SendMsg { fd, .. }
            | Request::Shutdown { fd, .. }
            | Request::Poll { fd, .. } => fd,
            Request::Open { dir, .. } | Request::Statx { dir, .. } => dir,
        }
    }

    /// Returns what the operation waits for.
    pub(super) fn interest(&self) -> Interest {
        match self.request {
            Request::Poll { events, .. } => Interest {
                read: events & poll_bits(libc::POLLOUT) == 0
                    || events & poll_bits(libc::POLLIN) != 0,
                write: events & poll_bits(libc::POLLOUT) != 0,
            },
            Request::Connect { .. }
            | Request::Send { .. }
            | Request::SendMsg { .. }
            | Request::Write { .. }
            | Request::Writev { .. } => Interest::WRITE,
            _ => Interest::READ,
        }
    }

    /// Says whether operations of the same direction take turns; polls do not, as they take
    /// nothing.
    pub(super) fn takes_turns(&self) -> bool {
        !matches!(self.request, Request::Poll { .. })
    }

    /// Says whether a file without positions is read or written.
    pub(super) fn is_stream(&self) -> bool {
        self.stage == Stage::Stream
    }

    /// Returns the buffer group that the operation receives into.
    pub(super) fn group(&self) -> Option<u16> {
        match self.request {
            Request::RecvMulti { group, .. } => Some(group),
            _ => None,
        }
    }

    /// Says whether a blocking call of it found a file without positions, which is waited for
    /// rather than blocked on; from now on the work is done so.
    pub(super) fn becomes_stream(&mut self, result: i32) -> bool {
        let becomes = result == -libc::ESPIPE && self.stage == Stage::Fresh && self.is_transfer();
        if becomes {
            self.stage = Stage::Stream;
        }
        becomes
    }

    /// Returns the result of an operation that is cancelled while it waits: what it has moved is
    /// not to be lost.
    pub(super) fn cancelled(&self) -> i32 {
        match self.moved {
            0 => -libc::ECANCELED,
            moved => count(moved),
        }
    }

    /// Closes the descriptor that nobody will take.
    pub(super) fn dispose(&self, result: i32) {
        if let (Request::Open { .. }, Ok(fd)) = (self.request, u32::try_from(result)) {
            drop(crate::op::fd::own(fd));
        }
    }

    fn is_transfer(&self) -> bool {
        matches!(
            self.request,
            Request::Read { .. }
                | Request::Readv { .. }
                | Request::Write { .. }
                | Request::Writev { .. }
        )
    }
}

/// Returns which of the poll(2) events are there.
pub(super) fn poll(fd: RawFd, events: u32) -> u32 {
    let mut poll = libc::pollfd {
        fd,
        events: i16::try_from(events).unwrap_or(0),
        revents: 0,
    };
    // SAFETY: `poll` is one valid pollfd for the duration of the call.
    let _ = unsafe { libc::poll(&raw mut poll, 1, 0) };
    poll_bits(poll.revents)
}

pub(super) fn poll_bits(events: i16) -> u32 {
    u32::from(events.cast_unsigned())
}

pub(super) fn status_flags(fd: RawFd) -> Option<i32> {
    // SAFETY: no pointer; the descriptor is open (`Work::new`).
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFL) };
    (flags >= 0).then_some(flags)
}

/// Makes calls on the descriptor return rather than wait.
pub(super) fn set_nonblocking(fd: RawFd) -> i32 {
    match status_flags(fd) {
        Some(flags) if flags & libc::O_NONBLOCK != 0 => 0,
        Some(flags) => {
            // SAFETY: no pointer; the descriptor is open (`Work::new`).
            status(unsafe { libc::fcntl(fd, libc::F_SETFL, flags | libc::O_NONBLOCK) })
        }
        None => -errno(),
    }
}

pub(super) fn would_block(result: i32) -> bool {
    result == -libc::EAGAIN || result == -libc::EWOULDBLOCK
}

pub(super) fn count(moved: usize) -> i32 {
    i32::try_from(moved).unwrap_or(i32::MAX)
}

/// Turns the answer of a call into the result of an operation.
pub(super) fn status(answer: libc::c_int) -> i32 {
    if answer < 0 { -errno() } else { answer }
}

pub(super) fn transferred(answer: isize) -> i32 {
    if answer < 0 {
        -errno()
    } else {
        i32::try_from(answer).expect("a request moves at most 31 bits of bytes")
    }
}

pub(super) fn errno() -> i32 {
    crate::sys::last_error().raw_os_error().unwrap_or(libc::EIO)
}
