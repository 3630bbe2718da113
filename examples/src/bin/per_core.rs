//! A task per core, and calls between them.
//!
//! Each core owns a counter that nobody else touches: no lock, no atomic, just an `Rc`. Whoever
//! wants to add to another core's counter sends a message there and awaits the answer. At the
//! end the counters must sum up to what was sent.
//!
//! Run it with `cargo run --release -p examples --bin per_core`.
#![deny(unsafe_code)]

use std::cell::Cell;
use std::error::Error;
use std::rc::Rc;

use clap::Parser;
use corelane::Executor;
use corelane::sync::{channel, oneshot};

/// Starts a task per core, lets each call all others, and checks the sums.
#[derive(Debug, Parser)]
struct Options {
    /// How many calls each core makes to each core.
    #[arg(long, default_value_t = 1_000)]
    calls: u64,
}

/// A call: add this, and tell me what the counter is then.
struct Call {
    amount: u64,
    reply: oneshot::Sender<u64>,
}

/// Calls that may wait at a core before senders have to.
const INBOX_LEN: usize = 64;

fn main() -> Result<(), Box<dyn Error>> {
    let Options { calls } = Options::parse();

    // One worker per core that this process may use, each pinned to its core.
    let executor = Executor::new()?;
    let workers = executor.workers();

    // Every core can reach every inbox; each inbox is read by its own core alone.
    let (outboxes, inboxes): (Vec<_>, Vec<_>) = (0..workers)
        .map(|_| channel::bounded::<Call>(INBOX_LEN))
        .unzip();

    let mut counters = Vec::new();
    for (worker, inbox) in inboxes.into_iter().enumerate() {
        // The closure travels to the core, the future it builds stays there: it may use `Rc`.
        counters.push(executor.spawn_on(worker, move || keep_counter(inbox))?);
    }
    let callers = executor.spawn_on_each({
        let outboxes = outboxes.clone();
        move |worker| call_all(worker, outboxes.clone(), calls)
    })?;
    // A core's inbox ends when the last of its senders is gone.
    drop(outboxes);

    let mut sent = 0;
    for caller in callers {
        // The first `?` is a task that panicked, the second what it returned.
        sent += executor.block_on(caller)??;
    }
    let mut counted = 0;
    for (worker, counter) in counters.into_iter().enumerate() {
        let count = executor.block_on(counter)?;
        println!(
            "worker {worker} on core {:?} counted {count}",
            executor.core_of(worker)
        );
        counted += count;
    }

    let expected = expected_sum(workers as u64, calls);
    println!("sent {sent}, counted {counted}, expected {expected}");
    if sent != expected || counted != expected {
        return Err("the sums differ".into());
    }
    Ok(())
}

/// Owns a core's counter: answers calls until nobody can call any more.
async fn keep_counter(mut inbox: channel::Receiver<Call>) -> u64 {
    // Shared by tasks of this core only.
    let counter = Rc::new(Cell::new(0));
    while let Some(call) = inbox.recv().await {
        let counter = Rc::clone(&counter);
        corelane::spawn_local(async move {
            counter.set(counter.get() + call.amount);
            // A caller that does not wait any more is no error.
            let _ = call.reply.send(counter.get());
        });
    }
    // Let the tasks finish that were spawned just now.
    while Rc::strong_count(&counter) > 1 {
        corelane::yield_now().await;
    }
    counter.get()
}

/// Calls each core, its own included, and returns the sum of what it sent.
async fn call_all(
    worker: usize,
    outboxes: Vec<channel::Sender<Call>>,
    calls: u64,
) -> Result<u64, String> {
    let mut sent = 0;
    for round in 0..calls {
        for outbox in &outboxes {
            let amount = amount(worker as u64, round);
            let (reply, answer) = oneshot::channel();
            outbox
                .send(Call { amount, reply })
                .await
                .map_err(|_| "a core is gone")?;
            let total = answer.await.map_err(|_| "a call was not answered")?;
            if total < amount {
                return Err(format!("a counter was {total} after {amount} was added"));
            }
            sent += amount;
        }
    }
    Ok(sent)
}

fn amount(worker: u64, round: u64) -> u64 {
    worker * 1_000 + round % 7 + 1
}

fn expected_sum(workers: u64, calls: u64) -> u64 {
    let of_worker = |worker| (0..calls).map(|round| amount(worker, round)).sum::<u64>();
    (0..workers).map(of_worker).sum::<u64>() * workers
}
