//! 100 tasks that yield to each other.
//!
//! The floor polls boxed futures in a circle, without a waker that does anything.

use std::cell::Cell;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Waker};

use corelane::{Config, Worker};

use crate::environment::Cores;
use crate::measure::{Contender, Sample, interleave};
use crate::{Options, Outcome};

const TASKS: u64 = 100;
const YIELDS: u64 = 5_000;

pub(crate) fn run(options: &Options, cores: &Cores) -> Outcome {
    cores.pin()?;
    let worker = Worker::new(Config::default())?;
    let contenders = vec![
        Contender::new("floor: boxed futures in a circle", || {
            let (sample, count) = Sample::of(TASKS * YIELDS, circle);
            check(count)?;
            Ok(sample)
        }),
        Contender::new("corelane", || {
            let (sample, count) = Sample::of(TASKS * YIELDS, || worker.block_on(tasks()));
            check(count)?;
            Ok(sample)
        }),
    ];
    interleave(
        options,
        "yield among 100 tasks",
        "yield",
        options.rounds,
        contenders,
        &[],
    )
    .map(drop)
}

async fn yielding(count: Rc<Cell<u64>>) {
    for _ in 0..YIELDS {
        corelane::yield_now().await;
        count.set(count.get() + 1);
    }
}

async fn tasks() -> u64 {
    let count = Rc::<Cell<u64>>::default();
    let spawn = |_| corelane::spawn_local(yielding(Rc::clone(&count)));
    let handles: Vec<_> = (0..TASKS).map(spawn).collect();
    for handle in handles {
        handle.await.expect("a task that only yields");
    }
    count.get()
}

fn circle() -> u64 {
    let count = Rc::<Cell<u64>>::default();
    let mut cx = Context::from_waker(Waker::noop());
    let make = |_| Box::pin(yielding(Rc::clone(&count))) as Pin<Box<dyn Future<Output = ()>>>;
    let mut queue: VecDeque<_> = (0..TASKS).map(make).collect();
    while let Some(mut future) = queue.pop_front() {
        if future.as_mut().poll(&mut cx).is_pending() {
            queue.push_back(future);
        }
    }
    count.get()
}

fn check(count: u64) -> Outcome {
    let expected = TASKS * YIELDS;
    if count == expected {
        return Ok(());
    }
    Err(format!("{count} yields instead of {expected}").into())
}
