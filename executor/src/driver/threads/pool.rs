//! The threads for what may block, and the two lists between them and their worker.
//!
//! A pool belongs to one worker: a file system that never answers one worker's calls holds up no
//! other. Threads are made when they are needed and leave when they are not.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use polling::Poller;

use super::work::Work;
use crate::op::slab::OpKey;
use crate::sys::affinity;

/// How long a thread waits for work before it leaves.
const IDLE_MAX: Duration = Duration::from_secs(10);

/// An operation that may block.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) key: OpKey,
    pub(super) work: Work,
}

/// An operation that a thread has finished.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) job: Job,
    pub(super) result: i32,
}

/// The threads of one worker; when dropped, they leave after their current calls.
#[derive(Debug)]
pub(super) struct Pool {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Signalled once per job, and for all at the end.
    work: Condvar,
    /// Something is in `State::finished`: read by the worker without the lock.
    news: AtomicBool,
    threads_max: usize,
}

#[derive(Debug)]
struct State {
    jobs: VecDeque<Job>,
    finished: Vec<Finished>,
    /// Ends the worker's wait. Gone, and its descriptors with it, when the pool is dropped, however
    /// long a thread is in a call.
    poller: Option<Arc<Poller>>,
    /// The worker waits, or somebody waits for it: the next finished operation notifies.
    awaited: bool,
    /// Threads alive or about to start. Counted up by `submit`, down by the thread itself.
    thread_count: usize,
    /// Threads that are not in a call: they wait for `work`, or are about to look for it.
    idle_count: usize,
    /// Where threads may run; empty leaves them where their worker runs.
    cores: Vec<usize>,
    closed: bool,
}

impl Pool {
    /// Makes a pool without threads.
    pub(super) fn new(threads_max: usize, cores: Vec<usize>, poller: Arc<Poller>) -> Self {
        let state = State {
            jobs: VecDeque::new(),
            finished: Vec::new(),
            poller: Some(poller),
            awaited: false,
            thread_count: 0,
            idle_count: 0,
            cores,
            closed: false,
        };
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(state),
                work: Condvar::new(),
                news: AtomicBool::new(false),
                threads_max,
            }),
        }
    }

    /// Sets where threads that start from now on may run.
    pub(super) fn place(&self, cores: &[usize]) {
        self.shared.lock().cores = cores.to_vec();
    }

    /// Queues an operation. The queue is bounded by the credits of the worker's operations.
    ///
    /// # Errors
    ///
    /// Gives a job back when there is no thread and none can be started.
    pub(super) fn submit(&self, job: Job) -> Result<(), (Job, io::Error)> {
        let start = {
            let mut state = self.shared.lock();
            state.jobs.push_back(job);
            // Every queued job has an idle thread on its way, or starts one.
            let start =
                state.jobs.len() > state.idle_count && state.thread_count < self.shared.threads_max;
            state.thread_count += usize::from(start);
            state.idle_count += usize::from(start);
            start
        };
        self.shared.work.notify_one();
        if start { self.start_thread() } else { Ok(()) }
    }

    fn start_thread(&self) -> Result<(), (Job, io::Error)> {
        let shared = Arc::clone(&self.shared);
        let builder = std::thread::Builder::new().name("corelane-files".to_owned());
        let Err(error) = builder.spawn(move || shared.thread()) else {
            return Ok(());
        };
        let mut state = self.shared.lock();
        state.thread_count -= 1;
        state.idle_count -= 1;
        if state.thread_count > 0 {
            // The job only waits longer.
            return Ok(());
        }
        // Each job was refused in its turn: only the newest can be left.
        match state.jobs.pop_back() {
            Some(job) => Err((job, error)),
            None => Ok(()),
        }
    }

    /// Takes an operation back that no thread has begun.
    pub(super) fn cancel(&self, key: OpKey) -> Option<Job> {
        let mut state = self.shared.lock();
        let at = state.jobs.iter().position(|job| job.key == key)?;
        state.jobs.remove(at)
    }

    /// Says whether there is something to collect: one load.
    #[inline]
    pub(super) fn has_news(&self) -> bool {
        self.shared.news.load(Ordering::Acquire)
    }

    /// Moves what was finished into `into`.
    pub(super) fn collect(&self, into: &mut Vec<Finished>) {
        let mut state = self.shared.lock();
        self.shared.news.store(false, Ordering::Relaxed);
        into.append(&mut state.finished);
    }

    /// Ends the worker's wait, or the next.
    pub(super) fn notify(&self) {
        self.shared.lock().notify();
    }

    /// Lets the next finished operation notify the poller; false when one is there already.
    pub(super) fn await_news(&self) -> bool {
        let mut state = self.shared.lock();
        state.awaited = state.finished.is_empty();
        state.awaited
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.closed = true;
        // The memory of what is left has been leaked by the driver, for those that run as well.
        state.jobs.clear();
        let finished = std::mem::take(&mut state.finished);
        let poller = state.poller.take();
        drop(state);
        drop(poller);
        for Finished { job, result } in finished {
            // It came after the worker had looked for the last time.
            job.work.dispose(result);
        }
        self.shared.work.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The life of one thread.
    fn thread(&self) {
        // A write to a closed pipe is an error, not a signal.
        crate::sys::block_sigpipe();
        let cores = self.lock().cores.clone();
        if !cores.is_empty() {
            // Refused when a cpuset has changed since: the work still runs, on shared cores.
            let _ = affinity::restrict_thread(&cores);
        }
        // A call that becomes ready does not take the core from a worker in the middle of a turn.
        let _ = affinity::batch_thread();
        while let Some(mut job) = self.next_job() {
            let result = job.work.block();
            self.finish(Finished { job, result });
        }
    }

    /// Waits for a job; `None`, with the thread counted off, when it is time to leave.
    fn next_job(&self) -> Option<Job> {
        let mut state = self.lock();
        let mut expired = false;
        loop {
            if let Some(job) = state.jobs.pop_front() {
                state.idle_count -= 1;
                return Some(job);
            }
            if state.closed || expired {
                state.thread_count -= 1;
                state.idle_count -= 1;
                return None;
            }
            let waited = self.work.wait_timeout(state, IDLE_MAX);
            let (guard, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            state = guard;
            expired = timeout.timed_out();
        }
    }

    fn finish(&self, finished: Finished) {
        let mut state = self.lock();
        state.idle_count += 1;
        if state.closed {
            // Nobody takes it: the worker gave up waiting, and leaked the operation's memory.
            drop(state);
            finished.job.work.dispose(finished.result);
            return;
        }
        state.finished.push(finished);
        self.news.store(true, Ordering::Release);
        if std::mem::take(&mut state.awaited) {
            state.notify();
        }
    }
}

impl State {
    fn notify(&self) {
        if let Some(poller) = &self.poller {
            // It fails where the eventfd is full: then it is readable already.
            let _ = poller.notify();
        }
    }
}
