//! The future of a blocking job's result.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::pool::{Job, Shared, State, SubmitError};
use crate::guard::guarded;
use crate::sync::oneshot;
use crate::sync::permits::{Look, abandon, poll_look};

/// Waits for the result of blocking work: a future of `Result<T, BlockingError>`.
///
/// Works on any executor and thread. When the pool's queue is full, the work takes its place there
/// as the handle is polled; a handle that was polled then, and is neither polled again nor dropped,
/// holds up one place.
///
/// # Cancel safety
///
/// Polling it by reference and giving up loses nothing. Dropping it before the work has started
/// cancels the work; after that, it detaches: the work goes on and its result is dropped.
#[must_use = "dropping it cancels work that has not started"]
pub struct BlockingHandle<T> {
    result: oneshot::Receiver<Result<T, Box<dyn Any + Send>>>,
    /// The job, while it waits for a place in the queue.
    waiting: Option<Waiting>,
    /// Why the job never got to a thread.
    refused: Option<io::Error>,
}

/// Why blocking work has no result.
pub enum BlockingError {
    /// It panicked, with this payload.
    Panicked(Box<dyn Any + Send>),
    /// The pool was shut down, or lost its threads, before the work started.
    PoolGone,
    /// The pool has no thread and the system refused to start one.
    NoThread(io::Error),
}

impl From<BlockingError> for io::Error {
    /// Keeps a refused thread's error, and says the rest in words: a panic's payload need not be
    /// `Sync`, as an `io::Error` is.
    fn from(error: BlockingError) -> Self {
        match error {
            BlockingError::NoThread(error) => error,
            other => Self::other(other.to_string()),
        }
    }
}

struct Waiting {
    job: Option<Job>,
    pool: Arc<Shared>,
    /// The entry among those who wait for a place, from the first `Pending` on.
    key: Option<usize>,
}

impl<T: Send + 'static> BlockingHandle<T> {
    pub(super) fn new(pool: &Arc<Shared>, work: impl FnOnce() -> T + Send + 'static) -> Self {
        let (sender, result) = oneshot::channel();
        let job = Box::new(move || {
            if sender.is_closed() {
                return;
            }
            // A closure that panicked is gone, and so is whatever it left half-done.
            let result = catch_unwind(AssertUnwindSafe(work));
            // Nobody waits for it any more when this fails.
            drop(sender.send(result));
        });
        let mut handle = Self {
            result,
            waiting: None,
            refused: None,
        };
        match pool.submit(job) {
            Ok(()) => {}
            Err(SubmitError::Full(job)) => {
                handle.waiting = Some(Waiting {
                    job: Some(job),
                    pool: Arc::clone(pool),
                    key: None,
                });
            }
            // Dropping the job drops the sender, which ends the wait.
            Err(SubmitError::Closed(job)) => drop(job),
            Err(SubmitError::NoThread(job, error)) => {
                drop(job);
                handle.refused = Some(error);
            }
        }
        handle
    }
}

impl<T> BlockingHandle<T> {
    /// Says whether the work has ended: the next poll is ready.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.result.is_finished()
    }
}

impl<T> Future for BlockingHandle<T> {
    type Output = Result<T, BlockingError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(waiting) = &mut self.waiting {
            match waiting.poll(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(refused) => {
                    self.waiting = None;
                    self.refused = refused;
                }
            }
        }
        let result = Pin::new(&mut self.result).poll(context);
        result.map(|result| match result {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(panic)) => Err(BlockingError::Panicked(panic)),
            Err(_) => Err(self
                .refused
                .take()
                .map_or(BlockingError::PoolGone, |error| {
                    BlockingError::NoThread(error)
                })),
        })
    }
}

impl Waiting {
    /// Ready when the job has been queued or dropped, with the reason if no thread could start.
    fn poll(&mut self, context: &Context<'_>) -> Poll<Option<io::Error>> {
        let (job, key) = (&mut self.job, &mut self.key);
        let threads_max = self.pool.threads_max();
        let polled = poll_look(
            &self.pool.state,
            context,
            |state: &mut State, waker, spare| {
                if state.closed {
                    return (Look::Ready, None);
                }
                let look = state.places.look(key, 1, waker, spare);
                let start = match look {
                    Look::Ready => job.take().map(|job| state.enqueue(job, threads_max)),
                    Look::Pending | Look::NeedWaker => None,
                };
                (look, start)
            },
        );
        let Poll::Ready(start) = polled else {
            return Poll::Pending;
        };
        let job = self.job.take();
        guarded(|| drop(job));
        match start.map(|start| self.pool.enqueued(start)) {
            Some(Err(SubmitError::NoThread(job, error))) => {
                guarded(|| drop(job));
                Poll::Ready(Some(error))
            }
            _ => Poll::Ready(None),
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            abandon(&self.pool.state, key, 1);
        }
    }
}

impl<T> fmt::Debug for BlockingHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockingHandle")
            .field("queued", &self.waiting.is_none())
            .field("finished", &self.is_finished())
            .finish()
    }
}

impl fmt::Debug for BlockingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked(_) => f.write_str("Panicked(..)"),
            Self::PoolGone => f.write_str("PoolGone"),
            Self::NoThread(error) => f.debug_tuple("NoThread").field(error).finish(),
        }
    }
}

impl fmt::Display for BlockingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked(payload) => {
                let text = payload.downcast_ref::<&str>().copied();
                let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
                match text {
                    Some(text) => write!(f, "the blocking work panicked: {text}"),
                    None => f.write_str("the blocking work panicked"),
                }
            }
            Self::PoolGone => {
                f.write_str("the blocking pool was shut down before the work started")
            }
            Self::NoThread(error) => write!(f, "no thread for blocking work: {error}"),
        }
    }
}

impl std::error::Error for BlockingError {}
