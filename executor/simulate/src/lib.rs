//! Whole programs on a simulated ring: tasks, channels, timers, files, sockets and blob queues on
//! one or more workers of one thread, and everything that happens to them decided by one seed.
//!
//! The ring reorders, delays, shortens, fails and holds completions; its queues are as short as
//! they may be; clocks jump, tasks are aborted, workers end in the middle. A program is checked as
//! it runs and when it is at rest:
//!
//! - memory of the kernel's is neither touched, moved nor freed while an operation is in flight,
//!   nor ever where the kernel does not let go;
//! - what is read is right, and nothing is written once it is back;
//! - no wake is lost: when nothing can happen any more, every task has ended;
//! - no slot, buffer or descriptor is left but those of operations that were forgotten;
//! - every future ends with its worker, and nothing panics.
//!
//! A seed that fails replays: [`run`] gives the same [`Report::digest`] each time.
#![deny(unsafe_code)]

use std::cell::RefCell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::{Mutex, Once, PoisonError};

use corelane::sim::{SimCounters, Simulation};

mod arena;
mod drive;
mod fds;
mod ops;
mod plan;
mod quarantine;
mod rng;
mod world;

pub use world::Tally;

use drive::Drive;
use plan::Plan;
use world::World;

/// How a seed is run.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Most turns of a program, all workers together.
    pub turns_max: usize,
    /// Whether the log is printed.
    pub trace: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            turns_max: 200_000,
            trace: false,
        }
    }
}

/// What one seed has met.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    /// What the rings have done.
    pub counters: SimCounters,
    /// What the program has done.
    pub tally: Tally,
    /// A hash of all that happened.
    pub digest: u64,
    /// How many events that were.
    pub events: u64,
}

/// A seed that has broken something.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {}: {}", self.seed, self.what)
    }
}

impl std::error::Error for Failure {}

/// Runs the program of a seed.
///
/// # Errors
///
/// Says what the seed has broken. What the program then leaves behind is not cleaned up.
pub fn run(seed: u64, options: &Options) -> Result<Report, Failure> {
    // Descriptors are counted for the whole process: one seed at a time.
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    watch_panics();
    PANIC.set(None);
    let ran = catch_unwind(AssertUnwindSafe(|| run_seed(seed, options)));
    // A panic in a task ends that task only: it is known by the hook.
    let panicked = PANIC.take();
    let result = match (ran, panicked) {
        (_, Some(what)) => Err(what),
        (Err(_), None) => Err("a panic that says nothing".into()),
        (Ok(result), None) => result,
    };
    World::uninstall();
    result.map_err(|what| Failure { seed, what })
}

fn run_seed(seed: u64, options: &Options) -> Result<Report, String> {
    let before = fds::open().map_err(|error| error.to_string())?;
    let plan = Plan::new(seed);
    let world = World::install(
        Simulation::new(options.trace),
        plan.errors,
        plan.workers.len(),
    );
    let mut drive = Drive::new(Rc::clone(&world), seed, plan)?;
    drive.run(options.turns_max)?;
    drop(drive);
    world.close();
    check_leaks(&world, &before)?;
    Ok(Report {
        counters: world.sim.counters(),
        tally: *world.tally.borrow(),
        digest: world.sim.digest(),
        events: world.sim.events(),
    })
}

fn check_leaks(
    world: &World,
    before: &std::collections::BTreeSet<std::os::fd::RawFd>,
) -> Result<(), String> {
    let forgotten = usize::try_from(world.tally.borrow().forgotten).unwrap_or(usize::MAX);
    let held = usize::try_from(world.sim.counters().held).unwrap_or(usize::MAX);
    let live = world.arena.live();
    // A vectored read has some buffers.
    if live < forgotten || live > forgotten + 4 * held {
        return Err(format!(
            "{live} of {} buffers are left; {forgotten} were forgotten, {held} are held",
            world.arena.made()
        ));
    }
    let after = fds::open().map_err(|error| error.to_string())?;
    let left: Vec<_> = after.difference(before).copied().collect();
    // A worker's eventfd stays for the workers after it.
    let left: Vec<_> = left
        .into_iter()
        .filter(|fd| !fds::is_eventfd(*fd))
        .collect();
    if left.len() < forgotten || left.len() > forgotten + held {
        return Err(format!(
            "{} descriptors are left; {forgotten} operations were forgotten, {held} are held",
            left.len()
        ));
    }
    fds::close_forgotten(left);
    Ok(())
}

thread_local! {
    /// The first panic of the seed, unless it was on purpose (`resume_unwind` calls no hook).
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

fn watch_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        std::panic::set_hook(Box::new(|info| {
            let what = info.to_string();
            // The process may not live to tell later.
            eprintln!("{what}");
            PANIC.with(|first| {
                if let Ok(mut first) = first.try_borrow_mut() {
                    first.get_or_insert(what.replace('\n', " "));
                }
            });
        }));
    });
}
