//! compio: `Runtime::new`, `compio::runtime::spawn`, `AsyncReadAt` with owned buffers; flume between
//! threads.

use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;

use compio::BufResult;
use compio::buf::{IoBuf, IoBufMut};
use compio::fs::{File, OpenOptions};
use compio::io::AsyncReadAt;
use compio::runtime::Runtime;
use compio::time::sleep_until;
use futures_lite::future::yield_now;

use super::{flume_pair as pair, timers};
use crate::Failure;
use crate::cases::TASKS;
use crate::content::check_sum;
use crate::crowd::{Crowd, Share, short};
use crate::job::{Done, Job};

pub(crate) fn read(crowd: &Arc<Crowd>) -> Result<Done, Failure> {
    crowd.on_each_core(|share, gate| {
        Runtime::new()?.block_on(async {
            let mut files = Vec::new();
            for path in &share.crowd.paths {
                let mut options = OpenOptions::new();
                options.read(true).custom_flags(share.crowd.flags());
                files.push(options.open(path).await?);
            }
            let files = Rc::new(files);
            let work = async |reads| read_all(&files, &share, reads).await;
            share.run(gate, work).await
        })
    })
}

async fn read_all(files: &Rc<Vec<File>>, share: &Share, reads: u64) -> Result<u64, Failure> {
    let mut tasks = Vec::new();
    for seed in share.seeds.clone() {
        let (files, share) = (Rc::clone(files), share.clone());
        tasks.push(compio::runtime::spawn(async move {
            if share.crowd.direct {
                let (buf, aligned) = share.aligned_buffer();
                read_by(&files, &share, seed, reads, buf.slice(aligned)).await
            } else {
                let buf = share.buffer();
                read_by(&files, &share, seed, reads, buf).await
            }
        }));
    }
    let mut sum = 0_u64;
    for task in tasks {
        sum = sum.wrapping_add(joined(task.await)??);
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
        let BufResult(got, back) = files[file].read_at(buf, pos).await;
        buf = back;
        let got = got?;
        if got != share.read_len() {
            return Err(short(got, pos));
        }
        sum = sum.wrapping_add(check_sum(&buf));
    }
    Ok(sum)
}

/// A task's output; that it panicked is not an error that can be sent.
fn joined<T, E: std::fmt::Debug>(output: Result<T, E>) -> Result<T, Failure> {
    output.map_err(|error| format!("a task panicked: {error:?}").into())
}

pub(crate) fn spawn(job: &Job) -> Result<Done, Failure> {
    Runtime::new()?.block_on(job.run(async |ops| {
        let mut handles = Vec::with_capacity(100);
        let mut sum = 0;
        for _ in 0..ops / TASKS {
            handles.extend((0..TASKS).map(|task| compio::runtime::spawn(async move { task })));
            for handle in handles.drain(..) {
                sum += joined(handle.await)?;
            }
        }
        Ok(sum)
    }))
}

pub(crate) fn yields(job: &Job) -> Result<Done, Failure> {
    Runtime::new()?.block_on(job.run(async |ops| {
        let task = move || async move {
            let mut count = 0;
            for _ in 0..ops / TASKS {
                yield_now().await;
                count += 1;
            }
            count
        };
        let handles: Vec<_> = (0..TASKS).map(|_| compio::runtime::spawn(task())).collect();
        let mut sum = 0;
        for handle in handles {
            sum += joined(handle.await)?;
        }
        Ok(sum)
    }))
}

pub(crate) fn cross_core(job: &Job) -> Result<Done, Failure> {
    let pair::Trip { caller, echo } = pair::Trip::new();
    job.pair(
        move || Runtime::new()?.block_on(job.run(async |trips| caller.call(trips).await)),
        move || Runtime::new()?.block_on(echo.answer()),
    )
}

pub(crate) fn stream(job: &Job) -> Result<Done, Failure> {
    let (to, from) = pair::stream();
    let rounds = [job.warm_up, job.ops];
    job.pair(
        move || Runtime::new()?.block_on(job.run(async |count| pair::take(&from, count).await)),
        move || Runtime::new()?.block_on(pair::send(to, rounds)),
    )
}

pub(crate) fn timers_cancel(job: &Job) -> Result<Done, Failure> {
    Runtime::new()?.block_on(async { timers::cancel(job, |due| sleep_until(due.at)) })
}

pub(crate) fn timers_fire(job: &Job) -> Result<Done, Failure> {
    Runtime::new()?.block_on(timers::fire(job, |due| sleep_until(due.at), yield_now))
}
