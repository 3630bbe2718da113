//! Completions are looked for while tasks never rest: one reaches its task within the reap
//! interval and one poll, at the price of at most one enter per batch of polls.

mod support;

use std::cell::Cell;
use std::io::Write;
use std::os::unix::net::UnixStream as UnixStd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use corelane::net::UnixStream;
use corelane::{Config, TurnBudget, Worker, yield_now};

use support::HUNG;

const BUSY: usize = 64;
const POLL_BATCH: usize = 32;

/// A worker with 64 tasks that never rest, each poll of which takes `poll_time`.
fn busy(config: Config, poll_time: Duration) -> (Worker, Rc<Cell<u64>>) {
    let worker = Worker::new(config.poll_batch(POLL_BATCH)).unwrap();
    let polls = Rc::new(Cell::new(0));
    for _ in 0..BUSY {
        let polls = Rc::clone(&polls);
        worker.spawn_local(async move {
            loop {
                polls.set(polls.get() + 1);
                let start = Instant::now();
                while start.elapsed() < poll_time {
                    std::hint::spin_loop();
                }
                yield_now().await;
            }
        });
    }
    (worker, polls)
}

/// Puts a receiving task on the worker; the cell has the polls of the others when it got its byte.
fn receiver(worker: &Worker, polls: &Rc<Cell<u64>>) -> (UnixStd, Rc<Cell<Option<u64>>>) {
    let (theirs, ours) = UnixStd::pair().unwrap();
    let ours = {
        let _entered = worker.enter();
        UnixStream::from_std(ours).unwrap()
    };
    let got = Rc::new(Cell::new(None));
    worker.spawn_local({
        let (got, polls) = (Rc::clone(&got), Rc::clone(polls));
        async move {
            loop {
                let (result, _) = ours.recv(Vec::with_capacity(8)).await;
                assert_eq!(result.unwrap(), 1);
                got.set(Some(polls.get()));
            }
        }
    });
    (theirs, got)
}

#[test]
fn a_completion_arrives_in_the_middle_of_a_turn() {
    // One turn of a hundred thousand polls: the completion must not wait for its end.
    let (worker, polls) = busy(
        Config::new().reap_interval(Duration::from_secs(3_600)),
        Duration::ZERO,
    );
    let (mut theirs, got) = receiver(&worker, &polls);
    worker.turn(TurnBudget::polls(BUSY * 4));
    for _ in 0..20 {
        got.set(None);
        theirs.write_all(b"x").unwrap();
        let before = polls.get();
        worker.turn(TurnBudget::polls(20_000));
        let waited = got.get().expect("the byte did not arrive within the turn") - before;
        // At most a batch until the enter, then those that were in the queue before its task.
        let bound = (POLL_BATCH + BUSY + 1) as u64;
        assert!(waited <= bound, "it waited for {waited} polls");
    }
}

#[test]
fn a_completion_arrives_within_the_interval_when_polls_are_slow() {
    const POLL: Duration = Duration::from_micros(500);
    // A batch of such polls takes 16 ms; the interval of 1 ms is to come first.
    let (worker, polls) = busy(Config::new().reap_interval(Duration::from_millis(1)), POLL);
    let (mut theirs, got) = receiver(&worker, &polls);
    worker.turn(TurnBudget::polls(BUSY * 2));
    for _ in 0..5 {
        got.set(None);
        theirs.write_all(b"x").unwrap();
        let enters = worker.stats().enters;
        let before = polls.get();
        worker.turn(TurnBudget::polls(BUSY + 8));
        let waited = got.get().expect("the byte did not arrive within the turn") - before;
        // Two or three polls until it is fetched, then one round of the queue.
        assert!(waited <= (BUSY + 4) as u64, "it waited for {waited} polls");
        assert!(worker.stats().enters > enters);
    }
}

#[test]
fn enters_are_at_most_one_per_batch_of_polls() {
    let (worker, polls) = busy(
        Config::new().reap_interval(Duration::from_secs(3_600)),
        Duration::ZERO,
    );
    let (mut theirs, got) = receiver(&worker, &polls);
    worker.turn(TurnBudget::polls(BUSY * 4));
    let before = worker.stats();
    let start = Instant::now();
    let mut bytes = 0;
    while worker.stats().polls - before.polls < 200_000 {
        assert!(start.elapsed() < HUNG);
        if got.take().is_some() || bytes == 0 {
            theirs.write_all(b"x").unwrap();
            bytes += 1;
        }
        worker.turn(TurnBudget::default());
    }
    let after = worker.stats();
    let (polls, enters) = (after.polls - before.polls, after.enters - before.enters);
    assert!(bytes > 100, "{bytes} bytes");
    assert!(
        enters * POLL_BATCH as u64 <= polls + POLL_BATCH as u64,
        "{enters} enters in {polls} polls"
    );
}

#[test]
fn polls_without_operations_enter_nothing() {
    let (worker, _polls) = busy(Config::new(), Duration::ZERO);
    worker.turn(TurnBudget::default());
    let before = worker.stats();
    for _ in 0..100 {
        worker.turn(TurnBudget::polls(256));
    }
    let after = worker.stats();
    assert_eq!(
        (after.enters, after.polls - before.polls),
        (before.enters, 25_600)
    );
}

#[test]
fn a_turn_without_a_bound_ends_with_the_interval() {
    // A batch of such polls takes three times the interval, which is looked at after each batch.
    const POLL: Duration = Duration::from_micros(100);
    let (worker, _polls) = busy(Config::new().reap_interval(Duration::from_millis(1)), POLL);
    let report = worker.turn(TurnBudget::default());
    assert_eq!((report.polls, report.more_work), (POLL_BATCH, true));
    assert_eq!(worker.turn(TurnBudget::polls(40)).polls, 40);
}
