//! One file per case. A new case is a file here, a variant of [`Case`] and a line in
//! [`Case::run`]; its floor is in the same file, or in `floors` where it needs unsafe code.

mod adaptive;
mod cross_core;
mod http;
mod lore;
mod memory;
mod one_pack;
mod queue_beside;
mod queue_classes;
mod queue_merge;
mod read_128k;
mod read_cached;
mod read_direct;
mod scaling;
mod server;
mod spawn;
mod stream;
mod timers;
mod yield_now;

use std::thread;

use clap::ValueEnum;

use crate::environment::Cores;
use crate::floors::ring_or_refused;
use crate::{Options, Outcome};

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum Case {
    /// 32 tasks that read 4 KiB at random from a cached 1 GiB file, against a bare ring.
    ReadCached,
    /// The same past the page cache: what a read costs the processor.
    ReadDirect,
    /// lore-io's warm workloads on all cores: 4 KiB with 128 in flight, 64 KiB with 64.
    Lore,
    /// 32 tasks that read 128 KiB at random from one file, cached and not (tokio-rs/tokio#8367).
    #[value(name = "read_128k")]
    Read128k,
    /// Spawning 100 tasks that do nothing, and joining them.
    Spawn,
    /// 100 tasks that yield to each other.
    Yield,
    /// 100,000 timers: set and taken out, set and fired.
    #[value(alias = "sleep")]
    Timers,
    /// A message to another core and back, both asleep in between.
    CrossCore,
    /// Messages to another core, at most 256 on the way.
    Stream,
    /// Answers of 13 bytes over 64 kept connections.
    Http,
    /// The asset server against nginx.
    Server,
    /// Several workers against one, for cached reads.
    Scaling,
    /// Bytes of a task, and resident memory of a worker.
    Memory,
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
    /// Runs those that were asked for, one after the other. One that fails does not keep the next
    /// one from running.
    pub(crate) fn run_all(options: &Options, cores: &Cores) -> Outcome {
        let all = options.cases.is_empty() || options.cases.contains(&Self::All);
        let asked: Vec<Self> = if all {
            let cases = Self::value_variants().iter().copied();
            cases.filter(|case| *case != Self::All).collect()
        } else {
            options.cases.clone()
        };
        let refused = ring_or_refused()?.err();
        let mut failed = Vec::new();
        for case in asked {
            let name = case.to_possible_value().expect("no case is hidden");
            options.journal.begin(name.get_name());
            if let Some(why) = &refused {
                println!(
                    "\n{}: {why}, so corelane is on threads and epoll",
                    name.get_name()
                );
            }
            if let Err(error) = case.run(options, cores) {
                println!("\n{}: failed: {error}", name.get_name());
                failed.push(name.get_name().to_owned());
            }
        }
        if failed.is_empty() {
            return Ok(());
        }
        Err(format!("failed: {}", failed.join(", ")).into())
    }

    fn run(self, options: &Options, cores: &Cores) -> Outcome {
        let case = match self {
            Self::ReadCached => read_cached::run,
            Self::ReadDirect => read_direct::run,
            Self::Lore => lore::run,
            Self::Read128k => read_128k::run,
            Self::Spawn => spawn::run,
            Self::Yield => yield_now::run,
            Self::Timers => timers::run,
            Self::CrossCore => cross_core::run,
            Self::Stream => stream::run,
            Self::Http => http::run,
            Self::Server => server::run,
            Self::Scaling => scaling::run,
            Self::Memory => memory::run,
            Self::Adaptive => adaptive::run,
            Self::QueueMerge => queue_merge::run,
            Self::QueueClasses => queue_classes::run,
            Self::QueueBeside => queue_beside::run,
            Self::OnePack => one_pack::run,
            Self::All => return Err("a list of cases is no case".into()),
        };
        // On a thread of its own, so that its pin does not reach the next case.
        thread::scope(|scope| scope.spawn(|| case(options, cores)).join())
            .unwrap_or_else(|_| Err("the case panicked".into()))
    }
}
