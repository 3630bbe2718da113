//! 100,000 timers on one worker: set and taken out; set and fired.
//!
//! The floor keeps its wakers in a `BTreeMap` by deadline. Waiting does not count: the time is
//! that of setting the timers, and of what is due once all are.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use corelane::time::{Sleep, sleep_until};
use corelane::{Config, TurnBudget, Worker};

use crate::environment::Cores;
use crate::measure::{Contender, Sample, interleave};
use crate::{Failure, Options, Outcome};

const TIMERS: u32 = 100_000;
/// The timers that fire are due within this time of the first.
const DUE_WITHIN: Duration = Duration::from_millis(100);
/// How often setting them is begun anew where it took longer than that, with twice the time each.
const ATTEMPTS: u32 = 7;

pub(crate) fn run(options: &Options, cores: &Cores) -> Outcome {
    cores.pin()?;
    let worker = Worker::new(Config::default())?;
    let cancelled = vec![
        Contender::new("floor: BTreeMap", || Ok(map_cancel())),
        Contender::new("corelane", || sleeps_cancel(&worker)),
    ];
    interleave(
        options,
        "timers: set and take out",
        "timer",
        options.rounds,
        cancelled,
        &[],
    )?;
    let fired = vec![
        Contender::new("floor: BTreeMap", map_fire),
        Contender::new("corelane", || sleeps_fire(&worker)),
    ];
    interleave(
        options,
        "timers: set and fire",
        "timer",
        options.rounds,
        fired,
        &[],
    )
    .map(drop)
}

/// Deadlines in a fixed order that jumps about, `within` a span after `start`.
fn deadlines(start: Instant, within: Duration) -> impl Iterator<Item = Instant> {
    let step = within / TIMERS;
    // 7,919 is coprime to the count, so each place is met once.
    (0..u64::from(TIMERS)).map(move |index| {
        let place = u32::try_from(index * 7_919 % u64::from(TIMERS)).expect("below the count");
        start + step * place
    })
}

/// Makes sleeps and sets their timers. The worker is current.
fn set(deadlines: impl Iterator<Item = Instant>, sleeps: &mut Vec<Sleep>) {
    let mut cx = Context::from_waker(Waker::noop());
    sleeps.extend(deadlines.map(|deadline| {
        let mut sleep = sleep_until(deadline);
        // It is ready at once only when it is late already, which a check finds later.
        let _ = Pin::new(&mut sleep).poll(&mut cx);
        sleep
    }));
}

fn sleeps_cancel(worker: &Worker) -> Result<Sample, Failure> {
    let _entered = worker.enter();
    let mut sleeps = Vec::with_capacity(TIMERS as usize);
    let start = Instant::now() + Duration::from_secs(60);
    let (sample, set_count) = Sample::of(TIMERS.into(), || {
        set(deadlines(start, Duration::from_secs(3600)), &mut sleeps);
        let set_count = worker.stats().timers;
        sleeps.clear();
        set_count
    });
    let left = worker.stats().timers;
    if (set_count, left) != (TIMERS.into(), 0) {
        return Err(format!("{set_count} timers were set and {left} are left").into());
    }
    Ok(sample)
}

fn sleeps_fire(worker: &Worker) -> Result<Sample, Failure> {
    let _entered = worker.enter();
    let mut sleeps = Vec::with_capacity(TIMERS as usize);
    for attempt in 0..ATTEMPTS {
        // Far enough that none is due before all are set, unless something else has the core.
        let start = Instant::now() + DUE_WITHIN * 2_u32.pow(attempt);
        let (set, ()) = Sample::of(TIMERS.into(), || {
            set(deadlines(start, DUE_WITHIN), &mut sleeps)
        });
        if Instant::now() < start {
            return fire(worker, &mut sleeps, start, set);
        }
        sleeps.clear();
    }
    Err("timers were due before all were set: the machine is too busy".into())
}

/// Fires what was set; the first is due at `start`.
fn fire(
    worker: &Worker,
    sleeps: &mut [Sleep],
    start: Instant,
    set: Sample,
) -> Result<Sample, Failure> {
    let fired_before = worker.stats().timers_fired;
    std::thread::sleep(start + DUE_WITHIN * 2 - Instant::now());
    let mut cx = Context::from_waker(Waker::noop());
    let (fire, ready) = Sample::of(TIMERS.into(), || {
        // A turn fires a bounded number.
        while worker.turn(TurnBudget::default()).more_work {}
        sleeps
            .iter_mut()
            .filter_map(|sleep| Pin::new(sleep).poll(&mut cx).is_ready().then_some(()))
            .count()
    });
    let fired = worker.stats().timers_fired - fired_before;
    if fired != u64::from(TIMERS) || ready != sleeps.len() {
        return Err(format!("{fired} timers fired and {ready} sleeps ended").into());
    }
    Ok(Sample {
        elapsed: set.elapsed + fire.elapsed,
        cpu: set.cpu + fire.cpu,
        items: set.items,
    })
}

type Map = BTreeMap<(Instant, u32), Waker>;

fn fill(map: &mut Map, deadlines: impl Iterator<Item = Instant>) {
    map.extend(
        (0..)
            .zip(deadlines)
            .map(|(id, deadline)| ((deadline, id), Waker::noop().clone())),
    );
}

fn map_cancel() -> Sample {
    let mut map = Map::new();
    let start = Instant::now();
    let spread = || deadlines(start, Duration::from_secs(3600));
    let (sample, ()) = Sample::of(TIMERS.into(), || {
        fill(&mut map, spread());
        for (id, deadline) in (0..).zip(spread()) {
            map.remove(&(deadline, id));
        }
    });
    assert!(map.is_empty(), "what was inserted was removed");
    sample
}

fn map_fire() -> Result<Sample, Failure> {
    let mut map = Map::new();
    let start = Instant::now();
    let (sample, fired) = Sample::of(TIMERS.into(), || {
        fill(&mut map, deadlines(start, DUE_WITHIN));
        let now = start + DUE_WITHIN;
        let mut fired = 0;
        while let Some(first) = map.first_entry().filter(|first| first.key().0 <= now) {
            first.remove().wake();
            fired += 1;
        }
        fired
    });
    if fired != TIMERS {
        return Err(format!("{fired} entries were due").into());
    }
    Ok(sample)
}
