//! A simulated machine for whole programs: one thread, a virtual clock, and a log of all that its
//! rings were asked and answered.
//!
//! While a [`Simulation`] lives, workers made on its thread with
//! [`BackendChoice::Sim`](crate::BackendChoice::Sim) take part in it: no time passes but what the
//! rings and the program let pass, and nothing is decided but by seeds. Two runs that do the same
//! have the same [`digest`](Simulation::digest), so a run that went wrong can be had again.
//!
//! What takes threads is outside of it: the blocking pool, directory listings, name resolution.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::rc::Rc;
use std::time::{Duration, Instant};

mod event;

pub(crate) use event::Event;

thread_local! {
    static CURRENT: RefCell<Option<Rc<Machine>>> = const { RefCell::new(None) };
}

/// Makes the calling thread a simulated machine until it is dropped.
#[derive(Debug)]
pub struct Simulation {
    machine: Rc<Machine>,
}

/// What the rings of a simulation have done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SimCounters {
    /// Operations submitted.
    pub submitted: u64,
    /// Completions that gave what was asked.
    pub completed: u64,
    /// Completions of reads and writes that moved fewer bytes than asked.
    pub short: u64,
    /// Completions with an error.
    pub failed: u64,
    /// Completions of operations that a cancel request ended (`ECANCELED`).
    pub cancelled: u64,
    /// Cancel requests that ended an operation.
    pub cancels_won: u64,
    /// Cancel requests that found nothing (`ENOENT`).
    pub cancels_missed: u64,
    /// Cancel requests that came too late, or twice (`EALREADY`).
    pub cancels_late: u64,
    /// Enters that were turned away (`EAGAIN`, `EBUSY`).
    pub enters_refused: u64,
    /// Pushes that found the submission queue full.
    pub queue_full: u64,
    /// Completions that did not fit the completion queue.
    pub overflowed: u64,
    /// Kicks that a ring has seen.
    pub kicks: u64,
    /// Operations that the kernel did not let go of when they were cancelled.
    pub held: u64,
}

/// Uses the memory of operations that outlived their ring.
pub(crate) type Late = Box<dyn FnMut()>;

pub(crate) struct Machine {
    start: Instant,
    elapsed: Cell<Duration>,
    digest: Cell<u64>,
    events: Cell<u64>,
    trace: bool,
    counters: Cell<SimCounters>,
    rings: Cell<u32>,
    late: RefCell<Vec<Late>>,
}

impl Simulation {
    /// Begins one on the calling thread. With `trace`, each event is printed to standard output.
    ///
    /// # Panics
    ///
    /// Panics when the thread is a simulated machine already.
    #[must_use]
    pub fn new(trace: bool) -> Self {
        let machine = Rc::new(Machine {
            start: Instant::now(),
            elapsed: Cell::default(),
            digest: Cell::new(Digest::START),
            events: Cell::default(),
            trace,
            counters: Cell::default(),
            rings: Cell::default(),
            late: RefCell::default(),
        });
        CURRENT.with_borrow_mut(|current| {
            assert!(current.is_none(), "a thread is one simulated machine");
            *current = Some(Rc::clone(&machine));
        });
        Self { machine }
    }

    /// Returns the virtual time.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.machine.now()
    }

    /// Returns how much virtual time has passed.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.machine.elapsed.get()
    }

    /// Lets time pass: a task that takes long, a machine that was stopped.
    pub fn advance(&self, duration: Duration) {
        self.machine.log(&Event::Advanced {
            by_ns: duration.as_nanos(),
        });
        self.machine.advance(duration);
    }

    /// Adds an event of the program's to the log.
    pub fn note(&self, what: &'static str, number: u64, value: u64) {
        self.machine.log(&Event::Note {
            what,
            number,
            value,
        });
    }

    /// Returns what the rings have done.
    #[must_use]
    pub fn counters(&self) -> SimCounters {
        self.machine.counters.get()
    }

    /// Returns a hash of the log so far.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.machine.digest.get()
    }

    /// Returns how many events the log has.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.machine.events.get()
    }

    /// Uses the memory of the operations whose ring is gone and which the kernel has never let go
    /// of, as a kernel would: it must be there for ever.
    ///
    /// # Panics
    ///
    /// Panics when somebody else has changed it.
    pub fn use_held_memory(&self) {
        for late in &mut *self.machine.late.borrow_mut() {
            late();
        }
    }
}

