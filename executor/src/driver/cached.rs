//! Reads that are done without the backend, as the page cache has all that they ask for.
//!
//! # Safety
//!
//! A request is carried out before the memory that it points to is used again or moved: it is
//! borrowed until the system call is over, and the kernel keeps nothing of it.
#![allow(unsafe_code, reason = "reads into the memory of an operation")]

use super::{Backend, Driver, DriverRef};
use crate::op::{Kind, Outcome, ReadMode, Request};

/// What a read that is done at once counts for at least, in bytes copied: about the time of its
/// system call.
const COST_MIN: u64 = 8 * 1024;

/// Does an operation there and then, if it is a read that the page cache has all of, and the poll
/// that runs has not had enough of these.
#[inline]
pub(super) fn try_at_once<K: Kind>(
    driver: &DriverRef,
    kind: &K,
    memory: &mut K::Memory,
) -> Option<Outcome> {
    let (tried, hits) = K::hits(memory)?.get().next();
    // Registrations do not matter here, and an owner is never zero.
    let request = kind.request(memory, 0);
    let read = match request {
        _ if !tried || !driver.borrow_mut().takes_at_once(&request) => None,
        Request::Read {
            fd,
            ptr,
            len,
            offset,
            ..
        } => {
            // SAFETY: by the contract of `Kind`, `memory` keeps the descriptor open and holds
            // `len` bytes to write at `ptr`; it is borrowed for longer than the call takes.
            let read = unsafe { crate::sys::read_cached(fd, ptr, len as usize, offset) };
            // Fewer are the end of the file, or of what is cached: the backend finds out.
            Some((read == len as usize).then(|| Outcome::count(len)))
        }
        _ => None,
    };
    K::hits(memory)?.set(match read {
        Some(Some(_)) => hits.hit(),
        Some(None) => hits.missed(),
        None => hits,
    });
    let outcome = read??;
    driver.borrow_mut().counters.done_at_once += 1;
    Some(outcome)
}

impl Driver {
    /// Begins a poll; returns how many bytes the last one had copied by reads that were done in
    /// it.
    #[inline]
    pub(crate) fn begin_poll(&mut self) -> u64 {
        let copied = self.poll_bytes_max - self.poll_bytes;
        self.poll_bytes = self.poll_bytes_max;
        copied
    }

    /// Says whether a request is a read that may be done in the poll that runs, which pays for it.
    #[inline]
    fn takes_at_once(&mut self, request: &Request) -> bool {
        let Request::Read { len, mode, .. } = *request else {
            return false;
        };
        let cost = u64::from(len).max(COST_MIN);
        let may = mode == ReadMode::Inline
            && len > 0
            && cost <= self.poll_bytes
            && matches!(self.backend, Some(Backend::Uring(_)));
        if may {
            self.poll_bytes -= cost;
        }
        may
    }
}
