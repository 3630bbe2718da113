//! tokio-uring: `tokio_uring::start`, `tokio_uring::spawn`, `fs::File::read_at` with owned buffers;
//! tokio's own channel and `yield_now`, as it runs on tokio.

use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;

use tokio::task::yield_now;
use tokio_uring::buf::{BoundedBuf, BoundedBufMut};
use tokio_uring::fs::File;

use super::tokio_pair as pair;
use crate::Failure;
use crate::cases::TASKS;
use crate::content::check_sum;
use crate::crowd::{Crowd, Share, short};
use crate::job::{Done, Job};

pub(crate) fn read(crowd: &Arc<Crowd>) -> Result<Done, Failure> {
    crowd.on_each_core(|share, gate| {
        tokio_uring::start(async {
            let files = share.crowd.open()?.into_iter().map(File::from_std);
            let files = Rc::new(files.collect());
            let work = async |reads| read_all(&files, &share, reads).await;
            share.run(gate, work).await
        })
    })
}

async fn read_all(files: &Rc<Vec<File>>, share: &Share, reads: u64) -> Result<u64, Failure> {
    let mut tasks = Vec::new();
    for seed in share.seeds.clone() {
        let (files, share) = (Rc::clone(files), share.clone());
        tasks.push(tokio_uring::spawn(async move {
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
        sum = sum.wrapping_add(task.await??);
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
    B: BoundedBufMut + Deref<Target = [u8]>,
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
    tokio_uring::start(job.run(async |ops| {
        let mut handles = Vec::with_capacity(100);
        let mut sum = 0;
        for _ in 0..ops / TASKS {
            handles.extend((0..TASKS).map(|task| tokio_uring::spawn(async move { task })));
            for handle in handles.drain(..) {
                sum += handle.await?;
            }
        }
        Ok(sum)
    }))
}

pub(crate) fn yields(job: &Job) -> Result<Done, Failure> {
    tokio_uring::start(job.run(async |ops| {
        let task = move || async move {
            let mut count = 0;
            for _ in 0..ops / TASKS {
                yield_now().await;
                count += 1;
            }
            count
        };
        let handles: Vec<_> = (0..TASKS).map(|_| tokio_uring::spawn(task())).collect();
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
        move || tokio_uring::start(job.run(async |trips| caller.call(trips).await)),
        move || tokio_uring::start(echo.answer()),
    )
}

pub(crate) fn stream(job: &Job) -> Result<Done, Failure> {
    let (to, mut from) = pair::stream();
    let rounds = [job.warm_up, job.ops];
    job.pair(
        move || tokio_uring::start(job.run(async |count| pair::take(&mut from, count).await)),
        move || tokio_uring::start(pair::send(to, rounds)),
    )
}
