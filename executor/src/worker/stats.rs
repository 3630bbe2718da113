//! What a worker has done and has in hand.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Core;
use crate::stall::Watch;
use crate::trace;

macro_rules! stats {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// A snapshot of a worker's counters. Counts grow from the worker's start; gauges, named
        /// so, are the state of the moment.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Stats {
            $($(#[$doc])* pub $name: u64,)*
        }

        /// The counters as another thread sees them: as of the end of the last turn.
        #[derive(Debug, Default)]
        pub(crate) struct Published {
            $($name: AtomicU64,)*
        }

        impl Published {
            fn store(&self, stats: &Stats) {
                $(self.$name.store(stats.$name, Ordering::Relaxed);)*
            }

            pub(crate) fn load(&self) -> Stats {
                Stats { $($name: self.$name.load(Ordering::Relaxed),)* }
            }
        }
    };
}

stats! {
    /// Turns.
    turns,
    /// Task polls.
    polls,
    /// Operations submitted to the backend.
    submits,
    /// Calls of `io_uring_enter`.
    enters,
    /// Completions of operations.
    completions,
    /// Gauge: operations that the kernel works on.
    in_flight,
    /// The most slots of operations that were ever in use.
    slots_high_water,
    /// Gauge: slots of operations in use, completed and waiting ones included.
    slots,
    /// The most operations that ever waited for a credit.
    queued_high_water,
    /// Kicks that this worker sent to others that were parked.
    kicks_sent,
    /// Wakes, spawns and messages for which this worker had to be kicked.
    kicks_received,
    /// Waits in the ring.
    parks,
    /// Times that the completion queue was found to have overflowed.
    overflows,
    /// Polls that went on for longer than
    /// [`Config::stall_threshold`](crate::Config::stall_threshold).
    stalls,
    /// Timers that fired.
    timers_fired,
    /// Gauge: timers that are set.
    timers,
    /// Gauge: tasks that are not finished.
    tasks,
}

/// Counters that the worker itself keeps.
#[derive(Debug, Default)]
pub(super) struct Meter {
    pub(super) turns: Cell<u64>,
    pub(super) polls: Cell<u64>,
    pub(super) kicks: Cell<u64>,
    pub(super) parks: Cell<u64>,
    pub(super) timers_fired: Cell<u64>,
}

pub(super) fn add(counter: &Cell<u64>, count: usize) {
    counter.set(counter.get() + count as u64);
}

impl Core {
    pub(crate) fn stats(&self) -> Stats {
        let driver = self.driver.borrow();
        let counters = driver.counters();
        let (slots, slots_high_water) = driver.slots();
        Stats {
            turns: self.meter.turns.get(),
            polls: self.meter.polls.get(),
            submits: counters.submitted,
            enters: counters.enters,
            completions: counters.completed,
            in_flight: driver.in_flight() as u64,
            slots_high_water: slots_high_water as u64,
            slots: slots as u64,
            queued_high_water: counters.queued_high_water as u64,
            kicks_sent: self.local.kicks_sent(),
            kicks_received: self.meter.kicks.get(),
            parks: self.meter.parks.get(),
            overflows: counters.overflows,
            stalls: self.local.watch().map_or(0, Watch::stalls),
            timers_fired: self.meter.timers_fired.get(),
            timers: self.timers.borrow().len() as u64,
            tasks: self.local.task_count() as u64,
        }
    }

    pub(super) fn publish_stats(&self) {
        let stats = self.stats();
        if trace::ON && stats.overflows > self.published.overflows.load(Ordering::Relaxed) {
            trace::overflowed(stats.overflows);
        }
        self.published.store(&stats);
    }
}
