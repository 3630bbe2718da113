//! What other threads hold of their requests.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use super::Alive;
use super::orders::Handle;
use crate::async_reader::runtime::oneshot;
use crate::queue::Class;
use crate::queue::batch::{BatchDone, Mirror, Progress};
use crate::queue::error::ReadError;
use crate::queue::handle::Finished;

/// Awaits a request on any executor: a future of [`Finished`], or, inside of a [`RemoteBatch`], of
/// what became of the batch.
///
/// Dropping the handle cancels the request; [`detach`](Self::detach) lets it go on. When the
/// worker ends first, the request fails with [`ReadError::WorkerGone`].
///
/// # Cancel safety
///
/// Awaiting `&mut` of the handle and giving up loses nothing.
#[must_use = "dropping the handle cancels the request"]
pub struct RemoteHandle<T = Finished> {
    result: oneshot::Receiver<T>,
    /// `None` once there is nothing to wish any more.
    handle: Option<Arc<Handle>>,
    _alive: Arc<Alive>,
}

impl<T> RemoteHandle<T> {
    pub(super) fn new(
        result: oneshot::Receiver<T>,
        handle: Arc<Handle>,
        alive: &Arc<Alive>,
    ) -> Self {
        Self {
            result,
            handle: Some(handle),
            _alive: Arc::clone(alive),
        }
    }

    /// Cancels the request, as [`RequestHandle::cancel`](crate::queue::RequestHandle::cancel)
    /// does, when the worker comes to it.
    pub fn cancel(&self) {
        if let Some(handle) = &self.handle {
            handle.wish(|wishes| wishes.cancel = true);
        }
    }

    /// Says whether the result is there.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.result.is_finished()
    }

    /// Lets the request go on without anybody to tell.
    pub fn detach(mut self) {
        self.handle = None;
    }
}

impl RemoteHandle {
    /// Moves the request behind those of another class, when the worker comes to it.
    pub fn set_class(&self, class: Class) {
        if let Some(handle) = &self.handle {
            handle.wish(|wishes| wishes.class = Some(class));
        }
    }

    /// Gives the request another deadline, or none, when the worker comes to it.
    pub fn set_deadline(&self, deadline: Option<Instant>) {
        if let Some(handle) = &self.handle {
            handle.wish(|wishes| wishes.deadline = Some(deadline));
        }
    }
}

impl<T> RemoteHandle<T> {
    fn poll_result(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let result = ready!(Pin::new(&mut self.result).poll(cx));
        self.handle = None;
        Poll::Ready(result.ok())
    }
}

impl Future for RemoteHandle {
    type Output = Finished;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Finished> {
        let finished = ready!(self.poll_result(cx));
        let gone = || Finished::failed(ReadError::WorkerGone, None);
        Poll::Ready(finished.unwrap_or_else(gone))
    }
}

impl<T> Drop for RemoteHandle<T> {
    fn drop(&mut self) {
        if !self.result.is_finished() {
            self.cancel();
        }
    }
}

impl<T> fmt::Debug for RemoteHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteHandle")
            .field("finished", &self.is_finished())
            .finish_non_exhaustive()
    }
}

/// Awaits a batch on any executor: a future of [`BatchDone`].
///
/// Dropping it cancels the batch; [`detach`](Self::detach) lets it go on.
///
/// # Cancel safety
///
/// Awaiting `&mut` of it and giving up loses nothing.
#[must_use = "dropping the handle cancels the batch"]
#[derive(Debug)]
pub struct RemoteBatch {
    handle: RemoteHandle<BatchDone>,
    mirror: Arc<Mirror>,
    whole: Progress,
}

impl RemoteBatch {
    pub(super) fn new(
        handle: RemoteHandle<BatchDone>,
        mirror: Arc<Mirror>,
        whole: Progress,
    ) -> Self {
        Self {
            handle,
            mirror,
            whole,
        }
    }

    /// Gives how far the batch is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let (requests_done, bytes_done) = self.mirror.get();
        Progress {
            requests_done: usize::try_from(requests_done).unwrap_or(usize::MAX),
            bytes_done,
            ..self.whole
        }
    }

    /// Cancels every request of the batch that is not done, when the worker comes to it.
    pub fn cancel(&self) {
        self.handle.cancel();
    }

    /// Says whether all results are there.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.handle.is_finished()
    }

    /// Lets the batch go on without anybody to tell.
    pub fn detach(self) {
        self.handle.detach();
    }
}

impl Future for RemoteBatch {
    type Output = BatchDone;

    /// When the worker has ended first, every request has failed with [`ReadError::WorkerGone`].
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<BatchDone> {
        let done = ready!(self.handle.poll_result(cx));
        let requests = self.whole.requests;
        Poll::Ready(done.unwrap_or_else(|| {
            BatchDone {
                results: std::iter::repeat_with(|| Finished::failed(ReadError::WorkerGone, None))
                    .take(requests)
                    .collect(),
                first_error: (requests > 0).then_some(0),
            }
        }))
    }
}
