//! Descriptors that operations share with the objects they belong to.
//!
//! # Safety
//!
//! A descriptor is adopted only from the result of an operation that makes one.
#![allow(unsafe_code, reason = "adopts descriptors that operations return")]

use std::cell::Cell;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::rc::Rc;

use super::hits::Hits;

/// A descriptor owned by its object and by every operation in flight on it, so that its number
/// cannot be closed and reused under an operation.
#[derive(Clone, Debug)]
pub(crate) struct SharedFd(Rc<Shared>);

#[derive(Debug)]
struct Shared {
    fd: OwnedFd,
    hits: Cell<Hits>,
}

impl SharedFd {
    pub(crate) fn new(fd: OwnedFd) -> Self {
        Self::with_hits(fd, Hits::never())
    }

    /// As [`new`](Self::new), for a file whose reads may be tried.
    pub(crate) fn with_hits(fd: OwnedFd, hits: Hits) -> Self {
        let hits = Cell::new(hits);
        Self(Rc::new(Shared { fd, hits }))
    }

    #[inline]
    pub(crate) fn raw(&self) -> RawFd {
        self.0.fd.as_raw_fd()
    }

    #[inline]
    pub(crate) fn hits(&self) -> &Cell<Hits> {
        &self.0.hits
    }

    /// Gives the descriptor to its only owner, or the handle back while operations use it.
    pub(crate) fn try_unwrap(self) -> Result<OwnedFd, Self> {
        let shared = Rc::try_unwrap(self.0).map_err(Self)?;
        Ok(shared.fd)
    }
}

impl AsFd for SharedFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.fd.as_fd()
    }
}

/// Adopts the descriptor that an operation returned.
///
/// Only for results of operations whose result is a new descriptor: open, accept.
pub(crate) fn own(result: u32) -> OwnedFd {
    let fd = RawFd::try_from(result).expect("the kernel returns descriptors as positive ints");
    // SAFETY: the kernel has just installed this descriptor for the operation, and an operation
    // has one taker: its future, or the disposal of an untaken result.
    unsafe { crate::sys::own_fd(fd) }
}
