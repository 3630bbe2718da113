//! What all tasks of one program share, and what is known of each.
//!
//! All workers of a program are on one thread, so the world is found through that thread: a task
//! that came from another worker finds it as well.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;

use corelane::sim::Simulation;
use corelane::sync::{Notify, Semaphore, channel, oneshot};
use corelane::{RemoteSpawner, SimConfig};

use crate::arena::Arena;
use crate::rng::Rng;

thread_local! {
    static CURRENT: RefCell<Option<Rc<World>>> = const { RefCell::new(None) };
}

/// What a worker's server is asked.
#[derive(Debug)]
pub(crate) struct Ping {
    pub(crate) number: u64,
    pub(crate) reply: oneshot::Sender<u64>,
}

/// What one worker offers to the others.
#[derive(Debug, Default)]
pub(crate) struct Office {
    pub(crate) spawner: Option<RemoteSpawner>,
    pub(crate) mail: Option<channel::Sender<Ping>>,
    /// Operations forgotten in flight there.
    pub(crate) forgotten: usize,
}

/// What programs have met, summed over seeds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Tasks of programs, those that others have spawned included.
    pub tasks: u64,
    /// Futures dropped after a poll and before their end.
    pub dropped: u64,
    /// Operations forgotten in flight.
    pub forgotten: u64,
    /// Futures that another task went on with.
    pub handed_over: u64,
    /// Futures that a timeout has ended.
    pub timed_out: u64,
    /// Tasks aborted.
    pub aborted: u64,
    /// Tasks that panicked on purpose.
    pub panicked: u64,
    /// Tasks spawned on another worker.
    pub remote: u64,
    /// Requests of blob queues.
    pub queued: u64,
    /// Workers that were shut down by a deadline.
    pub shutdowns: u64,
    /// Workers that were dropped while they had work.
    pub deaths: u64,
    /// Tasks that were there when their worker ended.
    pub cut_off: u64,
    /// Times that the clock has jumped.
    pub jumps: u64,
}

#[derive(Debug)]
struct Doing {
    worker: usize,
    step: &'static str,
    ended: bool,
    server: bool,
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) sim: Simulation,
    pub(crate) arena: Rc<Arena>,
    /// Whether operations may fail.
    pub(crate) errors: bool,
    pub(crate) offices: RefCell<Vec<Office>>,
    pub(crate) tally: RefCell<Tally>,
    tasks: RefCell<Vec<Doing>>,
    finding: RefCell<Option<String>>,
    serial: Cell<u64>,
}

impl World {
    /// Makes the calling thread's world.
    pub(crate) fn install(sim: Simulation, errors: bool, workers: usize) -> Rc<Self> {
        let world = Rc::new(Self {
            sim,
            arena: Rc::default(),
            errors,
            offices: RefCell::new((0..workers).map(|_| Office::default()).collect()),
            tally: RefCell::default(),
            tasks: RefCell::default(),
            finding: RefCell::default(),
            serial: Cell::new(0),
        });
        CURRENT.set(Some(Rc::clone(&world)));
        world
    }

    /// Lets go of all workers.
    pub(crate) fn close(&self) {
        let offices = self.offices.take();
        drop(offices);
    }

    pub(crate) fn uninstall() {
        drop(CURRENT.take());
    }

    pub(crate) fn current() -> Rc<Self> {
        let world = CURRENT.with_borrow(Clone::clone);
        world.expect("a program runs in a world")
    }

    pub(crate) fn count(&self, change: impl FnOnce(&mut Tally)) {
        change(&mut self.tally.borrow_mut());
    }

    pub(crate) fn serial(&self) -> u64 {
        self.serial.set(self.serial.get() + 1);
        self.serial.get()
    }

    /// Notes something that must not be; the first finding ends the run.
    pub(crate) fn fail(&self, what: impl Into<String>) {
        self.finding.borrow_mut().get_or_insert(what.into());
    }

    pub(crate) fn finding(&self) -> Option<String> {
        self.finding.borrow().clone()
    }

    /// Names the tasks that have not ended, and what they wait for.
    pub(crate) fn waiting(&self, servers: bool) -> Vec<String> {
        let tasks = self.tasks.borrow();
        let waiting = tasks.iter().enumerate().filter(|(_, task)| !task.ended);
        waiting
            .filter(|(_, task)| servers || !task.server)
            .map(|(id, task)| format!("task {id} of worker {} in {}", task.worker, task.step))
            .collect()
    }

