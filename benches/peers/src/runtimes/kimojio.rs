//! kimojio: `kimojio::run`, `operations::spawn_task`, `operations::pread` into borrowed memory; its
//! message pipes between threads, which send a pointer through a socket pair.

use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;

use kimojio::operations::{pread, spawn_task, yield_io};
use kimojio::{MessagePipe, make_message_pipe};

use crate::Failure;
use crate::cases::TASKS;
use crate::content::check_sum;
use crate::crowd::{Crowd, Share, short};
use crate::job::{Done, Job};

/// Runs it on a runtime of its own. That must own what it uses.
fn block_on<T: 'static>(
    future: impl Future<Output = Result<T, Failure>> + 'static,
) -> Result<T, Failure> {
    match kimojio::run(0, future) {
        Some(Ok(output)) => output,
        Some(Err(_)) => Err("the task panicked".into()),
        None => Err("the runtime was shut down".into()),
    }
}

pub(crate) fn read(crowd: &Arc<Crowd>) -> Result<Done, Failure> {
    crowd.on_each_core(|share, gate| {
        block_on(async move {
            let files = share.crowd.open()?.into_iter().map(OwnedFd::from);
            let files = Rc::new(files.collect());
            let work = async |reads| read_all(&files, &share, reads).await;
            share.run(gate, work).await
        })
    })
}

async fn read_all(files: &Rc<Vec<OwnedFd>>, share: &Share, reads: u64) -> Result<u64, Failure> {
    let mut tasks = Vec::new();
    for seed in share.seeds.clone() {
        let (files, share) = (Rc::clone(files), share.clone());
        tasks.push(spawn_task(async move {
            read_by(&files, &share, seed, reads).await
        }));
    }
    let mut sum = 0_u64;
    for task in tasks {
        sum = sum.wrapping_add(joined(task.await)??);
    }
    Ok(sum)
}

async fn read_by(files: &[OwnedFd], share: &Share, seed: u64, reads: u64) -> Result<u64, Failure> {
    let (mut buf, part) = share.aligned_buffer();
    let buf = &mut buf[part];
    let mut sum = 0_u64;
    for (file, pos) in share.places(seed, reads) {
        let got = pread(&files[file], buf, pos).await?;
        if got != buf.len() {
            return Err(short(got, pos));
        }
        sum = sum.wrapping_add(check_sum(buf));
    }
    Ok(sum)
}

/// A task's output; that it ended otherwise is not an error that can be sent.
fn joined<T, E: std::fmt::Debug>(output: Result<T, E>) -> Result<T, Failure> {
    output.map_err(|error| format!("a task did not end: {error:?}").into())
}

pub(crate) fn spawn(job: &Job) -> Result<Done, Failure> {
    let job = *job;
    block_on(async move {
        let work = async |ops| {
            let mut handles = Vec::with_capacity(100);
            let mut sum = 0;
            for _ in 0..ops / TASKS {
                handles.extend((0..TASKS).map(|task| spawn_task(async move { task })));
                for handle in handles.drain(..) {
                    sum += joined(handle.await)?;
                }
            }
            Ok(sum)
        };
        job.run(work).await
    })
}

pub(crate) fn yields(job: &Job) -> Result<Done, Failure> {
    let job = *job;
    block_on(async move {
        let work = async |ops| {
            let task = move || async move {
                let mut count = 0;
                for _ in 0..ops / TASKS {
                    yield_io().await;
                    count += 1;
                }
                count
            };
            let handles: Vec<_> = (0..TASKS).map(|_| spawn_task(task())).collect();
            let mut sum = 0;
            for handle in handles {
                sum += joined(handle.await)?;
            }
            Ok(sum)
        };
        job.run(work).await
    })
}

pub(crate) fn cross_core(job: &Job) -> Result<Done, Failure> {
    let job = *job;
    let (there, back): (MessagePipe<u64, u64>, _) = make_message_pipe();
    job.pair(
        move || {
            block_on(async move {
                let call = async |trips| {
                    let mut sum = 0;
                    for value in 0..trips {
                        there.send_message(Box::new(value)).await?;
                        sum += *there.recv_message().await?;
                    }
                    Ok(sum)
                };
                job.run(call).await
            })
        },
        move || {
            block_on(async move {
                for _ in 0..job.warm_up + job.ops {
                    let value = *back.recv_message().await?;
                    back.send_message(Box::new(value + 1)).await?;
                }
                Ok(())
            })
        },
    )
}
