//! What all listeners do.

use std::io;
use std::marker::PhantomData;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::driver::Multishot;
use crate::op::SharedFd;
use crate::op::fd;
use crate::op::kinds::accept::Accept;
use crate::worker::Core;

use super::stream::Stream;

/// A listening socket: what the listeners are made of.
pub(crate) struct Listener {
    pub(super) core: Rc<Core>,
    pub(super) fd: SharedFd,
}

impl Listener {
    pub(super) fn new(core: &Rc<Core>, fd: OwnedFd) -> Self {
        Self {
            core: Rc::clone(core),
            fd: SharedFd::new(fd),
        }
    }

    pub(super) async fn accept(&self) -> io::Result<Stream> {
        let fd = self
            .core
            .op(Accept { multishot: false }, self.fd.clone())
            .await?;
        Ok(Stream::new(&self.core, fd))
    }

    pub(super) fn incoming<S>(&self) -> Incoming<S> {
        let accept = Accept { multishot: true };
        Incoming {
            accept: self.core.multishot(accept, self.fd.clone()),
            core: Rc::clone(&self.core),
            stream: PhantomData,
        }
    }
}

/// The connections of a listener, accepted continuously by one operation (multishot accept,
/// Linux 5.19).
///
/// What the kernel has accepted and nobody has taken is closed when this is dropped.
pub struct Incoming<S> {
    accept: Multishot<Accept>,
    core: Rc<Core>,
    stream: PhantomData<fn() -> S>,
}

impl<S: From<Accepted>> Incoming<S> {
    /// Waits for the next connection. `None` once [`close`](Self::close) was called and what had
    /// been accepted before is taken.
    ///
    /// # Errors
    ///
    /// Those of accept(2): of one connection (`ECONNABORTED`), or for want of descriptors
    /// (`EMFILE`). The next call accepts again; after `EMFILE` one should wait a little.
    ///
    /// # Cancel safety
    ///
    /// No connection is lost.
    pub async fn next(&mut self) -> Option<io::Result<S>> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    /// The poll form of [`next`](Self::next).
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next).
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<S>>> {
        self.accept.poll_next(cx).map(|outcome| {
            outcome.map(|outcome| {
                let fd = outcome.into_result().map(fd::own)?;
                Ok(S::from(Accepted(Stream::new(&self.core, fd))))
            })
        })
    }

    /// Stops accepting; what was accepted before is still to be taken by
    /// [`next`](Self::next).
    pub fn close(&mut self) {
        self.accept.stop();
    }
}

impl<S> std::fmt::Debug for Incoming<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Incoming")
            .field("accept", &self.accept)
            .finish_non_exhaustive()
    }
}

/// An accepted connection, before it has its type.
pub struct Accepted(pub(super) Stream);

impl std::fmt::Debug for Accepted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Accepted").finish_non_exhaustive()
    }
}
