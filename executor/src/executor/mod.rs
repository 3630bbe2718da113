//! Workers on threads of their own: one per core.

use std::future::Future;
use std::io;
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use core_affinity::CoreId;

use crate::blocking::{BlockingLimits, BlockingPool};
use crate::config::{Config, DROP_DEADLINE};
use crate::error::SetupError;
use crate::main_loop::{Backend, DRAIN_MIN, Worker};
use crate::task::{JoinHandle, RemoteSpawner, SpawnError};
use crate::topology::placement::{Placement, complement, place};
use crate::topology::{Machine, machine, pin};
use crate::worker::stats::Published;
use crate::worker::{ShutdownReport, Stats, context};

mod stop;

use stop::{End, Stop, WorkerEnd};

/// A set of workers, each on its own thread and, by default, its own core.
///
/// A task belongs to the worker that it is spawned on, and is never moved. Work reaches another
/// core as a `Send` closure that builds a future there, which need not be `Send`.
///
/// Dropping an executor aborts all tasks and waits up to five seconds for the kernel to let go of
/// their memory; [`shutdown`](Self::shutdown) gives them time, [`join`](Self::join) all they
/// need. Ended or dropped by one of its own tasks, it tells the workers to end and does not wait
/// for them.
///
/// # Examples
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::rc::Rc;
/// let executor = corelane::Executor::builder().workers(1).start()?;
/// let task = executor.spawn_on(0, || async { *Rc::new(21) * 2 })?;
/// assert_eq!(executor.block_on(task)?, 42);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Executor {
    workers: Vec<WorkerThread>,
    blocking: Arc<BlockingPool>,
}

#[derive(Debug)]
struct WorkerThread {
    spawner: RemoteSpawner,
    published: Arc<Published>,
    backend: Option<Backend>,
    core: Option<usize>,
    stop: Arc<Stop>,
    thread: Option<WorkerEnd>,
}

/// How an executor is made; from [`Executor::builder`].
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until it is started"]
pub struct Builder {
    placement: Placement,
    workers: Option<usize>,
    config: Config,
    name: String,
    blocking_threads: usize,
}

impl Builder {
    /// Sets where the workers run.
    pub fn placement(mut self, placement: Placement) -> Self {
        self.placement = placement;
        self
    }

    /// Sets how many workers there are; without it, the placement decides.
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = Some(workers);
        self
    }

    /// Sets each worker's limits and options.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Sets the name of the workers' threads, to which their number is added.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets how many threads run blocking work, for all workers together. The default is 16.
    pub fn blocking_threads(mut self, threads: usize) -> Self {
        self.blocking_threads = threads;
        self
    }

    /// Starts the workers and returns when all of them are ready.
    ///
    /// # Errors
    ///
    /// [`SetupError`] of the first worker that could not be made; the others are stopped.
    pub fn start(self) -> Result<Executor, SetupError> {
        self.config.validate()?;
        let machine = machine().map_err(|error| SetupError::from_io("sched_getaffinity", error))?;
        let cores = place(
            &self.placement,
            self.workers,
            &machine.topology,
            &machine.allowed,
        )
        .map_err(|error| SetupError::Placement {
            reason: error.to_string(),
        })?;
        let free = complement(&machine.allowed, &cores);
        let helpers = if free.is_empty() {
            machine.allowed.cores.clone()
        } else {
            free
        };
        let blocking = Arc::new(blocking_pool(helpers.clone(), self.blocking_threads));
        let mut executor = Executor {
            workers: Vec::with_capacity(cores.len()),
            blocking,
        };
        for (index, core) in cores.into_iter().enumerate() {
            let worker = self.start_worker(index, core, &executor.blocking, &helpers)?;
            executor.workers.push(worker);
        }
        Ok(executor)
    }

    fn start_worker(
        &self,
        index: usize,
        core: Option<CoreId>,
        blocking: &Arc<BlockingPool>,
        helpers: &[usize],
    ) -> Result<WorkerThread, SetupError> {
        let stop = Arc::new(Stop::default());
        let (ready, when_ready) = mpsc::channel();
        let (end, report) = mpsc::channel();
        let seed = Seed {
            index,
            core,
            config: self.config.clone(),
            blocking: Arc::clone(blocking),
            helpers: helpers.to_vec(),
            stop: Arc::clone(&stop),
        };
        let thread = thread::Builder::new()
            .name(format!("{}-{index}", self.name))
            // Nobody listens once the executor has gone.
            .spawn(move || end.send(seed.run(&ready)).unwrap_or_default())
            .map_err(|error| SetupError::from_io("clone", error))?;
        let gone = || SetupError::System {
            call: "the setup of a worker",
            source: io::Error::other("its thread panicked"),
        };
        let (spawner, published, backend) = when_ready.recv().map_err(|_| gone())??;
        Ok(WorkerThread {
            spawner,
            published,
            backend,
            core: core.map(|core| core.id),
            stop,
            thread: Some(WorkerEnd::new(thread, report)),
        })
    }
}

