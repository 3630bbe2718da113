//! The threads and their queue.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::handle::BlockingHandle;
use crate::guard::{guarded, guarded_each};
use crate::sync::lock::Lock;
use crate::sync::permits::{HasPermits, Permits, wake_granted, wake_in_parts};
use crate::sys::affinity;

pub(crate) type Job = Box<dyn FnOnce() + Send>;

/// The bounds of a pool.
#[derive(Debug, Clone)]
pub(crate) struct BlockingLimits {
    /// Threads at most; at least one.
    pub(crate) threads_max: usize,
    /// Jobs that wait for a thread at most; at least one.
    pub(crate) queue_max: usize,
    /// How long a thread waits for work before it leaves.
    pub(crate) idle_max: Duration,
    /// The cores the threads may use: those no worker is pinned to, or all when there are none.
    /// Empty leaves a thread with the mask of whoever started it, a pinned worker perhaps.
    pub(crate) cores: Vec<usize>,
}

/// A bounded pool; dropping it drops the queued jobs and lets the threads leave after their
/// current ones.
pub(crate) struct BlockingPool {
    shared: Arc<Shared>,
}

/// Why a job was not taken; it comes back.
pub(crate) enum SubmitError {
    /// The queue is full, or handles wait for a place.
    Full(Job),
    /// The pool has been shut down.
    Closed(Job),
    /// The pool has no thread and could not start one.
    NoThread(Job, io::Error),
}

pub(super) struct Shared {
    pub(super) state: Mutex<State>,
    /// Signalled once per queued job, and for all at shutdown.
    work: Condvar,
    /// Signalled when the last thread leaves.
    left: Condvar,
    limits: BlockingLimits,
}

pub(super) struct State {
    queue: VecDeque<Job>,
    /// Free places of the queue that are promised to nobody.
    pub(super) places: Permits,
    /// Threads alive or about to start. Counted up by `enqueue`, down by the thread itself.
    thread_count: usize,
    /// Threads that wait for `work`, those already signalled included.
    idle_count: usize,
    pub(super) closed: bool,
}

impl HasPermits for State {
    fn permits(&mut self) -> &mut Permits {
        &mut self.places
    }
}

impl BlockingPool {
    /// Makes a pool without threads; limits of zero count as one.
    pub(crate) fn new(limits: BlockingLimits) -> Self {
        let limits = BlockingLimits {
            threads_max: limits.threads_max.max(1),
            queue_max: limits.queue_max.max(1),
            ..limits
        };
        let state = State {
            queue: VecDeque::with_capacity(limits.queue_max),
            places: Permits::new(limits.queue_max),
            thread_count: 0,
            idle_count: 0,
            closed: false,
        };
        let (work, left) = (Condvar::new(), Condvar::new());
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(state),
                work,
                left,
                limits,
            }),
        }
    }

    /// Runs `work` on a thread of the pool; the handle gives its result.
    ///
    /// When the queue is full, the job starts its way when the handle is polled.
    pub(crate) fn spawn<T, F>(&self, work: F) -> BlockingHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        BlockingHandle::new(&self.shared, work)
    }

    /// Queues a job.
    ///
    /// # Errors
    ///
    /// Gives the job back when it cannot be taken now, or at all.
    #[cfg(test)]
    pub(crate) fn submit(&self, job: Job) -> Result<(), SubmitError> {
        self.shared.submit(job)
    }

    /// Refuses new jobs, drops the queued ones and waits for the threads until `deadline`.
    ///
    /// Returns how many threads are still in a job. They are detached and leave after it.
    pub(crate) fn shutdown(&self, deadline: Instant) -> usize {
        self.shared.close();
        let mut state = self.shared.lock();
        while state.thread_count > 0 {
            let wait = deadline.saturating_duration_since(Instant::now());
            if wait.is_zero() {
                break;
            }
            let waited = self.shared.left.wait_timeout(state, wait);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.thread_count
    }

    /// Returns how many threads the pool has.
    pub(crate) fn thread_count(&self) -> usize {
        self.shared.lock().thread_count
    }
}

