//! The pool: its threads, its queue, and who waits to queue.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::thread::{self, JoinHandle, ThreadId};

use rustix::thread::{CpuSet, sched_setaffinity};

use super::config::{PoolConfig, PoolLoad};
use super::order::next;
use super::running::Running;
use crate::guard::guarded;
use crate::queue::Class;

/// A bounded set of threads that decompress, or compute anything else, by class.
///
/// A handle: clones are the same pool. The pool ends with its last handle, or by
/// [`shutdown`](Self::shutdown): jobs that were begun are finished, the others fail with
/// [`JobError::Closed`](super::JobError::Closed).
///
/// The highest class is next; every sixteenth job is the oldest one instead, so that none
/// starves. A job that panics fails alone.
#[derive(Clone)]
pub struct DecodePool {
    owner: Arc<Owner>,
}

/// Ends the pool when the last handle is dropped.
struct Owner {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// What threads, handles and futures share.
pub(super) struct Shared {
    state: Mutex<State>,
    /// Notified when a job is queued, and when the pool closes.
    work: Condvar,
    queue_max: usize,
    threads: usize,
    #[cfg(feature = "executor")]
    spare_cores: usize,
}

#[derive(Default)]
struct State {
    /// The queue, by number of the job: put by `queue`, taken by `pop` and `withdraw`.
    ready: [BTreeMap<u64, Arc<dyn Run>>; Class::COUNT],
    /// Places in the queue that are taken, or promised to one who waited.
    places: [usize; Class::COUNT],
    /// Who waits for a place, by number; one that has gone from here was promised a place.
    waiting: [BTreeMap<u64, Option<Waker>>; Class::COUNT],
    /// The next job's number.
    number: u64,
    /// How many jobs were taken.
    turn: u64,
    running: usize,
    closed: bool,
}

/// A queued job.
pub(super) trait Run: Send + Sync {
    /// Does it, and keeps panics for whoever waits.
    fn run(&self);
    /// Gives it up: the pool closes.
    fn give_up(&self);
}

/// Whether a job has been queued.
pub(super) enum Entry {
    Queued(u64),
    Waits(u64),
    Closed,
}

impl DecodePool {
    /// Makes a pool and starts its threads.
    ///
    /// # Errors
    ///
    /// When a thread cannot be started, or none of the cores may be used.
    pub fn new(config: &PoolConfig) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            work: Condvar::new(),
            queue_max: config.queue_max.get(),
            threads: config.threads,
            #[cfg(feature = "executor")]
            spare_cores: config.spare_cores,
        });
        let pool = Self {
            owner: Arc::new(Owner {
                shared,
                threads: Mutex::default(),
            }),
        };
        let cores = cpu_set(&config.cores)?;
        for index in 0..config.threads {
            let shared = Arc::clone(&pool.owner.shared);
            let (tell, told) = std::sync::mpsc::channel();
            let thread = thread::Builder::new()
                .name(format!("decode-{index}"))
                .spawn(move || {
                    let placed = cores.map_or(Ok(()), |cores| sched_setaffinity(None, &cores));
                    let failed = placed.is_err();
                    // The maker waits for this; there is none to tell if it is gone.
                    let _ = tell.send(placed);
                    if !failed {
                        shared.work();
                    }
                })?;
            lock(&pool.owner.threads).push(thread);
            let placed = told.recv().unwrap_or(Ok(()));
            placed.map_err(|e| {
                io::Error::new(
                    io::Error::from(e).kind(),
                    format!(
                        "threads cannot be placed on the cores {:?}: {e}",
                        config.cores
                    ),
                )
            })?;
        }
        Ok(pool)
    }

    /// Does `job` on a thread of the pool and gives a future of what it returns.
    ///
    /// The job is queued at once where there is room for its class. Otherwise it is held by the
    /// future until those that asked before have been queued.
    pub fn run<T, F>(&self, class: Class, job: F) -> Running<T>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        Running::new(Arc::clone(&self.owner.shared), class, Box::new(job))
    }

    /// Does one queued job on the calling thread, and says whether there was one.
    ///
    /// A worker may call it where it would otherwise idle;
    /// [`should_help`](super::should_help) says when.
    pub fn help(&self) -> bool {
        self.owner.shared.help()
    }

    /// Says how busy the pool is.
    #[must_use]
    pub fn load(&self) -> PoolLoad {
        self.owner.shared.load()
    }

    /// Ends the pool: waits for the jobs that were begun, and fails the others.
    pub fn shutdown(&self) {
        self.owner.shutdown();
    }
}

impl Owner {
    fn shutdown(&self) {
        self.shared.close();
        let threads = std::mem::take(&mut *lock(&self.threads));
        let this: ThreadId = thread::current().id();
        for thread in threads {
            // A job may hold the last handle: a thread cannot wait for itself.
            if thread.thread().id() != this {
                let _ = thread.join();
            }
        }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.shutdown();
    }
}

