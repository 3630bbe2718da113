//! The worker, for those who own the main loop.

use std::future::Future;
use std::io;
use std::os::fd::BorrowedFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::clock;
use crate::config::{Config, DROP_DEADLINE};
use crate::error::{SetupError, ThreadsReason};
use crate::ring::Rung;
use crate::task::{JoinHandle, RemoteSpawner};
use crate::worker::context::Entered;
use crate::worker::{Core, ShutdownReport, Stats, TurnBudget, TurnReport};

/// How long operations have to end once their tasks are gone, whatever the deadline.
pub(crate) const DRAIN_MIN: Duration = Duration::from_secs(2);

/// One core's executor: a ring, a run queue, timers and a buffer pool, driven by the thread that
/// made it.
///
/// There are four ways to drive it: [`block_on`](Self::block_on) and [`run`](Self::run) own the
/// thread; [`turn`](Self::turn) does one bounded pass and returns, for a frame loop; `turn` with
/// [`park`](Self::park) is a loop of one's own; and [`fd`](Self::fd) lets a foreign event loop
/// say when a turn is due.
///
/// A worker cannot leave its thread:
///
/// ```compile_fail
/// fn assert_send<T: Send>() {}
/// assert_send::<corelane::Worker>();
/// ```
///
/// Several workers on one thread are allowed, one turning at a time.
///
/// Dropping a worker aborts its tasks and waits up to five seconds for the kernel to let go of
/// their memory; [`shutdown`](Self::shutdown) says what had to be left.
///
/// # Examples
///
/// ```
/// # fn main() -> Result<(), corelane::SetupError> {
/// let worker = corelane::Worker::new(corelane::Config::default())?;
/// let answer = worker.spawn_local(async { 6 * 7 });
/// assert_eq!(worker.block_on(answer).unwrap(), 42);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Worker {
    core: Rc<Core>,
}

/// What a worker's operations run on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Backend {
    /// io_uring, set up with the flags of this rung.
    Uring(Rung),
    /// A pool of threads for files, and epoll for sockets; and why.
    Threads(ThreadsReason),
    /// The simulated ring.
    #[cfg(feature = "sim")]
    Sim,
}

impl std::fmt::Display for Backend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Uring(rung) => write!(f, "io_uring ({rung})"),
            Self::Threads(reason) => write!(f, "threads and epoll ({reason})"),
            #[cfg(feature = "sim")]
            Self::Sim => f.write_str("simulated ring"),
        }
    }
}

impl Worker {
    /// Makes a worker on the calling thread, which should have been pinned before.
    ///
    /// # Errors
    ///
    /// [`SetupError`] names the cause, and what to do about it.
    pub fn new(config: Config) -> Result<Self, SetupError> {
        Core::new(config).map(|core| Self { core })
    }

    pub(crate) fn core(&self) -> &Rc<Core> {
        &self.core
    }

    /// Adds a task to the worker. It is polled by the next turn, on this thread only.
    ///
    /// A task that panics ends alone; the handle says so. Dropping the handle lets the task run.
    #[track_caller]
    pub fn spawn_local<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
    {
        // The guard kicks a parked worker, so that a foreign event loop sees the new task.
        let _entered = self.core.local.enter();
        self.core.local.spawn(future)
    }

    /// Returns a handle with which other threads spawn onto this worker.
    #[must_use]
    pub fn spawner(&self) -> RemoteSpawner {
        self.core.local.spawner()
    }

