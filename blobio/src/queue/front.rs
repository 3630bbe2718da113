//! The queue as its users hold it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use super::batch::{BatchHandle, BatchState, Mirror, OnError};
use super::blob::{Entry, QueuedBlob};
use super::config::{QueueConfig, QueueConfigError};
use super::engine::Inner;
use super::error::{ReadError, SubmitError};
use super::handle::{Finished, RequestHandle};
use super::line::{Rest, Ticket, Waiting};
use super::record::{self, Target};
use super::remote::RemoteQueue;
use super::request::Request;
use super::stats::{Census, Filter, QueueStats, Watch};
use crate::traits::RandomReadBlobAsync;

/// The next identity of a queue, and of a blob: no two of the process have the same.
static NEXT_ID: AtomicU64 = AtomicU64::new(0);

/// A queue of reads, on the worker that made it; [the module](super) says what it does.
///
/// Clones are the same queue. Dropping the last of them, remote ones included, lets the queue
/// finish what it has: the requests' handles go on to work.
pub struct BlobQueue {
    inner: Rc<Inner>,
}

impl BlobQueue {
    /// Makes a queue on the current worker.
    ///
    /// Its tasks live as long as the queue has handles or requests: drop the queue before a
    /// worker is to be idle, or [shut it down](Self::shutdown).
    ///
    /// # Errors
    ///
    /// When a limit is 0 or out of range; the error names it.
    ///
    /// # Panics
    ///
    /// Panics outside of a worker.
    pub fn new(config: QueueConfig) -> Result<Self, QueueConfigError> {
        let inner = Inner::start(config, next_id())?;
        Ok(Self::of(inner))
    }

    fn of(inner: Rc<Inner>) -> Self {
        inner.with(|state, _| state.add_handle());
        Self { inner }
    }

    /// Registers a blob, to be read through the queue for as long as a handle to it lives.
    ///
    /// What the blob says of itself is asked once, here.
    pub fn register<B>(&self, blob: B) -> QueuedBlob
    where
        B: RandomReadBlobAsync + 'static,
    {
        let entry = Entry::new(next_id(), self.inner.id, &self.inner.config, blob);
        QueuedBlob {
            entry: Rc::new(entry),
        }
    }

    /// Submits a request once there is a place for it and every earlier one had theirs.
    ///
    /// # Errors
    ///
    /// Gives the request back when the queue is shut down, or its blob is another queue's.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future submits nothing and drops the request; a place it was given goes to the
    /// next.
    pub async fn submit(&self, request: Request) -> Result<RequestHandle, SubmitError<Request>> {
        match self.submit_to(request, Target::Handle(None)).await {
            Ok(key) => Ok(RequestHandle::new(Rc::clone(&self.inner), key)),
            Err(error) => Err(error.map(|(request, _)| request)),
        }
    }

    /// Submits a request whose result goes to `target`.
    pub(super) async fn submit_to(
        &self,
        request: Request,
        target: Target,
    ) -> Result<record::Key, SubmitError<(Request, Target)>> {
        if request.blob.entry.queue != self.inner.id {
            return Err(SubmitError::ForeignBlob((request, target)));
        }
        let mut place = Place::new(&self.inner);
        if !(&mut place).await {
            return Err(SubmitError::Closed((request, target)));
        }
        place.used();
        Ok(self
            .inner
            .with_time(|state, _| state.take_in(request, target)))
    }

    /// Submits a request if there is a place for it and nobody waits for one.
    ///
    /// # Errors
    ///
    /// Gives the request back when there is no place, the queue is shut down, or the blob is
    /// another queue's.
    pub fn try_submit(&self, request: Request) -> Result<RequestHandle, SubmitError<Request>> {
        if request.blob.entry.queue != self.inner.id {
            return Err(SubmitError::ForeignBlob(request));
        }
        let key = self.inner.with_time(|state, _| {
            if !state.is_open() {
                return Err(SubmitError::Closed(request));
            }
            if !state.line_mut().try_take() {
                return Err(SubmitError::Full(request));
            }
            Ok(state.take_in(request, Target::Handle(None)))
        })?;
        Ok(RequestHandle::new(Rc::clone(&self.inner), key))
    }