/// Makes the pool for blocking work, on `cores`.
pub(crate) fn blocking_pool(cores: Vec<usize>, threads_max: usize) -> BlockingPool {
    BlockingPool::new(BlockingLimits {
        threads_max,
        queue_max: 1024,
        idle_max: Duration::from_secs(10),
        cores,
    })
}

/// Threads for blocking work where nothing else is said.
pub(crate) const BLOCKING_THREADS: usize = 16;

type Ready = Result<(RemoteSpawner, Arc<Published>, Option<Backend>), SetupError>;

/// What a worker's thread starts from.
struct Seed {
    index: usize,
    core: Option<CoreId>,
    config: Config,
    blocking: Arc<BlockingPool>,
    helpers: Vec<usize>,
    stop: Arc<Stop>,
}

impl Seed {
    fn run(self, ready: &mpsc::Sender<Ready>) -> ShutdownReport {
        let worker = match self.make() {
            Ok(worker) => worker,
            Err(error) => {
                // The builder waits for this message.
                let _ = ready.send(Err(error));
                return ShutdownReport::default();
            }
        };
        let core = worker.core();
        let message = (
            worker.spawner(),
            Arc::clone(core.published()),
            worker.backend(),
        );
        if ready.send(Ok(message)).is_err() {
            return ShutdownReport::default();
        }
        match worker.block_on(std::future::poll_fn(|cx| self.stop.poll(cx))) {
            End::Deadline { tasks, drain } => core.shutdown(tasks, drain),
            End::WhenIdle => {
                worker.run();
                worker.shutdown(Instant::now())
            }
        }
    }

    fn make(&self) -> Result<Worker, SetupError> {
        // send_file to a closed peer is an error, not a signal.
        crate::sys::block_sigpipe();
        if let Some(core) = self.core {
            pin::pin_thread(core).map_err(|error| SetupError::Placement {
                reason: error.to_string(),
            })?;
        }
        let worker = Worker::new(self.config.clone())?;
        let core = worker.core();
        core.set_index(self.index);
        core.set_blocking(Arc::clone(&self.blocking));
        if self.core.is_some() {
            core.driver.borrow_mut().place_helpers(&self.helpers);
        }
        Ok(worker)
    }
}

impl Executor {
    /// Makes a builder: one worker per core, default limits.
    pub fn builder() -> Builder {
        Builder {
            placement: Placement::default(),
            workers: None,
            config: Config::default(),
            name: "corelane".to_owned(),
            blocking_threads: BLOCKING_THREADS,
        }
    }

    /// Starts one worker per core with default limits.
    ///
    /// # Errors
    ///
    /// As [`Builder::start`].
    pub fn new() -> Result<Self, SetupError> {
        Self::builder().start()
    }

