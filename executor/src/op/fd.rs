//! Descriptors that operations share with the objects they belong to.
//!
//! # Safety
//!
//! A descriptor is adopted only from the result of an operation that makes one.
#![allow(unsafe_code, reason = "adopts descriptors that operations return")]

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::rc::Rc;

/// A descriptor owned by its object and by every operation in flight on it, so that its number
/// cannot be closed and reused under an operation.
#[derive(Clone, Debug)]
pub(crate) struct SharedFd(Rc<Shared>);

/// What closes a descriptor whose last owner is gone.
pub(crate) type CloseBy = fn(OwnedFd);

#[derive(Debug)]
struct Shared {
    raw: RawFd,
    /// Taken by who closes it, when nobody else has a share any more.
    fd: Option<OwnedFd>,
    /// Closes it elsewhere, where that may take long.
    close: Option<CloseBy>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let (Some(fd), Some(close)) = (self.fd.take(), self.close) {
            close(fd);
        }
    }
}

impl SharedFd {
    /// Shares a descriptor that its last owner closes.
    pub(crate) fn new(fd: OwnedFd) -> Self {
        Self::closed_by(fd, None)
    }

    /// Shares a descriptor that is given to `close`, where there is one, when its last owner is gone:
    /// on the thread of that owner, perhaps inside of a borrow of the driver.
    pub(crate) fn closed_by(fd: OwnedFd, close: Option<CloseBy>) -> Self {
        Self(Rc::new(Shared {
            raw: fd.as_raw_fd(),
            fd: Some(fd),
            close,
        }))
    }

    #[inline]
    pub(crate) fn raw(&self) -> RawFd {
        self.0.raw
    }

    /// Says whether closing it may take long.
    pub(crate) fn closes_elsewhere(&self) -> bool {
        self.0.close.is_some()
    }

    /// Gives the descriptor to its only owner, or the handle back while operations use it.
    pub(crate) fn try_unwrap(self) -> Result<OwnedFd, Self> {
        let mut shared = Rc::try_unwrap(self.0).map_err(Self)?;
        Ok(shared
            .fd
            .take()
            .expect("it is taken once, from its last owner"))
    }
}

impl AsFd for SharedFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        let fd = self.0.fd.as_ref();
        fd.expect("it is taken from its last owner").as_fd()
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
