//! The queue for other threads and executors.
//!
//! Requests go to the queue's worker through a bounded channel, where one task submits them in
//! order. What must not wait behind them (cancelling, counters, blobs that are let go) goes into a
//! list of orders, which another task carries out. Results come back by one-shot channels.

mod handles;
mod home;
mod orders;

use std::fmt;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use super::QueueStats;
use super::batch::{BatchDone, Mirror, OnError, Progress};
use super::error::{ReadError, SubmitError};
use super::front::BlobQueue;
use super::handle::Finished;
use super::request::RemoteRequest;
use crate::async_reader::NativeFileAsyncBlobRandomReader;
use crate::async_reader::runtime::{channel, oneshot};
use crate::traits::RandomReadBlobAsync;
use home::Home;
use orders::{Handle, Order, Orders};

pub use handles::{RemoteBatch, RemoteHandle};

/// The requests and batches that may be on their way to the worker; more wait with their future.
const MESSAGES_MAX: usize = 256;

/// A handle to a queue: `Send`, `Sync`, cheap to clone, usable under any executor.
///
/// The reads happen on the queue's worker. When that ends, whatever is awaited here fails with
/// [`ReadError::WorkerGone`] or [`SubmitError::Closed`]; nothing hangs.
#[derive(Clone)]
pub struct RemoteQueue {
    link: Arc<Link>,
}

/// A registered blob, as other threads know it; see [`QueuedBlob`](super::QueuedBlob).
#[derive(Clone)]
pub struct RemoteQueuedBlob {
    ticket: Arc<BlobTicket>,
}

/// Keeps a blob registered.
struct BlobTicket {
    id: u64,
    orders: Arc<Orders>,
}

/// The way to the worker.
struct Link {
    messages: channel::Sender<Message>,
    orders: Arc<Orders>,
    alive: Arc<Alive>,
}

/// Kept by whoever may still give orders; they are closed with the last.
struct Alive {
    orders: Arc<Orders>,
}

/// What is submitted, in order.
enum Message {
    One(RemoteRequest, oneshot::Sender<Finished>, Arc<Handle>),
    Batch(Box<RemoteBatchRequest>),
    Register(Register),
}

type Register = Box<dyn FnOnce(Home) -> Pin<Box<dyn Future<Output = ()>>> + Send>;

struct RemoteBatchRequest {
    requests: Vec<RemoteRequest>,
    on_error: OnError,
    mirror: Arc<Mirror>,
    reply: oneshot::Sender<BatchDone>,
    handle: Arc<Handle>,
}

impl RemoteQueue {
    /// Starts to serve other threads, on the queue's worker.
    pub(super) fn serve(queue: &BlobQueue) -> Self {
        let (messages, receiver) = channel::bounded(MESSAGES_MAX);
        let orders = Arc::new(Orders::default());
        Home::start(queue, &orders, receiver);
        let alive = Arc::new(Alive {
            orders: Arc::clone(&orders),
        });
        let link = Link {
            messages,
            orders,
            alive,
        };
        Self {
            link: Arc::new(link),
        }
    }

    /// Registers a blob that `make` makes on the queue's worker.
    ///
    /// # Errors
    ///
    /// Those of `make`; `BrokenPipe` when the worker has ended.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future lets go of the blob.
    pub async fn register<M, F, B>(&self, make: M) -> io::Result<RemoteQueuedBlob>
    where
        M: FnOnce() -> F + Send + 'static,
        F: Future<Output = io::Result<B>> + 'static,
        B: RandomReadBlobAsync + 'static,
    {
        let (reply, result) = oneshot::channel();
        let register: Register = Box::new(move |home: Home| {
            Box::pin(async move {
                let made = make()
                    .await
                    .map(|blob| home.adopt(&home.queue().register(blob)));
                // Who is gone gets no reply.
                drop(reply.send(made));
            })
        });
        let message = Message::Register(register);
        let sent = self.link.messages.send(message).await;
        sent.map_err(|_| io::Error::from(ReadError::WorkerGone))?;
        result.await.map_err(|_| ReadError::WorkerGone)?
    }

    /// Opens the file at `path` on the queue's worker and registers it.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened for reading; `BrokenPipe` when the worker has ended.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the file.
    pub async fn open(&self, path: impl Into<PathBuf>) -> io::Result<RemoteQueuedBlob> {
        let path = path.into();
        self.register(move || NativeFileAsyncBlobRandomReader::open(path))
            .await
    }

