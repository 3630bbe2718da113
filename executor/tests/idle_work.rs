//! Work that waits until the worker has nothing else to do.

mod support;

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use corelane::sim::Simulation;
use corelane::time::{now, sleep};
use corelane::{
    BackendChoice, Config, SimConfig, TurnBudget, Worker, idle, on_worker, spawn_local, yield_now,
};

use support::worker;

#[test]
fn it_runs_when_nobody_else_can() {
    let worker = worker();
    let log = Rc::<RefCell<Vec<&str>>>::default();
    let note = |what: &'static str| {
        let log = Rc::clone(&log);
        move || log.borrow_mut().push(what)
    };
    let (idled, yielded) = (note("idle"), note("yield"));
    worker.block_on(async move {
        let late = spawn_local(async move {
            idle().await;
            idled();
        });
        for _ in 0..1_000 {
            yield_now().await;
            yielded();
        }
        late.await.unwrap();
    });
    let log = log.borrow();
    assert_eq!((log.len(), log[1_000]), (1_001, "idle"));
}

#[test]
fn the_worker_waits_once_nobody_asks_any_more() {
    let worker = worker();
    let pieces = Rc::<Cell<u32>>::default();
    let count = Rc::clone(&pieces);
    worker.spawn_local(async move {
        while count.get() < 3 {
            idle().await;
            count.set(count.get() + 1);
        }
    });
    let mut turns = 0;
    while worker.turn(TurnBudget::default()).more_work {
        turns += 1;
        assert!(turns < 100, "the worker never rests");
    }
    assert_eq!(pieces.get(), 3);
}

#[test]
fn one_that_was_dropped_keeps_nobody_awake() {
    let worker = worker();
    worker.block_on(async {
        let asked = spawn_local(idle());
        yield_now().await;
        asked.abort();
        sleep(Duration::from_millis(1)).await;
        // As a part of a future that ends otherwise.
        corelane::time::timeout(Duration::ZERO, std::future::pending::<()>())
            .await
            .unwrap_err();
    });
    assert!(!worker.turn(TurnBudget::default()).more_work);
    assert!(!on_worker());
}

#[test]
fn a_worker_that_is_shut_down_is_idle_once_nobody_else_has_work() {
    let worker = worker();
    let done = Rc::<Cell<bool>>::default();
    let flag = Rc::clone(&done);
    worker.spawn_local(async move {
        idle().await;
        flag.set(true);
    });
    let start = Instant::now();
    let report = worker.shutdown(start + Duration::from_secs(60));
    assert_eq!((report.tasks_aborted, done.get()), (0, true));
    assert!(start.elapsed() < Duration::from_secs(30));
}

fn poll_on(worker: &Worker, future: Pin<&mut impl Future<Output = ()>>) -> Poll<()> {
    let _entered = worker.enter();
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn a_worker_does_not_wait_while_somebody_asks() {
    let worker = worker();
    let mut asks = pin!(idle());
    assert!(poll_on(&worker, asks.as_mut()).is_pending());
    let start = Instant::now();
    worker.park(Some(start + Duration::from_secs(60)));
    assert!(start.elapsed() < Duration::from_secs(30));
    assert!(poll_on(&worker, asks).is_ready());
}

/// Nothing happens in a simulation but what its workers let happen: time as well.
#[test]
fn one_that_asks_for_ever_does_not_outlast_the_deadline_of_a_shutdown() {
    let ends = |backend| {
        let worker = Worker::new(Config::new().backend(backend)).unwrap();
        worker.spawn_local(async {
            loop {
                idle().await;
            }
        });
        let report = worker.shutdown(now() + Duration::from_millis(300));
        assert_eq!(report.tasks_aborted, 1);
    };
    ends(BackendChoice::Auto);
    let _simulation = Simulation::new(false);
    ends(BackendChoice::Sim(SimConfig::new(1)));
}

#[test]
fn a_worker_that_has_ended_is_idle() {
    let worker = worker();
    let mut asks = pin!(idle());
    assert!(poll_on(&worker, asks.as_mut()).is_pending());
    worker.shutdown(Instant::now());
    let mut context = Context::from_waker(Waker::noop());
    assert!(asks.poll(&mut context).is_ready());
}
