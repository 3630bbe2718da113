//! glommio: `LocalExecutorBuilder` with a fixed placement, `spawn_local`, `BufferedFile` and
//! `DmaFile`, which bring their own buffers; its own `shared_channel` between executors.

use std::rc::Rc;
use std::sync::Arc;

use core_affinity::CoreId;
use glommio::channels::shared_channel::new_bounded;
use glommio::io::{BufferedFile, DmaFile};
use glommio::timer::Timer;
use glommio::{LocalExecutor, LocalExecutorBuilder, Placement, executor, spawn_local};

use super::timers;
use crate::Failure;
use crate::cases::{TASKS, WINDOW};
use crate::content::check_sum;
use crate::crowd::{Crowd, Share, short};
use crate::job::{Done, Job};

fn on_core(core: CoreId) -> Result<LocalExecutor, Failure> {
    let builder = LocalExecutorBuilder::new(Placement::Fixed(core.id));
    builder.make().map_err(said)
}

/// Its errors can hold what must not leave the thread, so only their text does.
fn said<T>(error: glommio::GlommioError<T>) -> Failure
where
    glommio::GlommioError<T>: std::fmt::Display,
{
    error.to_string().into()
}

enum Files {
    Buffered(Vec<BufferedFile>),
    Direct(Vec<DmaFile>),
}

pub(crate) fn read(crowd: &Arc<Crowd>) -> Result<Done, Failure> {
    crowd.on_each_core(|share, gate| {
        let core = core_affinity::get_core_ids().and_then(|cores| cores.first().copied());
        // The thread is pinned: there is no other core that it may use.
        let core = core.ok_or("the core of this thread cannot be read")?;
        on_core(core)?.run(async {
            let files = Rc::new(open(&share.crowd).await?);
            let work = async |reads| read_all(&files, &share, reads).await;
            let check = share.run(gate, work).await;
            close(files).await?;
            check
        })
    })
}

async fn open(crowd: &Crowd) -> Result<Files, Failure> {
    if crowd.direct {
        let mut files = Vec::new();
        for path in &crowd.paths {
            files.push(DmaFile::open(path).await.map_err(said)?);
        }
        Ok(Files::Direct(files))
    } else {
        let mut files = Vec::new();
        for path in &crowd.paths {
            files.push(BufferedFile::open(path).await.map_err(said)?);
        }
        Ok(Files::Buffered(files))
    }
}

async fn close(files: Rc<Files>) -> Result<(), Failure> {
    match Rc::into_inner(files).ok_or("a task has not ended")? {
        Files::Buffered(files) => {
            for file in files {
                file.close().await.map_err(said)?;
            }
        }
        Files::Direct(files) => {
            for file in files {
                file.close().await.map_err(said)?;
            }
        }
    }
    Ok(())
}

async fn read_all(files: &Rc<Files>, share: &Share, reads: u64) -> Result<u64, Failure> {
    let mut tasks = Vec::new();
    for seed in share.seeds.clone() {
        let (files, share) = (Rc::clone(files), share.clone());
        tasks.push(spawn_local(async move {
            read_by(&files, &share, seed, reads).await
        }));
    }
    let mut sum = 0_u64;
    for task in tasks {
        sum = sum.wrapping_add(task.await?);
    }
    Ok(sum)
}

async fn read_by(files: &Files, share: &Share, seed: u64, reads: u64) -> Result<u64, Failure> {
    let len = share.read_len();
    let mut sum = 0_u64;
    for (file, pos) in share.places(seed, reads) {
        let result = match files {
            Files::Buffered(files) => files[file].read_at(pos, len).await,
            Files::Direct(files) => files[file].read_at_aligned(pos, len).await,
        };
        let buf = result.map_err(said)?;
        if buf.len() != len {
            return Err(short(buf.len(), pos));
        }
        sum = sum.wrapping_add(check_sum(&buf));
    }
    Ok(sum)
}

pub(crate) fn spawn(job: &Job) -> Result<Done, Failure> {
    on_core(job.cores[0])?.run(job.run(async |ops| {
        let mut handles = Vec::with_capacity(100);
        let mut sum = 0;
        for _ in 0..ops / TASKS {
            handles.extend((0..TASKS).map(|task| spawn_local(async move { task })));
            for handle in handles.drain(..) {
                sum += handle.await;
            }
        }
        Ok(sum)
    }))
}

pub(crate) fn yields(job: &Job) -> Result<Done, Failure> {
    on_core(job.cores[0])?.run(job.run(async |ops| {
        let task = move || async move {
            let mut count = 0;
            for _ in 0..ops / TASKS {
                executor().yield_now().await;
                count += 1;
            }
            count
        };
        let handles: Vec<_> = (0..TASKS).map(|_| spawn_local(task())).collect();
        let mut sum = 0;
        for handle in handles {
            sum += handle.await;
        }
        Ok(sum)
    }))
}

pub(crate) fn cross_core(job: &Job) -> Result<Done, Failure> {
    let (there, inbox) = new_bounded(1);
    let (back, answers) = new_bounded(1);
    job.pair(
        move || {
            on_core(job.cores[0])?.run(async {
                let there = there.connect().await;
                let answers = answers.connect().await;
                let call = async |trips| {
                    let mut sum = 0;
                    for value in 0..trips {
                        there.send(value).await.map_err(said)?;
                        sum += answers.recv().await.ok_or("the other side is gone")?;
                    }
                    Ok(sum)
                };
                job.run(call).await
            })
        },
        move || {
            on_core(job.cores[1])?.run(async {
                let inbox = inbox.connect().await;
                let back = back.connect().await;
                while let Some(value) = inbox.recv().await {
                    back.send(value + 1_u64).await.map_err(said)?;
                }
                Ok(())
            })
        },
    )
}

pub(crate) fn stream(job: &Job) -> Result<Done, Failure> {
    let (to, from) = new_bounded(WINDOW);
    let rounds = [job.warm_up, job.ops];
    job.pair(
        move || {
            on_core(job.cores[0])?.run(async {
                let from = from.connect().await;
                let take = async |count| {
                    let mut sum = 0;
                    for _ in 0..count {
                        sum += from.recv().await.ok_or("the sender is gone")?;
                    }
                    Ok(sum)
                };
                job.run(take).await
            })
        },
        move || {
            on_core(job.cores[1])?.run(async {
                let to = to.connect().await;
                for count in rounds {
                    for value in 0..count {
                        to.send(value).await.map_err(said)?;
                    }
                }
                Ok(())
            })
        },
    )
}

pub(crate) fn timers_cancel(job: &Job) -> Result<Done, Failure> {
    let sleep = |due: timers::Due| Timer::new(due.after);
    on_core(job.cores[0])?.run(async { timers::cancel(job, sleep) })
}

pub(crate) fn timers_fire(job: &Job) -> Result<Done, Failure> {
    let sleep = |due: timers::Due| Timer::new(due.after);
    let turn = async || executor().yield_now().await;
    on_core(job.cores[0])?.run(timers::fire(job, sleep, turn))
}
