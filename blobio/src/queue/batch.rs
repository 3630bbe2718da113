//! Many requests, one completion.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use futures_core::Stream;

use super::engine::Inner;
use super::error::ReadError;
use super::handle::Finished;
use super::outbox::Outbox;
use super::record::Key;
use super::waiters::{Waiter, Waiters};
use crate::async_reader::Destination;

/// What the first error of a batch does to its other requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnError {
    /// They go on.
    #[default]
    Continue,
    /// They are cancelled, as by [`BatchHandle::cancel`].
    Cancel,
}

/// How far a batch is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Requests that are done, failed ones included.
    pub requests_done: usize,
    /// All requests.
    pub requests: usize,
    /// Bytes that were read for the requests that are done.
    pub bytes_done: u64,
    /// Bytes that were asked for.
    pub bytes: u64,
}

/// What became of a batch.
#[derive(Debug, Default)]
pub struct BatchDone {
    /// What became of each request, in the order of the batch.
    pub results: Vec<Finished>,
    /// The request that failed or was cancelled before any other, if one was.
    pub first_error: Option<usize>,
}

impl BatchDone {
    /// Gives the destinations in the order of the batch.
    ///
    /// # Errors
    ///
    /// The index and the error of the request that failed first.
    pub fn into_destinations(self) -> Result<Vec<Destination>, (usize, ReadError)> {
        let mut results = self.results;
        if let Some(index) = self.first_error
            && let Err(error) = results.swap_remove(index).result
        {
            return Err((index, error));
        }
        let destinations = results.into_iter();
        Ok(destinations
            .filter_map(|finished| finished.destination)
            .collect())
    }
}

/// A batch as its requests and handles share it.
pub(super) struct BatchState {
    cell: RefCell<Shared>,
}

struct Shared {
    slots: Vec<Slot>,
    progress: Progress,
    first_error: Option<usize>,
    on_error: OnError,
    /// The handle's: left by its poll, taken with the last result.
    waker: Option<Waker>,
    /// The progress streams': left by their polls, taken with each result.
    watchers: Waiters,
    /// For another thread's eyes.
    mirror: Option<Arc<Mirror>>,
}

enum Slot {
    /// Not yet taken by the queue, which has no place for it.
    Waiting,
    Pending(Key),
    Done(Finished),
}

/// The progress of a batch where another thread can see it. Written by the queue alone.
#[derive(Debug, Default)]
pub(super) struct Mirror {
    requests_done: AtomicU64,
    bytes_done: AtomicU64,
}

impl Mirror {
    /// Gives what is done: requests and bytes.
    pub(super) fn get(&self) -> (u64, u64) {
        let requests = self.requests_done.load(Ordering::Acquire);
        (requests, self.bytes_done.load(Ordering::Relaxed))
    }
}

impl BatchState {
    pub(super) fn new(
        requests: usize,
        bytes: u64,
        on_error: OnError,
        mirror: Option<Arc<Mirror>>,
    ) -> Rc<Self> {
        let mut slots = Vec::with_capacity(requests);
        slots.resize_with(requests, || Slot::Waiting);
        let progress = Progress {
            requests,
            bytes,
            ..Progress::default()
        };
        Rc::new(Self {
            cell: RefCell::new(Shared {
                slots,
                progress,
                first_error: None,
                on_error,
                waker: None,
                watchers: Waiters::default(),
                mirror,
            }),
        })
    }

    #[inline]
    pub(super) fn set_key(&self, index: u32, key: Key) {
        self.cell.borrow_mut().slots[index as usize] = Slot::Pending(key);
    }

    /// Takes the result of a request, and says whether the others are to be cancelled.
    pub(super) fn put(&self, index: u32, finished: Finished, out: &mut Outbox) -> bool {
        let shared = &mut *self.cell.borrow_mut();
        let index = index as usize;
        let failed = finished.result.is_err();
        let first = failed && shared.first_error.is_none();
        if first {
            shared.first_error = Some(index);
        }
        shared.progress.requests_done += 1;
        shared.progress.bytes_done += finished.result.as_ref().map_or(0, |len| *len as u64);
        if let Some(mirror) = &shared.mirror {
            let progress = &shared.progress;
            mirror
                .bytes_done
                .store(progress.bytes_done, Ordering::Relaxed);
            let done = progress.requests_done as u64;
            mirror.requests_done.store(done, Ordering::Release);
        }
        shared.slots[index] = Slot::Done(finished);
        if !shared.watchers.is_empty() {
            out.wake_all(shared.watchers.drain());
        }
        if shared.is_done() {
            out.wake_all(shared.waker.take());
            return false;
        }
        first && shared.on_error == OnError::Cancel
    }

    /// Gives the keys of the requests that are not done and that the queue has taken.
    pub(super) fn pending(&self) -> Vec<Key> {
        let shared = self.cell.borrow();
        let slots = shared.slots.iter();
        slots
            .filter_map(|slot| match slot {
                Slot::Pending(key) => Some(*key),
                _ => None,
            })
            .collect()
    }

    fn progress(&self) -> Progress {
        self.cell.borrow().progress
    }

    fn is_done(&self) -> bool {
        self.cell.borrow().is_done()
    }

