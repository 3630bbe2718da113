//! Many timers, set and taken out, or set and fired.
//!
//! A sleep stays where it is from when it is polled first, so each has a place of its own, made
//! before time is taken.

use std::pin::Pin;
use std::task::{Context, Waker};
use std::thread;
use std::time::{Duration, Instant};

use crate::Failure;
use crate::job::{Done, Job};
use crate::measure::{Sample, Timer};

/// The timers that fire are due within this time of the first.
const DUE_WITHIN: Duration = Duration::from_millis(100);
/// Turns of the runtime in which what is due must fire.
const TURNS_MAX: u32 = 1_000;

type Places<S> = Vec<Pin<Box<Option<S>>>>;

/// When a timer is due, said in both ways that runtimes want it.
#[derive(Clone, Copy)]
pub(super) struct Due {
    pub(super) at: Instant,
    pub(super) after: Duration,
}

/// Sets timers and takes them out again. The check counts those that waited.
pub(super) fn cancel<S: Future>(job: &Job, sleep: impl Fn(Due) -> S) -> Result<Done, Failure> {
    let round = |count: u64| {
        let mut places = places(count);
        let timer = Timer::start();
        let waiting = set(
            &mut places,
            Duration::from_secs(60),
            Duration::from_secs(3600),
            &sleep,
        );
        for place in &mut places {
            place.set(None);
        }
        Done {
            sample: timer.stop(count),
            check: waiting,
        }
    };
    round(job.warm_up);
    Ok(round(job.ops))
}

/// Sets timers, waits until all are due, and lets the runtime turn until they have fired. Waiting
/// does not count. The check counts those that fired.
pub(super) async fn fire<S: Future>(
    job: &Job,
    sleep: impl Fn(Due) -> S,
    turn: impl AsyncFn(),
) -> Result<Done, Failure> {
    let mut places = places(job.ops);
    let set_timer = Timer::start();
    // Far enough that hardly one is due before all are set.
    set(&mut places, DUE_WITHIN, DUE_WITHIN, &sleep);
    let set = set_timer.stop(job.ops);
    thread::sleep(DUE_WITHIN * 3);
    let fire_timer = Timer::start();
    let mut fired = 0;
    for place in &mut places {
        let mut turns = 0;
        while !poll(place) {
            turns += 1;
            if turns > TURNS_MAX {
                return Err("a timer that is due does not fire".into());
            }
            turn().await;
        }
        fired += 1;
    }
    let fire = fire_timer.stop(job.ops);
    Ok(Done {
        sample: Sample {
            elapsed: set.elapsed + fire.elapsed,
            cpu: set.cpu + fire.cpu,
            items: job.ops,
        },
        check: fired,
    })
}

fn places<S>(count: u64) -> Places<S> {
    (0..count).map(|_| Box::pin(None)).collect()
}

/// Sets a timer in each place, in a fixed order that jumps about, and counts those that wait.
fn set<S: Future>(
    places: &mut Places<S>,
    first: Duration,
    within: Duration,
    sleep: &impl Fn(Due) -> S,
) -> u64 {
    let count = places.len() as u64;
    let step = within / u32::try_from(count).expect("not so many timers");
    let start = Instant::now();
    let mut waiting = 0;
    for (index, place) in (0..count).zip(places) {
        // 7,919 is a prime, so each time is met once unless the count is a multiple of it.
        let number = u32::try_from(index * 7_919 % count).expect("below the count");
        let after = first + step * number;
        let due = Due {
            at: start + after,
            after,
        };
        place.set(Some(sleep(due)));
        waiting += u64::from(!poll(place));
    }
    waiting
}

/// Polls a sleep, and says whether it is over; one that is over is not polled again.
fn poll<S: Future>(place: &mut Pin<Box<Option<S>>>) -> bool {
    let mut cx = Context::from_waker(Waker::noop());
    let Some(sleep) = place.as_mut().as_pin_mut() else {
        return true;
    };
    let over = sleep.poll(&mut cx).is_ready();
    if over {
        place.set(None);
    }
    over
}