impl Shared {
    pub(super) fn load(&self) -> PoolLoad {
        let state = self.lock();
        PoolLoad {
            queued: state.ready.iter().map(BTreeMap::len).sum(),
            waiting: state.waiting.iter().map(BTreeMap::len).sum(),
            running: state.running,
            threads: self.threads,
        }
    }

    #[cfg(feature = "executor")]
    pub(super) fn spare_cores(&self) -> usize {
        self.spare_cores
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Gives a job's number, and says whether it may be queued now.
    pub(super) fn enter(&self, class: Class) -> Entry {
        let mut state = self.lock();
        let index = class.index();
        if state.closed {
            return Entry::Closed;
        }
        let number = state.number;
        state.number += 1;
        if state.places[index] < self.queue_max {
            state.places[index] += 1;
            return Entry::Queued(number);
        }
        state.waiting[index].insert(number, None);
        Entry::Waits(number)
    }

    /// Says whether the job that waited may be queued; if not, wakes `waker` when it may.
    pub(super) fn admitted(&self, class: Class, number: u64, waker: &Waker) -> bool {
        // Code of others, cloned and dropped outside of the lock.
        let mut waker = Some(waker.clone());
        let mut state = self.lock();
        match state.waiting[class.index()].get_mut(&number) {
            Some(known) => {
                std::mem::swap(known, &mut waker);
                false
            }
            None => true,
        }
    }

    /// Queues a job that has a place, or gives it up when the pool has closed.
    pub(super) fn queue(&self, class: Class, number: u64, job: Arc<dyn Run>) {
        let mut state = self.lock();
        if state.closed {
            drop(state);
            job.give_up();
            return;
        }
        state.ready[class.index()].insert(number, job);
        drop(state);
        self.work.notify_one();
    }

    /// Takes back a job that nobody waits for any more, if it has not been begun.
    pub(super) fn withdraw(&self, class: Class, number: u64) {
        let mut state = self.lock();
        let job = state.ready[class.index()].remove(&number);
        let woken = job.is_some().then(|| state.leave(class.index()));
        drop(state);
        wake(woken.flatten());
        drop(job);
    }

    /// Gives back the place, or the turn, of a job that was never queued.
    pub(super) fn leave(&self, class: Class, number: u64) {
        let mut state = self.lock();
        let index = class.index();
        let waited = state.waiting[index].remove(&number);
        let woken = if waited.is_none() && !state.closed {
            state.leave(index)
        } else {
            None
        };
        drop(state);
        wake(woken);
    }

    pub(super) fn help(&self) -> bool {
        let mut state = self.lock();
        let Some((job, woken)) = state.pop() else {
            return false;
        };
        drop(state);
        wake(woken);
        self.finish(job);
        true
    }

    fn work(&self) {
        let mut state = self.lock();
        loop {
            let Some((job, woken)) = state.pop() else {
                if state.closed {
                    return;
                }
                let waited = self.work.wait(state);
                state = waited.unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            drop(state);
            wake(woken);
            self.finish(job);
            state = self.lock();
        }
    }

    fn finish(&self, job: Arc<dyn Run>) {
        // A result that nobody waits for may panic when it is dropped.
        guarded(move || job.run());
        self.lock().running -= 1;
    }

    fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        let ready = std::mem::take(&mut state.ready);
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        self.work.notify_all();
        for job in ready.iter().flat_map(BTreeMap::values) {
            job.give_up();
        }
        for waker in waiting.into_iter().flat_map(BTreeMap::into_values) {
            wake(waker);
        }
    }
}

impl State {
    /// Takes the next job, and gives whom to wake because its place is free.
    fn pop(&mut self) -> Option<(Arc<dyn Run>, Option<Waker>)> {
        let oldest = std::array::from_fn(|class| {
            let first = self.ready[class].first_key_value();
            first.map(|(number, _)| *number)
        });
        let class = next(oldest, self.turn)?;
        let (_, job) = self.ready[class].pop_first()?;
        self.turn += 1;
        self.running += 1;
        let woken = self.leave(class);
        Some((job, woken))
    }

    /// Frees a place, which goes to the one who has waited longest.
    fn leave(&mut self, class: usize) -> Option<Waker> {
        match self.waiting[class].pop_first() {
            Some((_, waker)) => waker,
            None => {
                self.places[class] -= 1;
                None
            }
        }
    }
}

fn cpu_set(cores: &[usize]) -> io::Result<Option<CpuSet>> {
    let mut set = CpuSet::new();
    for &core in cores {
        if core >= CpuSet::MAX_CPU {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("core {core} is past the last one, {}", CpuSet::MAX_CPU - 1),
            ));
        }
        set.set(core);
    }
    Ok((!cores.is_empty()).then_some(set))
}

/// Wakes somebody whose panics are not those of whoever wakes.
pub(super) fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        guarded(|| waker.wake());
    }
}

/// Locks, also after a panic: no code that may panic runs under these locks.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for DecodePool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let load = self.load();
        f.debug_struct("DecodePool").field("load", &load).finish()
    }
}
