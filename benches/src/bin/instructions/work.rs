//! The operations that are counted. Each case does its operation as often as it is told, and
//! nothing else that grows with that.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io::Write;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use blobio::queue::limits::{Bounds, Limits};
use blobio::queue::order::Policy;
use blobio::queue::{BlobQueue, OnError, QueueConfig, Request};
use blobio::{Destination, NativeFileAsyncBlobRandomReader, RandomReadBlobAsync, ReadHow};
use clap::ValueEnum;
use corelane::sync::channel::bounded;
use corelane::{Config, Worker, spawn_local, time, yield_now};

use crate::Failure;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum Case {
    /// Spawn a task that returns a number, run it, join it.
    Spawn,
    /// Wake a task of the same worker, and poll it.
    Wake,
    /// Yield to the other tasks.
    Yield,
    /// Set a timer and take it out.
    Sleep,
    /// Read 4 KiB of a cached file: all but the kernel's part.
    Read,
    /// The same through blobio's reader.
    BlobRead,
    /// Read 4 KiB at most of it into memory of its own.
    EntryRead,
    /// The same through a queue, in batches; what it takes more is the queue's.
    QueueRead,
    /// Send a number through a bounded channel of 256 to another task of the worker, one by one.
    Message,
}

impl Case {
    pub(crate) fn name(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// Tasks that work at the same time, where a case has several.
const TASKS: u64 = 32;
const READ_LEN: usize = 4096;
/// Reads of a batch.
const BATCH: u64 = 10_000;

pub(crate) fn run(case: Case, times: u64) -> Result<(), Failure> {
    // Counted, time runs slowly: a turn that ended by the clock would count as more instructions.
    let config = Config::default().reap_interval(Duration::from_secs(60));
    let worker = Worker::new(config)?;
    match case {
        Case::Spawn => worker.block_on(spawn(times)),
        Case::Wake => worker.block_on(wake(times)),
        Case::Yield => worker.block_on(yields(times)),
        Case::Sleep => worker.block_on(sleep(times)),
        Case::Read => worker.block_on(read(times)),
        Case::BlobRead => worker.block_on(blob_read(times)),
        Case::EntryRead => worker.block_on(entry_read(times)),
        Case::QueueRead => worker.block_on(queue_read(times)),
        Case::Message => worker.block_on(message(times)),
    }
}

async fn spawn(times: u64) -> Result<(), Failure> {
    let mut handles = Vec::with_capacity(100);
    for round in 0..times / 100 {
        handles.extend((0..100).map(|task| spawn_local(async move { round + task })));
        for handle in handles.drain(..) {
            handle.await?;
        }
    }
    Ok(())
}

/// Two tasks that wake each other in turn.
async fn wake(times: u64) -> Result<(), Failure> {
    let turns = Rc::<Cell<u64>>::default();
    let wakers = Rc::new([Cell::new(None::<Waker>), Cell::new(None)]);
    let player = |me: usize| {
        let (turns, wakers) = (Rc::clone(&turns), Rc::clone(&wakers));
        poll_fn(move |cx| {
            if turns.get() % 2 == me as u64 {
                turns.set(turns.get() + 1);
                if let Some(other) = wakers[1 - me].take() {
                    other.wake();
                }
            }
            if turns.get() >= times {
                return Poll::Ready(());
            }
            wakers[me].set(Some(cx.waker().clone()));
            Poll::Pending
        })
    };
    let handles = [spawn_local(player(0)), spawn_local(player(1))];
    for handle in handles {
        handle.await?;
    }
    Ok(())
}

async fn yields(times: u64) -> Result<(), Failure> {
    let task = |_| {
        spawn_local(async move {
            for _ in 0..times / TASKS {
                yield_now().await;
            }
        })
    };
    for handle in (0..TASKS).map(task).collect::<Vec<_>>() {
        handle.await?;
    }
    Ok(())
}

async fn sleep(times: u64) -> Result<(), Failure> {
    for _ in 0..times {
        let mut sleep = pin!(time::sleep(Duration::from_secs(60)));
        let set = poll_fn(|cx| Poll::Ready(sleep.as_mut().poll(cx).is_pending()));
        if !set.await {
            return Err("a sleep of a minute was over at once".into());
        }
    }
    Ok(())
}

async fn read(times: u64) -> Result<(), Failure> {
    let mut file = tempfile::tempfile()?;
    file.write_all(&[7; 64 * READ_LEN])?;
    let file = Rc::new(corelane::fs::File::from_std(file));
    let task = |seed| {
        let file = Rc::clone(&file);
        spawn_local(async move {
            let mut buf = Vec::with_capacity(READ_LEN);
            for round in 0..times / TASKS {
                let at = (seed * 7 + round * 13) % 64 * READ_LEN as u64;
                let (read, back) = file.read_at(buf, at).await;
                buf = back;
                if !matches!(read, Ok(READ_LEN)) || buf[READ_LEN - 1] != 7 {
                    return Err(format!("the read at {at} gave {read:?}"));
                }
            }
            Ok(())
        })
    };
    for handle in (0..TASKS).map(task).collect::<Vec<_>>() {
        handle.await??;
    }
    Ok(())
}

async fn blob_read(times: u64) -> Result<(), Failure> {
    let mut file = tempfile::tempfile()?;
    file.write_all(&[7; 64 * READ_LEN])?;
    let blob = NativeFileAsyncBlobRandomReader::from(corelane::fs::File::from_std(file));
    let task = |seed| {
        let blob = blob.clone();
        spawn_local(async move {
            let mut buf = Vec::with_capacity(READ_LEN);
            for round in 0..times / TASKS {
                let at = (seed * 7 + round * 13) % 64 * READ_LEN as u64;
                let (read, back) = blob.read_owned_async(at, READ_LEN, buf).await;
                buf = back;
                if !matches!(read, Ok(READ_LEN)) || buf[READ_LEN - 1] != 7 {
                    return Err(format!("the read at {at} gave {read:?}"));
                }
            }
            Ok(())
        })
    };
    for handle in (0..TASKS).map(task).collect::<Vec<_>>() {
        handle.await??;
    }
    Ok(())
}

/// Gives the position and the length of an entry of a file of 64 times [`READ_LEN`], scattered.
fn entry(number: u64) -> (u64, usize) {
    let len = 512 + (number * 8) % 3072;
    let at = (number * 13) % 63 * READ_LEN as u64 + (number * 24) % 512;
    (at, usize::try_from(len).unwrap_or(READ_LEN))
}

fn entries_file() -> Result<NativeFileAsyncBlobRandomReader, Failure> {
    let mut file = tempfile::tempfile()?;
    file.write_all(&[7; 64 * READ_LEN])?;
    Ok(corelane::fs::File::from_std(file).into())
}

async fn entry_read(times: u64) -> Result<(), Failure> {
    let blob = entries_file()?;
    let step = usize::try_from(TASKS)?;
    let task = |first| {
        let blob = blob.clone();
        spawn_local(async move {
            for number in (first..times).step_by(step) {
                let (at, len) = entry(number);
                let dest = Destination::from(Vec::with_capacity(len));
                let (read, dest) = blob.read_into_async(at, len, dest, ReadHow::NoWait).await;
                if read? != len || dest.bytes()[len - 1] != 7 {
                    return Err::<(), Failure>(format!("the entry at {at} is wrong").into());
                }
            }
            Ok(())
        })
    };
    for handle in (0..TASKS).map(task).collect::<Vec<_>>() {
        handle.await??;
    }
    Ok(())
}

async fn queue_read(times: u64) -> Result<(), Failure> {
    let bounds = Bounds {
        ops: u32::try_from(TASKS)?,
        bytes: 64 << 20,
    };
    let queue = BlobQueue::new(QueueConfig {
        in_flight: Limits {
            classes: [bounds; 4],
            all: bounds,
        },
        // Counted, time runs slowly: nothing is to grow old by it.
        policy: Policy {
            age_after_ns: u64::MAX,
            ..Policy::default()
        },
        ..QueueConfig::default()
    })?;
    let blob = queue.register(entries_file()?);
    for first in (0..times).step_by(usize::try_from(BATCH)?) {
        let entries = (first..times.min(first + BATCH)).map(entry);
        let requests = entries.map(|(at, len)| Request::vec(&blob, at, len));
        let batch = queue
            .submit_batch(requests.collect(), OnError::Cancel)
            .await
            .map_err(|refused| refused.to_string())?;
        let (error, results) = match batch.await {
            done if done.first_error.is_none() => (None, done.results),
            done => (done.first_error, done.results),
        };
        let wrong = |read: &&blobio::queue::Finished| read.bytes().last() != Some(&7);
        if let Some(read) = results.iter().find(wrong) {
            return Err(format!("of a batch, {error:?} failed: {:?}", read.result).into());
        }
    }
    Ok(())
}

async fn message(times: u64) -> Result<(), Failure> {
    let (outbox, mut inbox) = bounded(256);
    let sender = spawn_local(async move {
        for value in 0..times {
            outbox.send(value).await?;
        }
        Ok::<(), Failure>(())
    });
    let mut sum = 0;
    while let Some(value) = inbox.recv().await {
        sum += value;
    }
    sender.await??;
    if sum == (0..times).sum::<u64>() {
        return Ok(());
    }
    Err(format!("the messages sum up to {sum}").into())
}