    /// Submits a request, once there is room on the way to the worker; there it waits for its
    /// place as others do.
    ///
    /// # Errors
    ///
    /// Gives the request back when the worker has ended, or the blob is another queue's. A queue
    /// that was shut down fails the request itself.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future submits nothing and drops the request.
    pub async fn submit(
        &self,
        request: RemoteRequest,
    ) -> Result<RemoteHandle, SubmitError<RemoteRequest>> {
        if !self.owns(&request) {
            return Err(SubmitError::ForeignBlob(request));
        }
        let (reply, result) = oneshot::channel();
        let handle = Handle::new(&self.link.orders);
        let message = Message::One(request, reply, Arc::clone(&handle));
        match self.link.messages.send(message).await {
            Ok(()) => Ok(RemoteHandle::new(result, handle, &self.link.alive)),
            Err(error) => match error.0 {
                Message::One(request, ..) => Err(SubmitError::Closed(request)),
                _ => unreachable!("what was sent comes back"),
            },
        }
    }

    /// Submits a request and awaits it.
    ///
    /// # Panics
    ///
    /// Panics when the blob is another queue's.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the request.
    pub async fn read(&self, request: RemoteRequest) -> Finished {
        match self.submit(request).await {
            Ok(handle) => handle.await,
            Err(SubmitError::ForeignBlob(_)) => {
                panic!("the blob of the request is registered with another queue")
            }
            Err(error) => {
                let destination = error.into_inner().into_destination();
                Finished::failed(ReadError::WorkerGone, destination)
            }
        }
    }

    /// Submits many requests that complete together; as
    /// [`BlobQueue::submit_batch`](super::BlobQueue::submit_batch).
    ///
    /// # Errors
    ///
    /// Gives the requests back when the worker has ended, a blob is another queue's, or there are
    /// more than 2^32 - 1.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future submits nothing and drops the requests.
    pub async fn submit_batch(
        &self,
        requests: Vec<RemoteRequest>,
        on_error: OnError,
    ) -> Result<RemoteBatch, SubmitError<Vec<RemoteRequest>>> {
        if u32::try_from(requests.len()).is_err() {
            return Err(SubmitError::TooMany(requests));
        }
        if !requests.iter().all(|request| self.owns(request)) {
            return Err(SubmitError::ForeignBlob(requests));
        }
        let bytes = requests.iter().map(|request| request.options.len as u64);
        let whole = Progress {
            requests: requests.len(),
            bytes: bytes.fold(0, u64::saturating_add),
            ..Progress::default()
        };
        let (reply, result) = oneshot::channel();
        let mirror = Arc::new(Mirror::default());
        let handle = Handle::new(&self.link.orders);
        let message = Message::Batch(Box::new(RemoteBatchRequest {
            requests,
            on_error,
            mirror: Arc::clone(&mirror),
            reply,
            handle: Arc::clone(&handle),
        }));
        match self.link.messages.send(message).await {
            Ok(()) => {
                let handle = RemoteHandle::new(result, handle, &self.link.alive);
                Ok(RemoteBatch::new(handle, mirror, whole))
            }
            Err(error) => match error.0 {
                Message::Batch(batch) => Err(SubmitError::Closed(batch.requests)),
                _ => unreachable!("what was sent comes back"),
            },
        }
    }

    /// Cancels every request with such a tag, whoever submitted it, and says how many they were;
    /// as [`BlobQueue::cancel_tagged`](super::BlobQueue::cancel_tagged). It goes ahead of requests
    /// that are on their way, which are not cancelled.
    ///
    /// # Errors
    ///
    /// [`ReadError::WorkerGone`] when the worker has ended.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the requests all the same.
    pub async fn cancel_tagged(&self, mask: u64, value: u64) -> Result<usize, ReadError> {
        let (reply, result) = oneshot::channel();
        self.link.orders.give(Order::Cancel(mask, value, reply));
        result.await.map_err(|_| ReadError::WorkerGone)
    }

    /// Gives the counters of the queue.
    ///
    /// # Errors
    ///
    /// [`ReadError::WorkerGone`] when the worker has ended.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn stats(&self) -> Result<Box<QueueStats>, ReadError> {
        let (reply, result) = oneshot::channel();
        self.link.orders.give(Order::Count(reply));
        result.await.map_err(|_| ReadError::WorkerGone)
    }

    fn owns(&self, request: &RemoteRequest) -> bool {
        Arc::ptr_eq(&request.blob.ticket.orders, &self.link.orders)
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.orders.close();
    }
}

impl Drop for BlobTicket {
    fn drop(&mut self) {
        self.orders.give(Order::Sweep);
    }
}

impl fmt::Debug for RemoteQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteQueue").finish_non_exhaustive()
    }
}

impl fmt::Debug for RemoteQueuedBlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteQueuedBlob")
            .field("id", &self.ticket.id)
            .finish_non_exhaustive()
    }
}
