//! tokio: a runtime of one thread, `tokio::spawn`, `tokio::sync::mpsc`, `tokio::time`.

use tokio::runtime::{Builder, Runtime};
use tokio::task::{unconstrained, yield_now};
use tokio::time::{Instant, sleep_until};

use super::{timers, tokio_pair as pair};
use crate::Failure;
use crate::cases::TASKS;
use crate::job::{Done, Job};

fn runtime() -> Result<Runtime, Failure> {
    Ok(Builder::new_current_thread().enable_all().build()?)
}

pub(crate) fn spawn(job: &Job) -> Result<Done, Failure> {
    runtime()?.block_on(job.run(async |ops| {
        let mut handles = Vec::with_capacity(100);
        let mut sum = 0;
        for _ in 0..ops / TASKS {
            handles.extend((0..TASKS).map(|task| tokio::spawn(async move { task })));
            for handle in handles.drain(..) {
                sum += handle.await?;
            }
        }
        Ok(sum)
    }))
}

pub(crate) fn yields(job: &Job) -> Result<Done, Failure> {
    runtime()?.block_on(job.run(async |ops| {
        let task = move || async move {
            let mut count = 0;
            for _ in 0..ops / TASKS {
                yield_now().await;
                count += 1;
            }
            count
        };
        let handles: Vec<_> = (0..TASKS).map(|_| tokio::spawn(task())).collect();
        let mut sum = 0;
        for handle in handles {
            sum += handle.await?;
        }
        Ok(sum)
    }))
}

pub(crate) fn cross_core(job: &Job) -> Result<Done, Failure> {
    let pair::Trip { mut caller, echo } = pair::Trip::new();
    job.pair(
        move || runtime()?.block_on(job.run(async |trips| caller.call(trips).await)),
        move || runtime()?.block_on(echo.answer()),
    )
}

pub(crate) fn stream(job: &Job) -> Result<Done, Failure> {
    let (to, mut from) = pair::stream();
    let rounds = [job.warm_up, job.ops];
    job.pair(
        move || runtime()?.block_on(job.run(async |count| pair::take(&mut from, count).await)),
        move || runtime()?.block_on(pair::send(to, rounds)),
    )
}

pub(crate) fn timers_cancel(job: &Job) -> Result<Done, Failure> {
    let sleep = |due: timers::Due| sleep_until(Instant::from_std(due.at));
    runtime()?.block_on(async { timers::cancel(job, sleep) })
}

pub(crate) fn timers_fire(job: &Job) -> Result<Done, Failure> {
    let sleep = |due: timers::Due| sleep_until(Instant::from_std(due.at));
    // All sleeps are polled by one task, which would have to yield after each 128.
    runtime()?.block_on(unconstrained(timers::fire(job, sleep, yield_now)))
}
