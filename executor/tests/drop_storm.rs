//! Operations that are dropped, forgotten, aborted or shut down while they are in flight: nothing
//! is freed that the kernel may touch, and nothing is left behind.
//!
//! `CORELANE_STORM_ROUNDS` sets how many operations end in flight on the real ring, and on threads;
//! `CORELANE_STORM_SEEDS` how many seeds the simulated one, `CORELANE_STORM_SEED` where both begin.
//! `CORELANE_STORM_MINUTES` sets how long `nothing_grows` runs.

mod common;
mod storm;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use common::{number, quarantine};
use corelane::{BackendChoice, Config, SimConfig, Worker};
use storm::{Storm, World};

/// Descriptors are counted for the whole process: one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn on_the_real_ring() {
    let _alone = alone();
    if let Err(error) = Worker::new(Config::new().backend(BackendChoice::Uring)) {
        println!("SKIP: on_the_real_ring: {error}");
        return;
    }
    on_the_kernel("real ring", BackendChoice::Uring, 3000);
}

#[test]
fn on_threads_and_epoll() {
    let _alone = alone();
    on_the_kernel("threads", BackendChoice::Threads, 3000);
}

fn on_the_kernel(name: &str, backend: BackendChoice, rounds: u64) {
    let rounds = number("CORELANE_STORM_ROUNDS", rounds);
    let seed = number("CORELANE_STORM_SEED", 1);
    let world = World::new("storm", true);
    let mut storm = Storm::new(&world);
    let mut serial = 0;
    while storm.ended_in_flight() < rounds {
        storm.worker(seed + serial, backend);
        serial += 1;
    }
    quarantine::release();
    println!("{name}, seeds {seed}..{}: {storm}", seed + serial);
    if rounds >= 3000 {
        storm.assert_every_case_was_met();
    }
}

/// How often `nothing_grows` looks.
const SAMPLES: u32 = 40;
/// What the allocator may keep more of than before.
const RSS_SLACK_KIB: u64 = 4096;

/// Operations that are dropped, aborted and shut down, none forgotten, for as long as one likes:
/// after the first tenth of the time, memory and descriptors are what they will be. A short run, as
/// by default, says nothing of memory: the allocator still takes some, a sanitizer's for long.
#[test]
fn nothing_grows() {
    let _alone = alone();
    let minutes = number("CORELANE_STORM_MINUTES", 0);
    let time = Duration::from_secs((minutes * 60).max(2));
    let mut seed = number("CORELANE_STORM_SEED", 1);
    let world = World::new("storm-long", true);
    let mut storm = Storm::new(&world).without_forgetting();
    let start = Instant::now();
    println!("   seconds     workers  in flight at end    RSS KiB   fds      stalls");
    let mut settled: Option<Sample> = None;
    for sample in 1..=SAMPLES {
        while start.elapsed() < time * sample / SAMPLES {
            storm.worker(seed, BackendChoice::Auto);
            seed += 1;
        }
        quarantine::release();
        let now = Sample::take(&storm);
        println!(
            "{:10.1}  {:10}  {:17}  {:9}  {:4}  {:10}",
            start.elapsed().as_secs_f64(),
            storm.workers(),
            storm.ended_in_flight(),
            now.rss_kib,
            now.fds,
            now.stalls
        );
        if sample > SAMPLES / 10 {
            let settled = settled.get_or_insert(now);
            // What the kernel did not let go of in time may hold a descriptor.
            if now.stalls == settled.stalls {
                assert_eq!(now.fds, settled.fds);
            }
            let rss_max = settled.rss_kib + RSS_SLACK_KIB;
            assert!(
                minutes == 0 || now.rss_kib <= rss_max,
                "{} KiB, {rss_max} at most",
                now.rss_kib
            );
        }
    }
}

#[derive(Clone, Copy)]
struct Sample {
    rss_kib: u64,
    fds: usize,
    /// Workers that left operations in flight, which each report a stall.
    stalls: u64,
}

impl Sample {
    fn take(storm: &Storm<'_>) -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let rss = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .unwrap();
        Self {
            rss_kib: rss.trim().trim_end_matches(" kB").parse().unwrap(),
            fds: common::fds::open().len(),
            stalls: storm.stalls(),
        }
    }
}

#[test]
fn on_the_simulated_ring() {
    let _alone = alone();
    let seeds = number("CORELANE_STORM_SEEDS", 1000);
    let first = number("CORELANE_STORM_SEED", 1);
    let world = World::new("storm-sim", false);
    let mut storm = Storm::new(&world);
    for seed in first..first + seeds {
        let mut config = SimConfig::new(seed);
        config.short_percent = 20;
        config.error_percent = 10;
        config.stuck_percent = 30;
        storm.worker(seed, BackendChoice::Sim(config));
    }
    quarantine::release();
    println!("simulated ring, seeds {first}..{}: {storm}", first + seeds);
    if seeds >= 1000 {
        storm.assert_every_case_was_met();
    }
}
