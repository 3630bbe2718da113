//! Spawning 100 tasks that do nothing and joining them.
//!
//! The floor is what any executor pays that gives each task memory of its own: box a future, put
//! it into a queue, take it out, poll it, free it. It has neither handles nor wakers nor panics.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use corelane::{Config, Worker};

use crate::environment::Cores;
use crate::measure::{Contender, Sample, interleave};
use crate::{Options, Outcome};

const TASKS: u64 = 100;
const TIMES: u64 = 2_000;

pub(crate) fn run(options: &Options, cores: &Cores) -> Outcome {
    cores.pin()?;
    let worker = Worker::new(Config::default())?;
    let contenders = vec![
        Contender::new("floor: boxed futures in a queue", || {
            let (sample, sum) = Sample::of(TASKS * TIMES, boxed);
            check(sum)?;
            Ok(sample)
        }),
        Contender::new("corelane", || {
            let (sample, sum) = Sample::of(TASKS * TIMES, || worker.block_on(spawned()));
            check(sum)?;
            Ok(sample)
        }),
    ];
    interleave(
        options,
        "spawn and join 100 tasks",
        "task",
        options.rounds,
        contenders,
        &[],
    )
    .map(drop)
}

async fn spawned() -> u64 {
    let mut sum = 0;
    let mut handles = Vec::with_capacity(100);
    for _ in 0..TIMES {
        handles.extend((0..TASKS).map(|task| corelane::spawn_local(async move { task })));
        for handle in handles.drain(..) {
            sum += handle.await.expect("the task does nothing");
        }
    }
    sum
}

fn boxed() -> u64 {
    let mut sum = 0;
    let mut cx = Context::from_waker(Waker::noop());
    let mut queue: VecDeque<Pin<Box<dyn Future<Output = u64>>>> = VecDeque::with_capacity(100);
    for _ in 0..TIMES {
        queue.extend((0..TASKS).map(|task| Box::pin(async move { task }) as Pin<Box<_>>));
        while let Some(mut future) = queue.pop_front() {
            if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
                sum += output;
            }
        }
    }
    sum
}

fn check(sum: u64) -> Outcome {
    let expected = TIMES * (0..TASKS).sum::<u64>();
    if sum == expected {
        return Ok(());
    }
    Err(format!("the tasks gave {sum} instead of {expected}").into())
}