impl Drop for Simulation {
    fn drop(&mut self) {
        drop(CURRENT.take());
    }
}

impl Machine {
    pub(crate) fn now(&self) -> Instant {
        self.start + self.elapsed.get()
    }

    pub(crate) fn advance(&self, duration: Duration) {
        self.elapsed.set(self.elapsed.get() + duration);
    }

    /// Numbers a ring.
    pub(crate) fn ring(&self) -> u32 {
        let number = self.rings.get();
        self.rings.set(number + 1);
        number
    }

    pub(crate) fn count(&self, change: impl FnOnce(&mut SimCounters)) {
        let mut counters = self.counters.get();
        change(&mut counters);
        self.counters.set(counters);
    }

    pub(crate) fn log(&self, event: &Event) {
        let number = self.events.get();
        self.events.set(number + 1);
        let mut digest = Digest(self.digest.get());
        (self.elapsed.get(), event).hash(&mut digest);
        self.digest.set(digest.finish());
        if self.trace {
            println!("{number:6} {:>12?} {event:?}", self.elapsed.get());
        }
    }

    pub(crate) fn add_late(&self, late: Late) {
        self.late.borrow_mut().push(late);
    }
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Machine")
            .field("elapsed", &self.elapsed)
            .field("events", &self.events)
            .finish_non_exhaustive()
    }
}

/// Returns the machine that the thread is, if it is one.
pub(crate) fn machine() -> Option<Rc<Machine>> {
    CURRENT
        .try_with(|current| current.borrow().clone())
        .ok()
        .flatten()
}

/// Returns the virtual time, on a simulated machine.
pub(crate) fn now() -> Option<Instant> {
    let now = |current: &RefCell<Option<Rc<Machine>>>| {
        current.borrow().as_ref().map(|machine| machine.now())
    };
    CURRENT.try_with(now).ok().flatten()
}

/// Lets virtual time pass; false where there is none.
pub(crate) fn advance(duration: Duration) -> bool {
    let machine = machine();
    if let Some(machine) = &machine {
        machine.advance(duration);
    }
    machine.is_some()
}

/// FNV-1a: the same on every run, which the standard library's hashers do not promise.
struct Digest(u64);

impl Digest {
    const START: u64 = 0xcbf2_9ce4_8422_2325;
}

impl Hasher for Digest {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_time_passes_by_itself_and_none_after_the_end() {
        let simulation = Simulation::new(false);
        let start = simulation.now();
        assert_eq!(now(), Some(start));
        simulation.advance(Duration::from_secs(3600));
        assert_eq!(now(), Some(start + Duration::from_secs(3600)));
        assert!(advance(Duration::from_secs(1)));
        assert_eq!(simulation.elapsed(), Duration::from_secs(3601));
        drop(simulation);
        assert_eq!(now(), None);
        assert!(!advance(Duration::from_secs(1)));
    }

    #[test]
    fn a_second_machine_is_refused_and_the_first_goes_on() {
        let simulation = Simulation::new(false);
        let refused = std::panic::catch_unwind(|| Simulation::new(false));
        assert!(refused.is_err());
        simulation.advance(Duration::from_secs(7));
        assert_eq!(now(), Some(simulation.now()));
    }

    #[test]
    fn the_digest_tells_order_and_values_apart() {
        let digest = |notes: &[(&'static str, u64)]| {
            let simulation = Simulation::new(false);
            for (what, value) in notes {
                simulation.note(what, 0, *value);
            }
            simulation.digest()
        };
        let first = digest(&[("a", 1), ("b", 2)]);
        assert_eq!(first, digest(&[("a", 1), ("b", 2)]));
        assert_ne!(first, digest(&[("b", 2), ("a", 1)]));
        assert_ne!(first, digest(&[("a", 1), ("b", 3)]));
    }
}