    /// Submits a request and awaits it; what is not taken fails with
    /// [`ShutDown`](ReadError::ShutDown).
    ///
    /// # Panics
    ///
    /// Panics when the blob is another queue's.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the request.
    pub async fn read(&self, request: Request) -> Finished {
        match self.submit(request).await {
            Ok(handle) => handle.await,
            Err(SubmitError::ForeignBlob(_)) => {
                panic!("the blob of the request is registered with another queue")
            }
            Err(error) => {
                let destination = error.into_inner().into_destination();
                Finished::failed(ReadError::ShutDown, destination)
            }
        }
    }

    /// Submits many requests that complete together, once there is a place for the first and
    /// every earlier submission had theirs. The others follow as places come free, ahead of later
    /// submissions, so that a batch may be longer than the queue.
    ///
    /// # Errors
    ///
    /// Gives the requests back when the queue is shut down, a blob is another queue's, or there
    /// are more than 2^32 - 1.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future submits nothing and drops the requests.
    pub async fn submit_batch(
        &self,
        requests: Vec<Request>,
        on_error: OnError,
    ) -> Result<BatchHandle, SubmitError<Vec<Request>>> {
        self.submit_batch_to(requests, on_error, None).await
    }

    pub(super) async fn submit_batch_to(
        &self,
        requests: Vec<Request>,
        on_error: OnError,
        mirror: Option<Arc<Mirror>>,
    ) -> Result<BatchHandle, SubmitError<Vec<Request>>> {
        let requests = self.check_batch(requests)?;
        if requests.is_empty() {
            return Ok(self.begin_batch(requests, on_error, mirror, 0));
        }
        let mut place = Place::new(&self.inner);
        if !(&mut place).await {
            return Err(SubmitError::Closed(requests));
        }
        let ticket = place.used();
        Ok(self.begin_batch(requests, on_error, mirror, ticket))
    }

    /// Submits many requests that complete together, if there is a place for the first and nobody
    /// waits for one.
    ///
    /// # Errors
    ///
    /// Gives the requests back when there is no place, and as [`submit_batch`](Self::submit_batch).
    pub fn try_submit_batch(
        &self,
        requests: Vec<Request>,
        on_error: OnError,
    ) -> Result<BatchHandle, SubmitError<Vec<Request>>> {
        let requests = self.check_batch(requests)?;
        let taken = self.inner.with(|state, _| match state.is_open() {
            true => Some(requests.is_empty() || state.line_mut().try_take()),
            false => None,
        });
        match taken {
            Some(true) => Ok(self.begin_batch(requests, on_error, None, 0)),
            Some(false) => Err(SubmitError::Full(requests)),
            None => Err(SubmitError::Closed(requests)),
        }
    }

    fn check_batch(
        &self,
        requests: Vec<Request>,
    ) -> Result<Vec<Request>, SubmitError<Vec<Request>>> {
        let own = |request: &Request| request.blob.entry.queue == self.inner.id;
        if u32::try_from(requests.len()).is_err() {
            return Err(SubmitError::TooMany(requests));
        }
        if !requests.iter().all(own) {
            return Err(SubmitError::ForeignBlob(requests));
        }
        Ok(requests)
    }

    /// Submits a batch, for the first request of which there is a place; the rest waits in the
    /// line where the first has waited.
    fn begin_batch(
        &self,
        requests: Vec<Request>,
        on_error: OnError,
        mirror: Option<Arc<Mirror>>,
        ticket: Ticket,
    ) -> BatchHandle {
        let bytes = requests.iter().map(|request| request.options.len as u64);
        let bytes = bytes.fold(0, u64::saturating_add);
        let batch = BatchState::new(requests.len(), bytes, on_error, mirror);
        self.inner.with_time(|state, _| {
            let mut requests = (0..).zip(requests);
            if let Some((index, request)) = requests.next() {
                state.take_in_of_batch(&batch, index, request);
            }
            while state.line_mut().is_empty() && state.line_mut().is_free() {
                let Some((index, request)) = requests.next() else {
                    return;
                };
                state.line_mut().take_as_first();
                state.take_in_of_batch(&batch, index, request);
            }
            let rest = Rest {
                batch: Rc::clone(&batch),
                requests: requests.collect(),
            };
            if !rest.requests.is_empty() {
                state.wait_for_places(ticket, Waiting::Batch(Box::new(rest)));
            }
        });
        BatchHandle::new(Rc::clone(&self.inner), batch)
    }