    /// Gives the results if they are all there, and gives `waker` back for what it replaced.
    fn take(&self, waker: &mut Option<Waker>) -> Option<BatchDone> {
        let shared = &mut *self.cell.borrow_mut();
        if !shared.is_done() {
            std::mem::swap(&mut shared.waker, waker);
            return None;
        }
        let slots = std::mem::take(&mut shared.slots).into_iter();
        let results = slots.map(|slot| match slot {
            Slot::Done(finished) => finished,
            _ => unreachable!("every request of the batch is done"),
        });
        Some(BatchDone {
            results: results.collect(),
            first_error: shared.first_error,
        })
    }

    fn add_watcher(&self) -> Waiter {
        self.cell.borrow_mut().watchers.add()
    }

    /// Registers a progress stream, unless something has changed since it has `seen`, and gives
    /// `waker` back for what it replaced.
    fn watch(
        &self,
        watcher: Waiter,
        seen: Option<Progress>,
        waker: &mut Option<Waker>,
    ) -> Option<Progress> {
        let shared = &mut *self.cell.borrow_mut();
        if seen != Some(shared.progress) {
            return Some(shared.progress);
        }
        let new = waker.take()?;
        *waker = shared.watchers.put(watcher, new);
        None
    }

    fn remove_watcher(&self, watcher: Waiter) -> Option<Waker> {
        self.cell.borrow_mut().watchers.remove(watcher)
    }
}

impl Shared {
    fn is_done(&self) -> bool {
        self.progress.requests_done == self.progress.requests
    }
}

/// Awaits a batch: a future of [`BatchDone`]. Its task is woken once, with the last result.
///
/// Dropping the handle cancels the batch, and drops each destination when nothing writes it any
/// more; [`detach`](Self::detach) lets it go on.
///
/// # Cancel safety
///
/// Awaiting `&mut` of the handle and giving up loses nothing.
#[must_use = "dropping the handle cancels the batch"]
pub struct BatchHandle {
    /// `None` once the results were taken or the handle detached.
    batch: Option<(Rc<Inner>, Rc<BatchState>)>,
    last: Progress,
}

impl BatchHandle {
    pub(super) fn new(inner: Rc<Inner>, state: Rc<BatchState>) -> Self {
        Self {
            batch: Some((inner, state)),
            last: Progress::default(),
        }
    }

    pub(super) fn state(&self) -> Option<&Rc<BatchState>> {
        self.batch.as_ref().map(|(_, state)| state)
    }

    /// Gives how far the batch is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.state().map_or(self.last, |state| state.progress())
    }

    /// Gives the progress as a stream: what it is now, then each change, as far as it is polled
    /// in between, until the batch is done. A task that polls it is woken for changes.
    pub fn progress_stream(&self) -> ProgressStream {
        let watch = |state: &Rc<BatchState>| (Rc::clone(state), state.add_watcher());
        ProgressStream {
            watched: self.state().map(watch),
            seen: None,
        }
    }

    /// Cancels every request of the batch that is not done, each as
    /// [`RequestHandle::cancel`](super::RequestHandle::cancel) does.
    pub fn cancel(&self) {
        if let Some((inner, batch)) = &self.batch {
            inner.with_time(|state, out| state.cancel_batch(batch, out));
        }
    }

    /// Says whether all results are there.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.state().is_none_or(|state| state.is_done())
    }

    /// Lets the batch go on without anybody to tell.
    pub fn detach(mut self) {
        self.batch = None;
    }
}

impl Future for BatchHandle {
    type Output = BatchDone;

    /// # Panics
    ///
    /// When it is polled again after it was ready.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<BatchDone> {
        let state = self
            .state()
            .expect("a BatchHandle was polled after it was ready");
        let mut waker = Some(cx.waker().clone());
        let Some(done) = state.take(&mut waker) else {
            return Poll::Pending;
        };
        self.last = self.progress();
        self.batch = None;
        Poll::Ready(done)
    }
}

impl Drop for BatchHandle {
    fn drop(&mut self) {
        self.cancel();
    }
}

impl fmt::Debug for BatchHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchHandle")
            .field("progress", &self.progress())
            .finish_non_exhaustive()
    }
}

/// The progress of a batch, as a stream; see [`BatchHandle::progress_stream`].
#[must_use = "streams do nothing unless polled"]
pub struct ProgressStream {
    /// `None` after the last item.
    watched: Option<(Rc<BatchState>, Waiter)>,
    seen: Option<Progress>,
}

impl Stream for ProgressStream {
    type Item = Progress;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Progress>> {
        let Some((state, watcher)) = &self.watched else {
            return Poll::Ready(None);
        };
        let mut waker = Some(cx.waker().clone());
        let Some(progress) = state.watch(*watcher, self.seen, &mut waker) else {
            return Poll::Pending;
        };
        self.seen = Some(progress);
        if progress.requests_done == progress.requests {
            self.watched = None;
        }
        Poll::Ready(Some(progress))
    }
}

impl Drop for ProgressStream {
    fn drop(&mut self) {
        if let Some((state, watcher)) = &self.watched {
            drop(state.remove_watcher(*watcher));
        }
    }
}

impl fmt::Debug for ProgressStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProgressStream")
            .field("seen", &self.seen)
            .finish_non_exhaustive()
    }
}
