//! A message to another core and back. Nobody has anything else to do: workers that park at once are
//! asleep when their message comes, others look for it for a while.
//!
//! The floor is two threads that unpark each other around an atomic counter.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use core_affinity::CoreId;
use corelane::Executor;
use corelane::sync::channel::{Receiver, Sender, bounded};

use crate::crowd::{executor_on, parking_on};
use crate::environment::{Cores, pin};
use crate::measure::{Contender, Sample, Timer, interleave};
use crate::{Failure, Options, Outcome};

const TRIPS: u64 = 5_000;

pub(crate) fn run(options: &Options, cores: &Cores) -> Outcome {
    let Some(pair) = cores.pair() else {
        println!("\ncross_core: skipped, as this process may use one core only");
        return Ok(());
    };
    let executor = executor_on(&pair)?;
    let parking = parking_on(&pair)?;
    let contenders = vec![
        Contender::new("floor: thread park and unpark", || threads(pair)),
        Contender::new("corelane, bounded channels", || workers(&executor)),
        Contender::new("corelane, parking at once", || workers(&parking)),
    ];
    interleave(
        options,
        "cross_core round trip",
        "trip",
        options.rounds,
        contenders,
        &[],
    )
    .map(drop)
}

fn workers(executor: &Executor) -> Result<Sample, Failure> {
    let (there, inbox) = bounded(1);
    let (back, answers) = bounded(1);
    let echo = executor.spawn_on(1, move || echo(inbox, back))?;
    let caller = executor.spawn_on(0, move || call(there, answers))?;
    let (sample, sum) = executor.block_on(caller)?;
    executor.block_on(echo)?;
    check(sum)?;
    Ok(sample)
}

async fn echo(mut inbox: Receiver<u64>, back: Sender<u64>) {
    while let Some(value) = inbox.recv().await {
        back.send(value + 1).await.expect("the caller waits for it");
    }
}

async fn call(there: Sender<u64>, mut answers: Receiver<u64>) -> (Sample, u64) {
    let timer = Timer::start();
    let mut sum = 0;
    for value in 0..TRIPS {
        there.send(value).await.expect("the other side echoes");
        sum += answers.recv().await.expect("each value comes back");
    }
    (timer.stop(TRIPS), sum)
}

/// Even counts are the caller's to raise, odd ones the other's.
fn threads([one, two]: [CoreId; 2]) -> Result<Sample, Failure> {
    let count = Arc::new(AtomicU64::new(0));
    let caller = thread::spawn({
        let count = Arc::clone(&count);
        move || {
            let pinned = pin(one).is_ok();
            // The other thread introduces itself by its first unpark.
            let other = other_thread(two, &count, thread::current());
            let timer = Timer::start();
            let mut sum = 0;
            for trip in 0..TRIPS {
                count.store(trip * 2 + 1, Ordering::Release);
                other.thread().unpark();
                wait_for(&count, trip * 2 + 2);
                sum += trip + 1;
            }
            let sample = timer.stop(TRIPS);
            (pinned && other.join().unwrap_or(false)).then_some((sample, sum))
        }
    });
    let (sample, sum) = caller
        .join()
        .map_err(|_| "a thread panicked")?
        .ok_or("a thread could not be pinned")?;
    check(sum)?;
    Ok(sample)
}

fn other_thread(
    core: CoreId,
    count: &Arc<AtomicU64>,
    caller: thread::Thread,
) -> thread::JoinHandle<bool> {
    let count = Arc::clone(count);
    thread::spawn(move || {
        let pinned = pin(core).is_ok();
        for trip in 0..TRIPS {
            wait_for(&count, trip * 2 + 1);
            count.store(trip * 2 + 2, Ordering::Release);
            caller.unpark();
        }
        pinned
    })
}

fn wait_for(count: &AtomicU64, value: u64) {
    while count.load(Ordering::Acquire) < value {
        thread::park();
    }
}

fn check(sum: u64) -> Outcome {
    let expected = (1..=TRIPS).sum::<u64>();
    if sum == expected {
        return Ok(());
    }
    Err(format!("the answers sum up to {sum} instead of {expected}").into())
}