    /// Cancels every request whose tag has the bits of `value` where `mask` has ones, those of
    /// batches that wait for a place included, and says how many they were; each as
    /// [`RequestHandle::cancel`] does.
    pub fn cancel_tagged(&self, mask: u64, value: u64) -> usize {
        self.inner
            .with_time(|state, out| state.cancel_tagged(mask, value, out))
    }

    /// Gives the counters.
    #[must_use]
    pub fn stats(&self) -> QueueStats {
        self.inner.look(super::engine::State::stats)
    }

    /// Counts the requests of a filter that the queue holds, by looking at all of them.
    #[must_use]
    pub fn census(&self, filter: &Filter) -> Census {
        self.inner.with_time(|state, _| state.census(filter))
    }

    /// Counts the requests of a filter that end from now on, until the watch is dropped.
    ///
    /// While there is none, requests are not looked at for it.
    pub fn watch(&self, filter: Filter) -> Watch {
        self.inner
            .with(|state, _| state.counters_mut().watch(filter))
    }

    /// Makes a handle for other threads and executors.
    #[must_use]
    pub fn remote(&self) -> RemoteQueue {
        RemoteQueue::serve(self)
    }

    /// Takes no more requests, ends those that are queued, and waits until those in flight are
    /// done.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops the waiting and nothing else.
    pub async fn shutdown(&self) {
        self.close();
        self.inner.quiet().await;
    }

    /// Takes no more requests and ends those that are queued: [`shutdown`](Self::shutdown)
    /// without the waiting.
    pub fn close(&self) {
        self.inner.with_time(super::engine::State::shut_down);
    }

    pub(super) fn inner(&self) -> &Rc<Inner> {
        &self.inner
    }
}

impl Clone for BlobQueue {
    fn clone(&self) -> Self {
        Self::of(Rc::clone(&self.inner))
    }
}

impl Drop for BlobQueue {
    fn drop(&mut self) {
        self.inner.with(|state, _| state.remove_handle());
    }
}

impl fmt::Debug for BlobQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlobQueue")
            .field("id", &self.inner.id)
            .finish_non_exhaustive()
    }
}

pub(super) fn next_id() -> u64 {
    NEXT_ID.fetch_add(1, Ordering::Relaxed)
}

/// Waits for a place: a future that says whether there is one, or the queue is closed.
struct Place<'a> {
    inner: &'a Inner,
    ticket: Option<Ticket>,
    /// There is a place, and it is not yet used.
    taken: bool,
}

impl<'a> Place<'a> {
    fn new(inner: &'a Inner) -> Self {
        Self {
            inner,
            ticket: None,
            taken: false,
        }
    }

    /// The place is used; gives the ticket with which it was waited for, or 0.
    fn used(mut self) -> Ticket {
        self.taken = false;
        self.ticket.take().unwrap_or(0)
    }
}

impl Future for Place<'_> {
    type Output = bool;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<bool> {
        let this = &mut *self;
        let waker = cx.waker().clone();
        let ticket = &mut this.ticket;
        let polled = this
            .inner
            .with(|state, out| state.poll_place(ticket, waker, out));
        this.taken = polled == Poll::Ready(true);
        polled
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let (ticket, taken) = (self.ticket.take(), self.taken);
        if ticket.is_some() || taken {
            self.inner
                .with(|state, out| state.give_up_place(ticket, out));
        }
    }
}
