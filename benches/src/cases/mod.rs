//! One file per case. A new case is a file here, a variant of [`Case`] and a line in
//! [`Case::run`]; its floor is in the same file, or in `floors` where it needs unsafe code.

mod adaptive;
mod cross_core;
mod one_pack;
mod queue_beside;
mod queue_classes;
mod queue_merge;
mod read_cached;
mod sleep;
mod spawn;
mod yield_now;

use std::thread;

use clap::ValueEnum;

use crate::environment::Cores;
use crate::{Options, Outcome};

/// What can be measured.
#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum Case {
    /// 32 tasks that read 4 KiB at random from a cached 1 GiB file, against a bare ring.
    ReadCached,
    /// Spawning 100 tasks that do nothing, and joining them.
    Spawn,
    /// 100 tasks that yield to each other.
    Yield,
    /// 100,000 timers: set and taken out, set and fired.
    Sleep,
    /// A message to another core and back, both asleep in between.
    CrossCore,
    /// Ways to issue reads, cached and cold, beside a task with a 1 ms timer.
    Adaptive,
    /// Entries of a pack, through the queue and one by one.
    QueueMerge,
    /// Urgent reads beside a flood, with classes and without.
    QueueClasses,
    /// A timer of 1 ms beside hot reads, cold reads and inflating.
    QueueBeside,
    /// Ranges of one file against those of many, from one core and from all.
    OnePack,
    /// All of them.
    All,
}

impl Case {
    pub(crate) fn run(self, options: &Options, cores: &Cores) -> Outcome {
        let case = match self {
            Self::ReadCached => read_cached::run,
            Self::Spawn => spawn::run,
            Self::Yield => yield_now::run,
            Self::Sleep => sleep::run,
            Self::CrossCore => cross_core::run,
            Self::Adaptive => adaptive::run,
            Self::QueueMerge => queue_merge::run,
            Self::QueueClasses => queue_classes::run,
            Self::QueueBeside => queue_beside::run,
            Self::OnePack => one_pack::run,
            Self::All => return Self::all().try_for_each(|case| case.run(options, cores)),
        };
        // On a thread of its own, so that its pin does not reach the next case.
        thread::scope(|scope| scope.spawn(|| case(options, cores)).join())
            .unwrap_or_else(|_| Err("the case panicked".into()))
    }

    fn all() -> impl Iterator<Item = Self> {
        let cases = Self::value_variants().iter().copied();
        cases.filter(|case| !matches!(case, Self::All))
    }
}
