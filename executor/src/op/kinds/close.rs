//! Closing a descriptor.
//!
//! # Safety
//!
//! The request has no pointer. The memory owns the descriptor until a completion says that the
//! kernel has closed it, so that it is closed exactly once, whatever happens to the future. Where a
//! completion does not say, the number is closed again only while it names the same file.
#![allow(unsafe_code, reason = "implements Kind")]

use std::io;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd};

use crate::buf::Erased;
use crate::op::{Dispose, Kind, Outcome, Request};
use crate::sys::FileId;

/// Closes a descriptor and reports what close(2) says.
#[derive(Debug)]
pub(crate) struct Close;

/// A descriptor on its way out; empty once the kernel has closed it.
#[derive(Debug)]
pub(crate) struct Closing {
    fd: Option<OwnedFd>,
    of: Of,
    waits: bool,
}

/// What is closed.
#[derive(Clone, Copy, Debug)]
enum Of {
    /// A socket has nothing to flush, and its close no error of its own.
    Socket,
    /// A file, where the kernel could tell which.
    File(Option<FileId>),
}

impl Closing {
    /// Of a file's descriptor, whose close may take long, if it `waits` for somebody.
    pub(crate) fn of_file(fd: OwnedFd, waits: bool) -> Self {
        let of = Of::File(FileId::of(fd.as_raw_fd()));
        let fd = Some(fd);
        Self { fd, of, waits }
    }

    /// Of a socket's descriptor.
    pub(crate) fn of_socket(fd: OwnedFd) -> Self {
        Self {
            fd: Some(fd),
            of: Of::Socket,
            waits: false,
        }
    }

    /// Gives the descriptor up, unless the request was cancelled before it ran. Linux closes a
    /// descriptor even when close(2) reports an error.
    fn settle(&mut self, outcome: Outcome) {
        if (outcome.result != -libc::ECANCELED || self.has_left())
            && let Some(fd) = self.fd.take()
        {
            let _ = fd.into_raw_fd();
        }
    }

    /// Says whether the descriptor is closed though the close was cancelled, as it seems: what a
    /// file system answers to a flush may be the same error, and the number is free before it is
    /// asked. Then the number names nothing by now, or what another has opened.
    ///
    /// The same file, opened anew at the same number in between, is taken for what was to be
    /// closed: see docs/SAFETY.md. Where the kernel does not tell, a descriptor is rather kept open
    /// than closed for another.
    fn has_left(&self) -> bool {
        match (&self.fd, self.of) {
            (Some(fd), Of::File(file)) => file.is_none() || FileId::of(fd.as_raw_fd()) != file,
            _ => false,
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

    fn is_undone(&self, memory: &mut Closing) -> bool {
        memory.settle(Outcome::gone());
        memory.fd.is_some()
    }

    fn complete(&self, outcome: Outcome, mut memory: Closing) -> Self::Output {
        memory.settle(outcome);
        outcome.into_result().map(drop)
    }
}
