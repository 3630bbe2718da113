//! What a seed decides before its program begins.

use std::time::Duration;

use corelane::{BackendChoice, Config, PoolConfig, SimConfig};

use crate::rng::Rng;

/// A program and the machine it runs on.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) workers: Vec<WorkerPlan>,
    /// Whether operations may fail.
    pub(crate) errors: bool,
    /// Whether the one worker owns its thread (`block_on`), instead of being turned.
    pub(crate) owns_thread: bool,
    /// Of a hundred turns, how many see the clock jump.
    pub(crate) jump_percent: usize,
    /// Of a hundred turns, how many see a task aborted.
    pub(crate) abort_percent: usize,
}

#[derive(Clone, Debug)]
pub(crate) struct WorkerPlan {
    pub(crate) config: Config,
    /// How many tasks, and how many steps each.
    pub(crate) tasks: Vec<usize>,
    /// When the worker ends, counted in turns of all; without it, when all tasks have.
    pub(crate) dies_at: Option<usize>,
    pub(crate) end: End,
}

/// How a worker ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    /// It is dropped.
    Drop,
    /// It is shut down, and its tasks have so long.
    Shutdown(Duration),
}

impl Plan {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let errors = rng.pick(&[0, 0, 3, 15]);
        let count = rng.pick(&[1, 1, 1, 2, 2, 3]);
        let holds = rng.percent(20);
        let workers = (0..count)
            .map(|number| worker(seed, number, errors, holds, &mut rng))
            .collect();
        Self {
            workers,
            errors: errors > 0,
            owns_thread: count == 1 && rng.percent(20),
            jump_percent: rng.pick(&[0, 0, 2, 10]),
            abort_percent: rng.pick(&[0, 0, 1, 4]),
        }
    }
}

fn worker(seed: u64, number: u64, errors: u8, holds: bool, rng: &mut Rng) -> WorkerPlan {
    let mut sim = SimConfig::new(seed.wrapping_mul(4).wrapping_add(number));
    sim.delay_max = rng.pick(&[0, 3, 8, 20]);
    sim.short_percent = rng.pick(&[0, 30, 80]);
    sim.error_percent = errors;
    sim.stuck_percent = rng.pick(&[0, 50, 100]);
    sim.hold_percent = if holds { 30 } else { 0 };
    let (sq, cq) = rng.pick(&[(1, 4), (2, 4), (8, 8), (4, 16), (64, 256)]);
    let mut config = Config::new()
        .sq_entries(sq)
        .cq_entries(cq)
        .peer_ops_max(rng.pick(&[2, 5, 1000]))
        .submit_bytes_max(rng.pick(&[4096, 100_000]))
        .poll_budget(rng.pick(&[1, 5, 256]))
        .pool(PoolConfig::new(3, 4096))
        .backend(BackendChoice::Sim(sim));
    let spin = rng.pick(&[None, Some(Duration::ZERO), Some(Duration::from_micros(40))]);
    config = config.poll_batch(rng.pick(&[1, 4, 32]));
    if let Some(spin) = spin {
        config = config.spin_before_park(spin);
    }
    // Some are crowded, so that queues are full and workers end with much in hand.
    let (tasks_max, steps_max) = rng.pick(&[(3, 6), (5, 10), (16, 12)]);
    let tasks = (0..1 + rng.below(tasks_max))
        .map(|_| 1 + rng.below(steps_max))
        .collect();
    let end = match rng.below(3) {
        // What the kernel holds is reported by a shutdown.
        0 if !holds => End::Drop,
        _ => End::Shutdown(rng.pick(&[
            Duration::ZERO,
            Duration::from_micros(100),
            Duration::from_millis(20),
        ])),
    };
    WorkerPlan {
        config,
        tasks,
        dies_at: rng.percent(40).then(|| rng.below(400)),
        end,
    }
}