    /// Returns the number of workers.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.workers.len()
    }

    /// Returns the core that a worker is pinned to.
    ///
    /// # Panics
    ///
    /// Panics when there is no such worker.
    #[must_use]
    #[track_caller]
    pub fn core_of(&self, worker: usize) -> Option<usize> {
        self.worker(worker).core
    }

    /// Says what a worker's operations run on.
    ///
    /// # Panics
    ///
    /// Panics when there is no such worker.
    #[must_use]
    #[track_caller]
    pub fn backend(&self, worker: usize) -> Option<Backend> {
        self.worker(worker).backend.clone()
    }

    /// Returns a handle that spawns onto a worker, from any thread.
    ///
    /// # Panics
    ///
    /// Panics when there is no such worker.
    #[must_use]
    #[track_caller]
    pub fn spawner(&self, worker: usize) -> RemoteSpawner {
        self.worker(worker).spawner.clone()
    }

    /// Spawns onto a worker the future that `closure` builds there.
    ///
    /// # Errors
    ///
    /// [`SpawnError`] gives the closure back when too many spawns wait for that worker already
    /// ([`Config::remote_spawns_max`]), or when it has ended.
    ///
    /// # Panics
    ///
    /// Panics when there is no such worker.
    #[track_caller]
    pub fn spawn_on<C, F>(
        &self,
        worker: usize,
        closure: C,
    ) -> Result<JoinHandle<F::Output>, SpawnError<C>>
    where
        C: FnOnce() -> F + Send + 'static,
        F: Future + 'static,
        F::Output: Send + 'static,
    {
        self.worker(worker).spawner.spawn(closure)
    }

    /// Spawns onto every worker the future that `closure` builds there from the worker's number.
    ///
    /// # Errors
    ///
    /// As [`spawn_on`](Self::spawn_on), for the first worker that refuses; tasks that were
    /// spawned before it run.
    #[track_caller]
    pub fn spawn_on_each<C, F>(
        &self,
        closure: C,
    ) -> Result<Vec<JoinHandle<F::Output>>, SpawnError<()>>
    where
        C: Fn(usize) -> F + Clone + Send + 'static,
        F: Future + 'static,
        F::Output: Send + 'static,
    {
        let here = std::panic::Location::caller();
        let spawn = |(index, worker): (usize, &WorkerThread)| {
            let closure = closure.clone();
            let spawned = worker.spawner.spawn_at(here, move || closure(index));
            spawned.map_err(SpawnError::without_closure)
        };
        self.workers.iter().enumerate().map(spawn).collect()
    }

    /// Waits on the calling thread, which is not a worker, until `future` is ready: for handles
    /// and channels. Nothing else is driven.
    ///
    /// # Panics
    ///
    /// Panics inside of a task or of [`Worker::block_on`], where it would stop the worker, and
    /// wait for ever for what that worker has to do:
    ///
    /// ```should_panic
    /// # let worker = corelane::Worker::new(corelane::Config::default()).unwrap();
    /// # let executor = corelane::Executor::builder().workers(1).start().unwrap();
    /// worker.block_on(async { executor.block_on(async {}) });
    /// ```
    #[track_caller]
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        assert!(
            !context::try_with(|core| core.is_turning()).unwrap_or(false),
            "Executor::block_on was called on a worker, which would stand still: await the future \
             instead"
        );
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut cx = Context::from_waker(&waker);
        let mut future = std::pin::pin!(future);
        loop {
            match future.as_mut().poll(&mut cx) {
                Poll::Ready(output) => return output,
                Poll::Pending => thread::park(),
            }
        }
    }

    /// Returns each worker's counters as of the end of its last turn.
    #[must_use]
    pub fn stats(&self) -> Vec<Stats> {
        self.workers
            .iter()
            .map(|worker| worker.published.load())
            .collect()
    }

    /// Ends the workers: they refuse new tasks, have until `deadline` to finish those they have,
    /// abort the rest, cancel all operations and wait for the kernel to let go of their memory
    /// (at least two seconds). Returns when all threads have ended, but for those in whose calls
    /// the kernel still is, or may be because they panicked: a thread ends no sooner than its last
    /// call, which a file system may never answer. Called by a task of one of them, it waits for
    /// none ([`ShutdownReport::workers_running`]).
    #[expect(
        clippy::must_use_candidate,
        reason = "the report is for those who care"
    )]
    pub fn shutdown(mut self, deadline: Instant) -> ShutdownReport {
        let drain = deadline.max(Instant::now() + DRAIN_MIN);
        let report = self.end(End::Deadline {
            tasks: deadline,
            drain,
        });
        self.blocking.shutdown(drain);
        report
    }

    /// Ends each worker when it has no task left, and waits for all of them. A worker that has
    /// ended refuses new tasks: await what is to be spawned from worker to worker before.
    #[expect(
        clippy::must_use_candidate,
        reason = "the report is for those who care"
    )]
    pub fn join(mut self) -> ShutdownReport {
        self.end(End::WhenIdle)
    }

    #[track_caller]
    fn worker(&self, number: usize) -> &WorkerThread {
        match self.workers.get(number) {
            Some(worker) => worker,
            None => panic!(
                "there is no worker {number}: the executor has {}, counted from 0",
                self.workers.len()
            ),
        }
    }

    fn end(&mut self, end: End) -> ShutdownReport {
        for worker in &self.workers {
            worker.stop.set(end);
        }
        let mut report = ShutdownReport::default();
        let mut threads = self
            .workers
            .iter()
            .filter_map(|worker| worker.thread.as_ref());
        if threads.any(WorkerEnd::is_current) {
            // One of its own tasks ends the executor: its thread cannot wait for itself.
            report.workers_running = self.workers.len();
            return report;
        }
        for worker in &mut self.workers {
            if let Some(end) = worker.thread.take() {
                report.add(end.wait());
            }
        }
        report
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        let now = Instant::now();
        let report = self.end(End::Deadline {
            tasks: now,
            drain: now + DROP_DEADLINE,
        });
        if report.ops_leaked > 0 {
            eprintln!(
                "corelane: {} operations of a dropped executor would not end within {} s; their \
                 memory is leaked",
                report.ops_leaked,
                DROP_DEADLINE.as_secs()
            );
        }
    }
}

/// Unparks a thread.
struct Unpark(thread::Thread);

impl std::task::Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// The pool of a worker that belongs to no executor.
pub(crate) fn own_blocking_pool() -> Arc<BlockingPool> {
    let cores = machine().map(|Machine { allowed, .. }| allowed.cores.clone());
    Arc::new(blocking_pool(cores.unwrap_or_default(), BLOCKING_THREADS))
}

const _: fn() = || {
    fn assert_send_sync<T: Send + Sync>() {}
    assert_send_sync::<Executor>();
};
