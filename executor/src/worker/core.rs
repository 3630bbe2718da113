//! What a worker is made of.

use std::cell::{Cell, OnceCell, RefCell};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use super::idle::Idlers;
use super::root::KickWaker;
use super::spin::Spinning;
use super::stats::{Meter, Published};
use crate::blocking::BlockingPool;
use crate::buf::pool::PoolCore;
use crate::clock;
use crate::config::{Config, EXPIRE_BATCH};
use crate::driver::{Backend, Delivery, Driver, DriverRef, Multishot, Op};
use crate::error::SetupError;
use crate::op::Kind;
use crate::stall::{Watch, watch_over};
use crate::sys::EventFd;
use crate::task::Local;
use crate::timer::Timers;
use crate::topology::machine;
use crate::trace;

/// The state of one worker. All of it belongs to the worker's thread.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) config: Config,
    pub(crate) local: Local,
    pub(crate) driver: DriverRef,
    pub(crate) timers: RefCell<Timers>,
    /// Set while a turn, a park or a poll of the root future runs: none may begin inside another.
    pub(super) turning: Cell<bool>,
    /// When the running turn or the current task began, for `need_preempt`.
    pub(super) slice_start: Cell<Instant>,
    pub(super) spinning: Spinning,
    pub(super) meter: Meter,
    pub(super) published: Arc<Published>,
    /// What dispatch hands out; taken for the time it is worked through.
    pub(super) delivery: RefCell<Delivery>,
    /// The wakers of the timers that are due, for the same use. Has room for a batch from the
    /// start: a larger batch than any before allocates nothing.
    pub(super) expired: RefCell<Vec<Waker>>,
    pub(crate) idlers: Idlers,
    pool: OnceCell<Rc<PoolCore>>,
    blocking: OnceCell<Arc<BlockingPool>>,
    /// Signalled by the kernel when completions are due; made on first use.
    event: OnceCell<EventFd>,
    /// The backend's own descriptor, where it has one to wait by instead.
    watched: OnceCell<OwnedFd>,
    /// The worker's number in its executor.
    pub(crate) index: Cell<usize>,
    pub(super) closed: Cell<bool>,
}

impl Core {
    /// Makes a worker on the calling thread.
    pub(crate) fn new(config: Config) -> Result<Rc<Self>, SetupError> {
        config.validate()?;
        let watch = watch(&config)?;
        let local = Local::watched(config.remote_spawns_max, watch);
        let kick = local
            .block()
            .kick_fd(|| EventFd::new().map(EventFd::into_fd))
            .map_err(|error| SetupError::from_io("eventfd", error))?;
        let driver = Driver::new(&config, kick.as_raw_fd())?;
        trace_backend(&driver);
        let now = clock::now();
        Ok(Rc::new(Self {
            config,
            local,
            driver: Rc::new(RefCell::new(driver)),
            timers: RefCell::new(Timers::new(now)),
            turning: Cell::new(false),
            slice_start: Cell::new(now),
            spinning: Spinning::default(),
            meter: Meter::default(),
            published: Arc::default(),
            delivery: RefCell::new(Delivery::new()),
            expired: RefCell::new(Vec::with_capacity(EXPIRE_BATCH)),
            idlers: Idlers::default(),
            pool: OnceCell::new(),
            blocking: OnceCell::new(),
            event: OnceCell::new(),
            watched: OnceCell::new(),
            index: Cell::new(0),
            closed: Cell::new(false),
        }))
    }

    /// Makes it the worker `index` of its executor.
    pub(crate) fn set_index(&self, index: usize) {
        self.index.set(index);
        if let Some(watch) = self.local.watch() {
            watch.set_worker(index);
        }
    }

    /// Makes an operation, which is submitted when it is first polled.
    pub(crate) fn op<K: Kind>(&self, kind: K, memory: K::Memory) -> Op<K> {
        Op::new(Rc::clone(&self.driver), kind, memory)
    }

    /// Makes a multishot operation, which is armed when it is first polled.
    pub(crate) fn multishot<K: Kind>(&self, kind: K, memory: K::Memory) -> Multishot<K>
    where
        K::Memory: Clone,
    {
        Multishot::new(Rc::clone(&self.driver), kind, memory)
    }

    /// Returns the worker's buffer pool, made on first use.
    ///
    /// # Errors
    ///
    /// The error of mmap(2). A pool that cannot be registered works unregistered.
    pub(crate) fn pool(&self) -> io::Result<&Rc<PoolCore>> {
        if let Some(pool) = self.pool.get() {
            return Ok(pool);
        }
        let waker = Waker::from(Arc::new(KickWaker::new(self.local.block())));
        let pool = PoolCore::new(self.config.pool, waker, |memory, ranges| {
            self.driver.borrow_mut().register_pool(memory, ranges)
        })?;
        Ok(self.pool.get_or_init(|| Rc::new(pool)))
    }