impl Drop for BlockingPool {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl Shared {
    pub(super) fn submit(self: &Arc<Self>, job: Job) -> Result<(), SubmitError> {
        let start = self.state.with(|state| {
            if state.closed {
                Err(SubmitError::Closed(job))
            } else if state.places.try_acquire(1) {
                Ok(state.enqueue(job, self.limits.threads_max))
            } else {
                Err(SubmitError::Full(job))
            }
        })?;
        self.enqueued(start)
    }

    pub(super) fn threads_max(&self) -> usize {
        self.limits.threads_max
    }

    /// Sees to it that a thread comes for a job just queued.
    ///
    /// # Errors
    ///
    /// Gives a queued job back, and drops the others, when there is no thread and none can be
    /// started.
    pub(super) fn enqueued(self: &Arc<Self>, start: bool) -> Result<(), SubmitError> {
        self.work.notify_one();
        if !start {
            return Ok(());
        }
        let shared = Arc::clone(self);
        let builder = std::thread::Builder::new().name("corelane-blocking".to_owned());
        let Err(error) = builder.spawn(move || shared.thread()) else {
            return Ok(());
        };
        let mut stranded = self.state.with(|state| {
            state.thread_count -= 1;
            // With a thread left, the jobs only wait longer. Without one, nobody comes for those
            // that others queued meanwhile either.
            let stranded = match state.thread_count {
                0 => std::mem::take(&mut state.queue),
                _ => VecDeque::new(),
            };
            state.places.put(stranded.len());
            stranded
        });
        self.left.notify_all();
        wake_granted(&self.state);
        let job = stranded.pop_back();
        guarded_each(stranded.into_iter(), drop);
        match job {
            Some(job) => Err(SubmitError::NoThread(job, error)),
            None => Ok(()),
        }
    }

    /// The life of one thread.
    fn thread(&self) {
        if !self.limits.cores.is_empty() {
            // Refused when a cpuset has changed since: the work still runs, on shared cores.
            let _ = affinity::restrict_thread(&self.limits.cores);
        }
        // A job that becomes ready does not take the core from a worker in the middle of its turn.
        let _ = affinity::batch_thread();
        while let Some(job) = self.next_job() {
            wake_granted(&self.state);
            // A handle's job catches its own panic; this is for what its leftovers throw.
            guarded(job);
        }
    }

    /// Waits for a job; `None`, with the thread counted off, when it is time to leave.
    fn next_job(&self) -> Option<Job> {
        let mut state = self.lock();
        let mut expired = false;
        loop {
            if let Some(job) = state.queue.pop_front() {
                state.places.put(1);
                return Some(job);
            }
            if state.closed || expired {
                state.thread_count -= 1;
                if state.thread_count == 0 {
                    self.left.notify_all();
                }
                return None;
            }
            state.idle_count += 1;
            let waited = self.work.wait_timeout(state, self.limits.idle_max);
            let (guard, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            state = guard;
            state.idle_count -= 1;
            expired = timeout.timed_out();
        }
    }

    fn close(&self) {
        let queued = self.state.with(|state| {
            state.closed = true;
            std::mem::take(&mut state.queue)
        });
        self.work.notify_all();
        wake_in_parts(&self.state, |state: &mut State, wakes| {
            state.places.release_all(wakes)
        });
        guarded_each(queued.into_iter(), drop);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Queues a job that has a place; returns whether a thread is to be started for it, which is
    /// then counted already.
    pub(super) fn enqueue(&mut self, job: Job, threads_max: usize) -> bool {
        self.queue.push_back(job);
        // Every queued job has an idle thread on its way, or starts one.
        let start = self.queue.len() > self.idle_count && self.thread_count < threads_max;
        self.thread_count += usize::from(start);
        start
    }
}

impl fmt::Debug for BlockingPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockingPool")
            .field("threads", &self.thread_count())
            .field("limits", &self.shared.limits)
            .finish()
    }
}

impl fmt::Debug for SubmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(_) => f.write_str("Full(..)"),
            Self::Closed(_) => f.write_str("Closed(..)"),
            Self::NoThread(_, error) => f.debug_tuple("NoThread").field(error).finish(),
        }
    }
}