    /// Does one pass, without waiting: takes messages, expires timers, polls tasks up to the
    /// budget, submits, and delivers completions.
    ///
    /// # Panics
    ///
    /// Panics when called from inside of a task of the same worker, or when the kernel reports
    /// that completions were lost.
    ///
    /// # Examples
    ///
    /// A frame that gives its I/O two milliseconds:
    ///
    /// ```
    /// use std::time::Duration;
    /// # fn main() -> Result<(), corelane::SetupError> {
    /// # let worker = corelane::Worker::new(corelane::Config::default())?;
    /// let report = worker.turn(corelane::TurnBudget::default().time(Duration::from_millis(2)));
    /// assert!(!report.more_work);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn turn(&self, budget: TurnBudget) -> TurnReport {
        self.core.turn(budget)
    }

    /// Waits until a turn has something to do, a timer is due, or `until`.
    ///
    /// Returns at once when there is something to do already. Waiting takes no CPU time, and is
    /// not accounted as I/O wait where the kernel can tell (Linux 6.15).
    ///
    /// # Panics
    ///
    /// As [`turn`](Self::turn).
    #[track_caller]
    pub fn park(&self, until: Option<Instant>) {
        self.core.park(until);
    }

    /// Returns when the next timer is due, or a bit of work of the worker's own; a lower bound for timers
    /// that are far away.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.core.next_deadline()
    }

    /// Returns a descriptor that is readable when a turn has something to do, to be added to an
    /// epoll set or the like. Timers do not make it readable: wait no longer than until
    /// [`next_deadline`](Self::next_deadline). A turn drains it.
    ///
    /// It speaks for the time after a turn that reported no more work.
    ///
    /// # Errors
    ///
    /// When the descriptor cannot be made (eventfd(2)) or registered with the ring.
    pub fn fd(&self) -> io::Result<BorrowedFd<'_>> {
        self.core.event_fd()
    }

    /// Drives the worker until `future` is ready, and returns its output. Tasks run meanwhile,
    /// and stay where they are afterwards.
    ///
    /// # Panics
    ///
    /// Panics with the future's panic, and as [`turn`](Self::turn).
    #[track_caller]
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.core.block_on(future)
    }

    /// Drives the worker until no task is left.
    ///
    /// # Panics
    ///
    /// As [`turn`](Self::turn).
    #[track_caller]
    pub fn run(&self) {
        self.core.run();
    }

    /// Makes this the current worker, so that sockets, files and timers can be made outside of a
    /// task. They progress when the worker is driven.
    #[must_use = "the worker is current only as long as the guard lives"]
    pub fn enter(&self) -> EnterGuard<'_> {
        EnterGuard {
            _entered: Entered::new(&self.core),
        }
    }

    /// Returns the worker's counters.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.core.stats()
    }

    /// Says what operations run on. `None` after a shutdown.
    #[must_use]
    pub fn backend(&self) -> Option<Backend> {
        let driver = self.core.driver.borrow();
        let backend = driver.backend()?;
        match (backend.rung(), backend.threads_reason()) {
            (Some(rung), _) => Some(Backend::Uring(rung)),
            (None, Some(reason)) => Some(Backend::Threads(reason.clone())),
            #[cfg(feature = "sim")]
            (None, None) => Some(Backend::Sim),
            #[cfg(not(feature = "sim"))]
            (None, None) => unreachable!("a backend without a ring has a reason"),
        }
    }

    /// Ends the worker: refuses spawns from other threads, lets its tasks finish until
    /// `deadline`, aborts the rest, cancels all operations and waits for the kernel to let go of
    /// their memory (at least two seconds, and until the deadline).
    ///
    /// # Panics
    ///
    /// Panics when called from inside of a task of the same worker.
    #[track_caller]
    #[expect(
        clippy::must_use_candidate,
        reason = "the report is for those who care"
    )]
    pub fn shutdown(self, deadline: Instant) -> ShutdownReport {
        self.core
            .shutdown(deadline, deadline.max(clock::now() + DRAIN_MIN))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if self.core.is_closed() {
            return;
        }
        if self.core.is_turning() {
            // Dropped by one of its own tasks: what the kernel may touch must stay.
            std::mem::forget(Rc::clone(&self.core));
            assert!(
                std::thread::panicking(),
                "a worker was dropped by one of its own tasks"
            );
            return;
        }
        let now = clock::now();
        let report = self.core.shutdown(now, now + DROP_DEADLINE);
        if report.ops_leaked > 0 {
            eprintln!(
                "corelane: {} operations of a dropped worker would not end; their memory is leaked",
                report.ops_leaked
            );
        }
    }
}

/// Keeps a worker the current one; made by [`Worker::enter`].
#[derive(Debug)]
pub struct EnterGuard<'a> {
    _entered: Entered<'a>,
}