    /// Makes the worker use an executor's pool for blocking work.
    pub(crate) fn set_blocking(&self, pool: Arc<BlockingPool>) {
        let set = self.blocking.set(pool);
        debug_assert!(set.is_ok(), "the pool is set before anything uses it");
    }

    /// Returns the pool for blocking work; `make` makes it for a worker without an executor.
    pub(crate) fn blocking(&self, make: impl FnOnce() -> Arc<BlockingPool>) -> &BlockingPool {
        self.blocking.get_or_init(make)
    }

    /// Returns the counters as other threads see them.
    pub(crate) fn published(&self) -> &Arc<Published> {
        &self.published
    }

    /// Announces that the worker is about to wait; false when there is something to do instead.
    pub(super) fn prepare_park(&self) -> bool {
        self.local
            .prepare_park(|| !self.pool.get().is_some_and(|pool| pool.has_news()))
    }

    pub(super) fn pool_if_made(&self) -> Option<&Rc<PoolCore>> {
        self.pool.get()
    }

    /// Returns the descriptor that becomes readable when a turn has something to do.
    ///
    /// # Errors
    ///
    /// When the descriptor cannot be made, or registered with the ring.
    pub(crate) fn event_fd(&self) -> io::Result<BorrowedFd<'_>> {
        if let Some(event) = self.event.get() {
            return Ok(event.as_fd());
        }
        if let Some(watched) = self.watched.get() {
            return Ok(watched.as_fd());
        }
        let watched = self
            .driver
            .borrow_mut()
            .backend_mut()
            .and_then(Backend::watch);
        if let Some(watched) = watched {
            let watched = watched?;
            return Ok(self.watched.get_or_init(|| watched).as_fd());
        }
        let make = || EventFd::new().map(EventFd::into_fd);
        let event = EventFd::from(self.local.block().event_fd(make)?.try_clone_to_owned()?);
        self.driver.borrow().register_eventfd(event.as_fd())?;
        // What arrived before is not signalled any more: let the first wait return at once.
        event.signal();
        Ok(self.event.get_or_init(|| event).as_fd())
    }

    pub(super) fn drain_event_fd(&self) {
        let Some(event) = self.event.get() else {
            return;
        };
        // What completes between the two registrations is found by this turn.
        if event.drain() && self.driver.borrow().renew_eventfd(event.as_fd()).is_err() {
            // Nothing would tell of completions: let the loop turn again, and try again.
            event.signal();
        }
    }

    /// Takes one batch of completions, then wakes and drops outside of all borrows.
    pub(super) fn reap(&self) -> usize {
        let mut delivery = self.delivery.take();
        let count = self.driver.borrow_mut().dispatch(&mut delivery);
        delivery.run();
        // Keep the memory of the lists for the next time.
        self.delivery.replace(delivery);
        count
    }

    /// Takes all completions that are there, at most as many as the queue holds.
    pub(super) fn reap_all(&self) -> usize {
        let mut total = 0;
        let bound = self.config.cq_entries as usize;
        while total < bound {
            let count = self.reap();
            total += count;
            if count < crate::config::REAP_BATCH {
                break;
            }
        }
        total
    }
}

/// Has the polls of a worker watched, where the configuration asks for it.
fn watch(config: &Config) -> Result<Option<Arc<Watch>>, SetupError> {
    if config.stall_threshold.is_zero() {
        return Ok(None);
    }
    let watch = Arc::new(Watch::new(config.stall_threshold, config.on_stall.clone()));
    let cores = machine().map_or(Vec::new(), |machine| machine.allowed.cores.clone());
    watch_over(&watch, cores)
        .map_err(|error| SetupError::from_io("starting the thread that looks for stalls", error))?;
    Ok(Some(watch))
}

/// Tells the program's subscriber what the worker runs on.
fn trace_backend(driver: &Driver) {
    let Some(backend) = driver.backend() else {
        return;
    };
    match (backend.rung(), backend.threads_reason()) {
        (Some(rung), _) => trace::backend_chosen(&format_args!("io_uring ({rung})"), None),
        (None, Some(reason)) => trace::backend_chosen(&"threads and epoll", Some(reason)),
        (None, None) => trace::backend_chosen(&"simulated ring", None),
    }
}
