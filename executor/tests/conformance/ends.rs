//! Every kind of operation, ended in every way at every point that it waits at.
//!
//! What was given up is gone: nothing stays in flight, nothing was taken from a peer, descriptors
//! are as they were, and nobody writes to the buffers any more (`quarantine`).

use std::future::poll_fn;
use std::task::Poll;
use std::time::{Duration, Instant};

use corelane::{JoinHandle, TurnBudget, spawn_local, time};
use futures_util::future::{Either, select};

use crate::common::quarantine;
use crate::harness::Backend;
use crate::ops::{Made, World};
use crate::support::{HUNG, run_on, yield_until};

/// Polls `made` once; says whether it is not over.
async fn poll_once(made: &mut Made) -> bool {
    poll_fn(|cx| Poll::Ready(made.future.as_mut().poll(cx).is_pending())).await
}

/// Ends each operation by `end`, and sees that nothing of it is left.
fn each(backend: &Backend, end: impl AsyncFn(Made)) {
    let world = World::new();
    backend.run(async {
        for mut made in world.all(backend) {
            let (name, after) = (made.name, made.after.take());
            end(made).await;
            let what = format!("nothing is left of {name}");
            yield_until(&what, || corelane::stats().in_flight == 0).await;
            if let Some(after) = after {
                let after = time::timeout(HUNG, after).await;
                after.unwrap_or_else(|_| panic!("{name} has taken what is another's"));
            }
        }
    });
    quarantine::check();
}

pub(crate) fn dropped_before_the_first_poll(backend: &Backend) {
    each(backend, async |made| drop(made.future));
}

pub(crate) fn dropped_after_the_first_poll(backend: &Backend) {
    each(backend, async |mut made| {
        let pending = poll_once(&mut made).await;
        assert!(pending || !made.waits, "{} did not wait", made.name);
        drop(made.future);
    });
}

pub(crate) fn dropped_after_some_turns(backend: &Backend) {
    for turns in 1..5 {
        each(backend, async |mut made| {
            for _ in 0..turns {
                if !poll_once(&mut made).await {
                    assert!(!made.waits, "{} did not wait", made.name);
                    return;
                }
                corelane::yield_now().await;
            }
        });
    }
    each(backend, async |mut made| {
        let mut pending = poll_once(&mut made).await;
        time::sleep(Duration::from_millis(2)).await;
        if pending {
            pending = poll_once(&mut made).await;
        }
        assert!(pending || !made.waits, "{} did not wait", made.name);
    });
}

pub(crate) fn forgotten(backend: &Backend) {
    let world = World::new();
    let worker = backend.worker();
    run_on(&worker, async {
        for turns in [0, 1, 3] {
            for mut made in world.all(backend) {
                for _ in 0..turns {
                    if !poll_once(&mut made).await {
                        made.future = Box::pin(async {});
                        break;
                    }
                    corelane::yield_now().await;
                }
                std::mem::forget(made.future);
            }
        }
    });
    // What was forgotten is in flight until the worker ends, and ends with it.
    let report = worker.shutdown(Instant::now() + HUNG);
    assert_eq!(report.ops_leaked, 0);
    quarantine::check();
}

pub(crate) fn aborted(backend: &Backend) {
    for turns in 0..4 {
        each(backend, async |made| {
            let task = spawn_local(made.future);
            for _ in 0..turns {
                corelane::yield_now().await;
            }
            assert!(
                !made.waits || !task.is_finished(),
                "{} did not wait",
                made.name
            );
            task.abort();
            match task.await {
                Ok(()) => assert!(!made.waits),
                Err(error) => assert!(error.is_cancelled(), "{}: {error}", made.name),
            }
        });
    }
}

pub(crate) fn timed_out(backend: &Backend) {
    for limit in [
        Duration::ZERO,
        Duration::from_micros(300),
        Duration::from_millis(3),
    ] {
        each(backend, async |made| {
            let ended = time::timeout(limit, made.future).await;
            assert!(ended.is_err() || !made.waits, "{} did not wait", made.name);
        });
    }
}

pub(crate) fn the_loser_of_a_race(backend: &Backend) {
    for turns in 0..4 {
        each(backend, async |made| {
            let winner = Box::pin(async {
                for _ in 0..turns {
                    corelane::yield_now().await;
                }
            });
            match select(made.future, winner).await {
                Either::Left(_) => assert!(!made.waits, "{} did not wait", made.name),
                Either::Right(((), loser)) => drop(loser),
            }
        });
    }
}

pub(crate) fn ended_with_the_worker(backend: &Backend) {
    for turns in 0..5 {
        let world = World::new();
        let worker = backend.worker();
        // The other sides, in `after`, stay as they are.
        let mut afters = Vec::new();
        let tasks: Vec<(&'static str, bool, JoinHandle<()>)> = {
            let _entered = worker.enter();
            let all = world.all(backend).into_iter();
            all.map(|made| {
                afters.push(made.after);
                (made.name, made.waits, worker.spawn_local(made.future))
            })
            .collect()
        };
        for _ in 0..turns {
            worker.turn(TurnBudget::default());
        }
        // No time for tasks to end by themselves.
        let report = if turns % 2 == 0 {
            worker.shutdown(Instant::now())
        } else {
            drop(worker);
            corelane::ShutdownReport::default()
        };
        assert_eq!(report.ops_leaked, 0);
        for (name, waits, task) in tasks {
            assert!(task.is_finished(), "{name} outlived its worker");
            match futures_executor::block_on(task) {
                Ok(()) => assert!(!waits, "{name} did not wait"),
                Err(error) => assert!(!error.is_panic(), "{name}: {error}"),
            }
        }
    }
    quarantine::check();
}
