//! A job of the pool, as the future of its result.

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use super::pool::{Entry, Run, Shared, lock, wake};
use crate::guard::{discard, guarded};
use crate::queue::Class;

/// The future of a job that a [`DecodePool`](super::DecodePool) does.
///
/// # Cancel safety
///
/// Dropping it takes the job out of the queue; a job that has been begun is finished, and its
/// result dropped.
#[must_use = "dropping it takes the job out of the queue"]
pub struct Running<T> {
    shared: Arc<Shared>,
    class: Class,
    stage: Stage<T>,
    #[cfg(feature = "executor")]
    helper: super::helper::Helper,
}

/// Why a job has no result.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum JobError {
    /// The job panicked; the text is the panic's message.
    Panicked(Box<str>),
    /// The pool was shut down before the job was begun.
    Closed,
}

enum Stage<T> {
    /// The job has a number and waits for a place in the queue.
    Waits { number: u64, work: Work<T> },
    /// The job is queued, is being done or is done.
    Queued { number: u64, slot: Arc<Slot<T>> },
    /// The result has been given, or there never will be one.
    Over,
}

type Work<T> = Box<dyn FnOnce() -> T + Send>;

/// Where the thread that does the job and its future meet.
struct Slot<T> {
    state: Mutex<SlotState<T>>,
}

struct SlotState<T> {
    /// Taken by whoever does the job.
    work: Option<Work<T>>,
    /// Put by whoever did it, taken by the future.
    result: Option<Result<T, JobError>>,
    /// Put by the future, taken by whoever did the job.
    waker: Option<Waker>,
}

impl<T: Send + 'static> Running<T> {
    pub(super) fn new(shared: Arc<Shared>, class: Class, work: Work<T>) -> Self {
        let stage = match shared.enter(class) {
            Entry::Queued(number) => Self::queue(&shared, class, number, work),
            Entry::Waits(number) => Stage::Waits { number, work },
            Entry::Closed => Stage::Over,
        };
        Self {
            shared,
            class,
            stage,
            #[cfg(feature = "executor")]
            helper: super::helper::Helper::default(),
        }
    }

    /// Waits for the result, blocking the thread; meanwhile the thread does jobs of the pool.
    ///
    /// # Errors
    ///
    /// When the job panicked or the pool was shut down.
    pub fn wait(self) -> Result<T, JobError> {
        let shared = Arc::clone(&self.shared);
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut cx = Context::from_waker(&waker);
        let mut this = self;
        loop {
            if let Poll::Ready(result) = Pin::new(&mut this).poll(&mut cx) {
                return result;
            }
            if !shared.help() {
                thread::park();
            }
        }
    }

    fn queue(shared: &Shared, class: Class, number: u64, work: Work<T>) -> Stage<T> {
        let slot = Arc::new(Slot {
            state: Mutex::new(SlotState {
                work: Some(work),
                result: None,
                waker: None,
            }),
        });
        shared.queue(class, number, Arc::clone(&slot) as Arc<dyn Run>);
        Stage::Queued { number, slot }
    }
}

impl<T: Send + 'static> Future for Running<T> {
    type Output = Result<T, JobError>;

    #[cfg(feature = "executor")]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        loop {
            let polled = this.poll_result(cx);
            // On a worker that would otherwise idle, who waits for a job may do one.
            if polled.is_ready() || !this.helper.poll(&this.shared, cx) {
                return polled;
            }
        }
    }

    #[cfg(not(feature = "executor"))]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.get_mut().poll_result(cx)
    }
}

impl<T: Send + 'static> Running<T> {
    fn poll_result(&mut self, cx: &mut Context<'_>) -> Poll<Result<T, JobError>> {
        let this = self;
        if let Stage::Waits { number, .. } = this.stage {
            if !this.shared.admitted(this.class, number, cx.waker()) {
                return Poll::Pending;
            }
            if let Stage::Waits { work, .. } = std::mem::replace(&mut this.stage, Stage::Over) {
                this.stage = Self::queue(&this.shared, this.class, number, work);
            }
        }
        let Stage::Queued { slot, .. } = &this.stage else {
            return Poll::Ready(Err(JobError::Closed));
        };
        match slot.poll_result(cx.waker()) {
            Some(result) => {
                this.stage = Stage::Over;
                Poll::Ready(result)
            }
            None => Poll::Pending,
        }
    }
}

// The closure and the result are never pinned.
impl<T> Unpin for Running<T> {}

impl<T> Drop for Running<T> {
    fn drop(&mut self) {
        match &self.stage {
            Stage::Waits { number, .. } => self.shared.leave(self.class, *number),
            Stage::Queued { number, .. } => self.shared.withdraw(self.class, *number),
            Stage::Over => {}
        }
    }
}

impl<T: Send + 'static> Run for Slot<T> {
    fn run(&self) {
        let work = lock(&self.state).work.take();
        let Some(work) = work else { return };
        let result = catch_unwind(AssertUnwindSafe(work));
        self.put(result.map_err(|panic| {
            let text = message(&*panic);
            discard(panic);
            JobError::Panicked(text)
        }));
    }

    fn give_up(&self) {
        let work = lock(&self.state).work.take();
        self.put(Err(JobError::Closed));
        guarded(|| drop(work));
    }
}

impl<T> Slot<T> {
    /// Takes the result, or leaves `waker` to be woken for it. Wakers are code of others, cloned
    /// and dropped outside of the lock.
    fn poll_result(&self, waker: &Waker) -> Option<Result<T, JobError>> {
        let mut spare = None;
        loop {
            let mut state = lock(&self.state);
            if state.result.is_some() {
                return state.result.take();
            }
            let known = state.waker.as_ref();
            if known.is_some_and(|known| known.will_wake(waker)) {
                return None;
            }
            if spare.is_some() {
                std::mem::swap(&mut state.waker, &mut spare);
                return None;
            }
            drop(state);
            spare = Some(waker.clone());
        }
    }

    fn put(&self, result: Result<T, JobError>) {
        let mut state = lock(&self.state);
        state.result = Some(result);
        let waker = state.waker.take();
        drop(state);
        wake(waker);
    }
}

fn message(panic: &(dyn Any + Send)) -> Box<str> {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without a message").into()
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked(what) => write!(f, "job panicked: {what}"),
            Self::Closed => f.write_str("pool was shut down"),
        }
    }
}

impl Error for JobError {}

impl From<JobError> for io::Error {
    fn from(e: JobError) -> Self {
        Self::other(e)
    }
}

impl<T> fmt::Debug for Running<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match self.stage {
            Stage::Waits { .. } => "waits to queue",
            Stage::Queued { .. } => "queued",
            Stage::Over => "over",
        };
        f.debug_struct("Running")
            .field("class", &self.class)
            .field("stage", &stage)
            .finish_non_exhaustive()
    }
}
