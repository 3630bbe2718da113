//! Operations that are dropped, forgotten, aborted or shut down while they are in flight: nothing
//! is freed that the kernel may touch, and nothing is left behind.
//!
//! `CORELANE_STORM_ROUNDS` sets how many operations end in flight on the real ring, and on threads;
//! `CORELANE_STORM_SEEDS` how many seeds the simulated one, `CORELANE_STORM_SEED` where both begin.

mod common;
mod storm;

use std::sync::{Mutex, MutexGuard, PoisonError};

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
