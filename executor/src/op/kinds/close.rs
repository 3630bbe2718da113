//! Closing a descriptor.
//!
//! # Safety
//!
//! The request has no pointer. The memory owns the descriptor until a completion says that the
//! kernel has closed it, so that it is closed exactly once, whatever happens to the future.
#![allow(unsafe_code, reason = "implements Kind")]

use std::io;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd};

use crate::buf::Erased;
use crate::op::{Dispose, Kind, Outcome, Request};

/// Closes a descriptor and reports what close(2) says.
#[derive(Debug)]
pub(crate) struct Close;

/// A descriptor on its way out; empty once the kernel has closed it.
#[derive(Debug)]
pub(crate) struct Closing {
    fd: Option<OwnedFd>,
    waits: bool,
}

impl Closing {
    /// Of a descriptor whose close may take long, if it `waits` for somebody.
    pub(crate) fn new(fd: OwnedFd, waits: bool) -> Self {
        let fd = Some(fd);
        Self { fd, waits }
    }

    /// Gives the descriptor up, unless the request was cancelled before it ran. Linux closes a
    /// descriptor even when close(2) reports an error.
    fn settle(&mut self, outcome: Outcome) {
        if outcome.result != -libc::ECANCELED
            && let Some(fd) = self.fd.take()
        {
            let _ = fd.into_raw_fd();
        }
    }

    /// Settles what nobody waits for. A close that was cancelled is still to be made: where it may
    /// take as long as it likes, not on the worker.
    fn dispose(&mut self, outcome: Outcome) {
        self.settle(outcome);
        if let Some(fd) = self.fd.take_if(|_| self.waits) {
            let thread = std::thread::Builder::new().name("corelane-close".to_owned());
            // Where there is no thread to be had, this drops the descriptor here.
            let _ = thread.spawn(move || drop(fd));
        }
    }

    /// Gives the descriptor back that has not been closed.
    pub(crate) fn into_fd(self) -> Option<OwnedFd> {
        self.fd
    }
}

// SAFETY: there is no pointer; the memory owns the descriptor until it is closed.
unsafe impl Kind for Close {
    type Memory = Closing;
    type Output = io::Result<()>;

    const DISPOSE: Dispose =
        |memory: &mut Erased, outcome| memory.get_mut::<Closing>().dispose(outcome);

    fn request(&self, memory: &mut Closing, _owner: usize) -> Request {
        let fd = memory
            .fd
            .as_ref()
            .expect("a descriptor is closed once")
            .as_raw_fd();
        Request::Close { fd }
    }

    fn complete(&self, outcome: Outcome, mut memory: Closing) -> Self::Output {
        memory.settle(outcome);
        outcome.into_result().map(drop)
    }
}
