//! monoio: `RuntimeBuilder::<IoUringDriver>`, `monoio::spawn`, `fs::File::read_at` with owned
//! buffers; flume between threads, with the feature `sync`.

use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_lite::future::yield_now;
use monoio::buf::{IoBufMut, SliceMut};
use monoio::fs::File;
use monoio::time::{Instant, TimeDriver, sleep_until};
use monoio::{IoUringDriver, Runtime, RuntimeBuilder};

#[cfg(feature = "monoio-sync")]
use super::flume_pair as pair;
use super::timers;
use crate::Failure;
use crate::cases::TASKS;
use crate::content::check_sum;
use crate::crowd::{Crowd, Share, short};
use crate::job::{Done, Job};

pub(crate) fn runtime() -> Result<Runtime<IoUringDriver>, Failure> {
    Ok(RuntimeBuilder::<IoUringDriver>::new().build()?)
}

fn runtime_with_timer() -> Result<Runtime<TimeDriver<IoUringDriver>>, Failure> {
    Ok(RuntimeBuilder::<IoUringDriver>::new()
        .enable_timer()
        .build()?)
}

pub(crate) fn read(crowd: &Arc<Crowd>) -> Result<Done, Failure> {
    crowd.on_each_core(|share, gate| {
        runtime()?.block_on(async {
            let files = share.crowd.open()?.into_iter().map(File::from_std);
            let files = Rc::new(files.collect::<Result<_, _>>()?);
            let work = async |reads| read_all(&files, &share, reads).await;
            share.run(gate, work).await
        })
    })
}

async fn read_all(files: &Rc<Vec<File>>, share: &Share, reads: u64) -> Result<u64, Failure> {
    let mut tasks = Vec::new();
    for seed in share.seeds.clone() {
        let (files, share) = (Rc::clone(files), share.clone());
        tasks.push(monoio::spawn(async move {
            if share.crowd.direct {
                let (buf, aligned) = share.aligned_buffer();
                let buf = SliceMut::new(buf, aligned.start, aligned.end);
                read_by(&files, &share, seed, reads, buf).await
            } else {
                let buf = share.buffer();
                read_by(&files, &share, seed, reads, buf).await
            }
        }));
    }
    let mut sum = 0_u64;
    for task in tasks {
        sum = sum.wrapping_add(task.await?);
    }
    Ok(sum)
}

async fn read_by<B>(
    files: &[File],
    share: &Share,
    seed: u64,
    reads: u64,
    mut buf: B,
) -> Result<u64, Failure>
where
    B: IoBufMut + Deref<Target = [u8]>,
{
    let mut sum = 0_u64;
    for (file, pos) in share.places(seed, reads) {
        let (got, back) = files[file].read_at(buf, pos).await;
        buf = back;
        let got = got?;
        if got != share.read_len() {
            return Err(short(got, pos));
        }
        sum = sum.wrapping_add(check_sum(&buf));
    }
    Ok(sum)
}

pub(crate) fn spawn(job: &Job) -> Result<Done, Failure> {
    runtime()?.block_on(job.run(async |ops| {
        let mut handles = Vec::with_capacity(100);
        let mut sum = 0;
        for _ in 0..ops / TASKS {
            handles.extend((0..TASKS).map(|task| monoio::spawn(async move { task })));
            for handle in handles.drain(..) {
                sum += handle.await;
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
        let handles: Vec<_> = (0..TASKS).map(|_| monoio::spawn(task())).collect();
        let mut sum = 0;
        for handle in handles {
            sum += handle.await;
        }
        Ok(sum)
    }))
}

#[cfg(feature = "monoio-sync")]
pub(crate) fn cross_core(job: &Job) -> Result<Done, Failure> {
    let pair::Trip { caller, echo } = pair::Trip::new();
    job.pair(
        move || runtime()?.block_on(job.run(async |trips| caller.call(trips).await)),
        move || runtime()?.block_on(echo.answer()),
    )
}

#[cfg(feature = "monoio-sync")]
pub(crate) fn stream(job: &Job) -> Result<Done, Failure> {
    let (to, from) = pair::stream();
    let rounds = [job.warm_up, job.ops];
    job.pair(
        move || runtime()?.block_on(job.run(async |count| pair::take(&from, count).await)),
        move || runtime()?.block_on(pair::send(to, rounds)),
    )
}

pub(crate) fn timers_cancel(job: &Job) -> Result<Done, Failure> {
    let sleep = |due: timers::Due| sleep_until(Instant::from_std(due.at));
    runtime_with_timer()?.block_on(async { timers::cancel(job, sleep) })
}

pub(crate) fn timers_fire(job: &Job) -> Result<Done, Failure> {
    let sleep = |due: timers::Due| sleep_until(Instant::from_std(due.at));
    // Timers are looked at when the thread parks, which a task that yields does not let it.
    let turn = || monoio::time::sleep(Duration::from_millis(1));
    runtime_with_timer()?.block_on(timers::fire(job, sleep, turn))
}
