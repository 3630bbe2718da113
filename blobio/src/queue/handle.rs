//! The handle of one request, and what it gives.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use super::Class;
use super::engine::Inner;
use super::error::ReadError;
use super::record::Key;
use crate::async_reader::Destination;

/// What became of a request.
#[derive(Debug)]
pub struct Finished {
    /// How many bytes were read: fewer than asked only at the end of the blob.
    pub result: Result<usize, ReadError>,
    /// The destination, which nothing writes any more; `None` where the allocator was not called
    /// or failed, and where the worker ended while the kernel had it.
    ///
    /// After an error it may have been written.
    pub destination: Option<Destination>,
}

impl Finished {
    pub(super) fn failed(error: ReadError, destination: Option<Destination>) -> Self {
        Self {
            result: Err(error),
            destination,
        }
    }

    /// Gives the bytes that were read; none of a region, which is never read back, or after an
    /// error.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match (&self.result, &self.destination) {
            (Ok(_), Some(destination)) => destination.bytes(),
            _ => &[],
        }
    }

    /// Gives the vector that was read into.
    ///
    /// # Errors
    ///
    /// When the request failed; `InvalidInput` when its destination is no vector.
    pub fn into_vec(self) -> io::Result<Vec<u8>> {
        self.result?;
        match self.destination.map(Destination::into_vec) {
            Some(Ok(vec)) => Ok(vec),
            _ => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the destination of the read is no vector",
            )),
        }
    }
}

/// Awaits a request: a future of [`Finished`].
///
/// Dropping the handle cancels the request, as [`cancel`](Self::cancel) does, and drops the
/// destination when nothing writes it any more; [`detach`](Self::detach) lets it go on.
///
/// # Cancel safety
///
/// Awaiting `&mut` of the handle and giving up loses nothing.
#[must_use = "dropping the handle cancels the request"]
pub struct RequestHandle {
    /// `None` once the result was taken or the handle detached.
    request: Option<(Rc<Inner>, Key)>,
}

impl RequestHandle {
    pub(super) fn new(inner: Rc<Inner>, key: Key) -> Self {
        Self {
            request: Some((inner, key)),
        }
    }

    /// Cancels the request: the handle resolves to [`ReadError::Cancelled`] with the destination.
    ///
    /// At once while the request is queued, and while its bytes are to be copied out of a read
    /// that it shares. When the kernel has the destination, the kernel finishes first: until the
    /// handle has resolved, the destination may be written, and after that it is not.
    ///
    /// A request that is done already stays as it is.
    pub fn cancel(&self) {
        if let Some((inner, key)) = &self.request {
            inner.with_time(|state, out| state.cancel(*key, out));
        }
    }

    /// Moves the request behind those of another class; what is under way stays so.
    ///
    /// Returns whether that changed anything: false once the last read for it is under way.
    #[expect(
        clippy::must_use_candidate,
        reason = "being too late is seldom of interest"
    )]
    pub fn set_class(&self, class: Class) -> bool {
        self.request
            .as_ref()
            .is_some_and(|(inner, key)| inner.set_class(*key, class))
    }

    /// Gives the request another deadline, or none.
    ///
    /// Returns whether that changed anything: false once the last read for it is under way.
    #[expect(
        clippy::must_use_candidate,
        reason = "being too late is seldom of interest"
    )]
    pub fn set_deadline(&self, deadline: Option<Instant>) -> bool {
        self.request
            .as_ref()
            .is_some_and(|(inner, key)| inner.set_deadline(*key, deadline))
    }

    /// Says whether the result is there.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.request
            .as_ref()
            .is_none_or(|(inner, key)| inner.look(|state| state.is_done(*key)))
    }

    /// Lets the request go on without anybody to tell, to warm a cache or to fill a region.
    pub fn detach(mut self) {
        if let Some((inner, key)) = self.request.take() {
            inner.with(|state, out| state.detach(key, out));
        }
    }
}

impl Future for RequestHandle {
    type Output = Finished;

    /// # Panics
    ///
    /// When it is polled again after it was ready.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Finished> {
        let (inner, key) = self
            .request
            .as_ref()
            .expect("a RequestHandle was polled after it was ready");
        // The waker is user code: cloned before the borrow, and what it replaces dropped after.
        let waker = cx.waker().clone();
        let finished = inner.with(|state, out| state.take_result(*key, waker, out));
        match finished {
            Some(finished) => {
                self.request = None;
                Poll::Ready(finished)
            }
            None => Poll::Pending,
        }
    }
}

impl Drop for RequestHandle {
    fn drop(&mut self) {
        if let Some((inner, key)) = self.request.take() {
            inner.with_time(|state, out| {
                state.cancel(key, out);
                state.detach(key, out);
            });
        }
    }
}

impl fmt::Debug for RequestHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestHandle")
            .field("finished", &self.is_finished())
            .finish_non_exhaustive()
    }
}
