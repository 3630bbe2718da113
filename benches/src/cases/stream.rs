//! Messages from one core to another as fast as they go, at most 256 on the way.
//!
//! The floor is the standard library's bounded channel between two threads.

use std::cell::Cell;
use std::sync::mpsc::sync_channel;
use std::thread;

use core_affinity::CoreId;
use corelane::Executor;
use corelane::sync::channel::{Receiver, Sender, bounded};

use crate::crowd::{executor_on, parking_on};
use crate::environment::{Cores, pin};
use crate::measure::{Contender, Sample, Timer, interleave};
use crate::{Failure, Options, Outcome};

const WINDOW: usize = 256;
const MESSAGES: u64 = 500_000;

pub(crate) fn run(options: &Options, cores: &Cores) -> Outcome {
    let Some(pair) = cores.pair() else {
        println!("\nstream: skipped, as this process may use one core only");
        return Ok(());
    };
    let executor = executor_on(&pair)?;
    let parking = parking_on(&pair)?;
    let kicks = [const { Cell::new(0) }; 3];
    let contenders = vec![
        Contender::new("floor: std's sync_channel", || threads(pair)),
        Contender::new("corelane, one by one", || {
            workers(&executor, &kicks[0], |inbox| Box::pin(one_by_one(inbox)))
        }),
        Contender::new("corelane, by batches", || {
            workers(&executor, &kicks[1], |inbox| Box::pin(by_batches(inbox)))
        }),
        Contender::new("corelane, parking at once", || {
            workers(&parking, &kicks[2], |inbox| Box::pin(one_by_one(inbox)))
        }),
    ];
    let rounds = options.rounds;
    let title = "stream: a window of 256";
    interleave(options, title, "message", rounds, contenders, &[])?;
    let messages = (u64::from(rounds) + 1) * MESSAGES;
    let per_thousand = kicks.map(|kicks| kicks.get() * 1_000 / messages);
    let [one_by_one, by_batches, parking] = per_thousand;
    println!(
        "  kicks of a parked worker per 1,000 messages: {one_by_one} one by one, {by_batches} by batches, \
         {parking} parking at once"
    );
    Ok(())
}

type Receiving = std::pin::Pin<Box<dyn Future<Output = u64>>>;

fn workers(
    executor: &Executor,
    kicks: &Cell<u64>,
    receive: fn(Receiver<u64>) -> Receiving,
) -> Result<Sample, Failure> {
    let kicks_sent = || executor.stats().iter().map(|it| it.kicks_sent).sum::<u64>();
    let kicks_before = kicks_sent();
    let (outbox, inbox) = bounded(WINDOW);
    let timer = Timer::start();
    let receiver = executor.spawn_on(1, move || receive(inbox))?;
    let sender = executor.spawn_on(0, move || send(outbox))?;
    executor.block_on(sender)?;
    let sum = executor.block_on(receiver)?;
    let sample = timer.stop(MESSAGES);
    kicks.set(kicks.get() + kicks_sent() - kicks_before);
    check(sum)?;
    Ok(sample)
}

async fn send(outbox: Sender<u64>) {
    for value in 0..MESSAGES {
        outbox.send(value).await.expect("the other side receives");
    }
}

async fn one_by_one(mut inbox: Receiver<u64>) -> u64 {
    let mut sum = 0;
    while let Some(value) = inbox.recv().await {
        sum += value;
    }
    sum
}

async fn by_batches(mut inbox: Receiver<u64>) -> u64 {
    let mut sum = 0;
    let mut batch = Vec::with_capacity(WINDOW);
    while inbox.recv_batch(&mut batch, WINDOW).await > 0 {
        sum += batch.drain(..).sum::<u64>();
    }
    sum
}

fn threads([one, two]: [CoreId; 2]) -> Result<Sample, Failure> {
    let (outbox, inbox) = sync_channel(WINDOW);
    let timer = Timer::start();
    let sum = thread::scope(|scope| {
        let receiver = scope.spawn(move || {
            pin(two)?;
            Ok::<u64, Failure>(inbox.iter().sum())
        });
        let sender = scope.spawn(move || {
            pin(one)?;
            for value in 0..MESSAGES {
                outbox.send(value)?;
            }
            Ok::<(), Failure>(())
        });
        sender.join().map_err(|_| "the sender panicked")??;
        receiver.join().map_err(|_| "the receiver panicked")?
    })?;
    let sample = timer.stop(MESSAGES);
    check(sum)?;
    Ok(sample)
}

fn check(sum: u64) -> Outcome {
    let expected = (0..MESSAGES).sum::<u64>();
    if sum == expected {
        return Ok(());
    }
    Err(format!("the messages sum up to {sum} instead of {expected}").into())
}