    /// Says whether all tasks but servers have ended; with `servers`, all.
    pub(crate) fn is_over(&self, servers: bool) -> bool {
        let tasks = self.tasks.borrow();
        tasks
            .iter()
            .all(|task| task.ended || (task.server && !servers))
    }

    /// Counts the tasks of a worker that have not ended.
    pub(crate) fn live(&self, worker: usize) -> usize {
        let tasks = self.tasks.borrow();
        let live = tasks.iter().filter(|task| !task.ended);
        live.filter(|task| task.worker == worker).count()
    }
}

/// One task's place in its world. Lives in the task's future, so that its drop is the task's end.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) ctx: Ctx,
}

/// What a task, and each of its operations, needs: its decisions, and whose they are.
#[derive(Clone, Debug)]
pub(crate) struct Ctx {
    pub(crate) world: Rc<World>,
    pub(crate) rng: Rng,
    pub(crate) worker: usize,
    /// How many tasks are above this one.
    pub(crate) depth: usize,
    /// Of the worker: permits and notifications of its own.
    pub(crate) shared: Rc<Shared>,
    id: usize,
}

/// What the tasks of one worker share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) permits: Semaphore,
    pub(crate) notify: Notify,
}

impl Shared {
    pub(crate) fn new() -> Rc<Self> {
        Rc::new(Self {
            permits: Semaphore::new(2),
            notify: Notify::new(),
        })
    }
}

impl Task {
    pub(crate) fn new(rng: Rng, worker: usize, depth: usize, shared: Rc<Shared>) -> Self {
        let world = World::current();
        let id = world.tasks.borrow().len();
        world.tasks.borrow_mut().push(Doing {
            worker,
            step: "its beginning",
            ended: false,
            server: false,
        });
        world.count(|tally| tally.tasks += 1);
        let ctx = Ctx {
            world,
            rng,
            worker,
            depth,
            shared,
            id,
        };
        Self { ctx }
    }

    /// Makes one that ends when nobody has anything to ask any more.
    pub(crate) fn server(rng: Rng, worker: usize, shared: Rc<Shared>) -> Self {
        let task = Self::new(rng, worker, 0, shared);
        task.ctx.world.tasks.borrow_mut()[task.ctx.id].server = true;
        task
    }
}

impl Ctx {
    /// Makes a task of the same worker.
    pub(crate) fn child(&mut self) -> Task {
        let rng = self.rng.fork();
        Task::new(rng, self.worker, self.depth + 1, Rc::clone(&self.shared))
    }

    /// Makes one for an operation, with decisions of its own.
    pub(crate) fn fork(&mut self) -> Self {
        let rng = self.rng.fork();
        Self {
            rng,
            ..self.clone()
        }
    }

    /// Says what the task does next.
    pub(crate) fn begin(&self, step: &'static str) {
        self.world.tasks.borrow_mut()[self.id].step = step;
        self.world
            .sim
            .note(step, self.id as u64, self.worker as u64);
    }

    /// Takes the result of an operation, which may be one of the ring's errors.
    pub(crate) fn io<T>(&self, what: &'static str, result: io::Result<T>) -> Option<T> {
        let value = match &result {
            Ok(_) => 0,
            Err(error) => error.raw_os_error().unwrap_or(-1).unsigned_abs().into(),
        };
        self.world.sim.note(what, self.id as u64, value);
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.check(self.world.errors, || format!("{what}: {error}"));
                // 125: nobody but the one who dropped a future cancels.
                let stale = error.raw_os_error() == Some(125);
                self.check(!stale, || format!("{what} was cancelled by nobody"));
                None
            }
        }
    }

    /// Notes a finding unless `holds`.
    pub(crate) fn check(&self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            let (id, worker) = (self.id, self.worker);
            self.world
                .fail(format!("task {id} of worker {worker}: {}", what()));
        }
    }

    /// Holds bytes that were read at `offset` to those of a simulated file.
    pub(crate) fn check_bytes(&self, what: &'static str, bytes: &[u8], offset: u64) {
        let right = |(byte, at): (&u8, u64)| *byte == SimConfig::byte_at(at);
        let all_right = bytes.iter().zip(offset..).all(right);
        self.check(all_right, || format!("{what} at {offset}: wrong bytes"));
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        let Ctx { world, id, .. } = &self.ctx;
        world.tasks.borrow_mut()[*id].ended = true;
        world.sim.note("ended", *id as u64, 0);
    }
}
