//! Workers on threads of their own: placed, pinned, spawned onto, counted, joined and shut down.

mod support;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use corelane::time::sleep;
use corelane::{
    Config, Executor, Placement, SetupError, SpawnErrorKind, current_worker, spawn_local, spawner,
    yield_now,
};

use support::{HUNG, wait_until, watched};

fn unpinned(workers: usize) -> Executor {
    Executor::builder()
        .placement(Placement::Unpinned(workers))
        .start()
        .unwrap()
}

/// The cores that this process may run on.
fn allowed() -> Vec<usize> {
    // SAFETY: an all-zero set is a valid empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the set is valid for the call, and its size is given.
    let got = unsafe { libc::sched_getaffinity(0, size_of_val(&set), &raw mut set) };
    assert_eq!(got, 0);
    // SAFETY: every index is below CPU_SETSIZE.
    (0..1_024)
        .filter(|&core| unsafe { libc::CPU_ISSET(core, &set) })
        .collect()
}

/// The core and the cores of the calling thread.
fn here() -> (usize, Vec<usize>) {
    // SAFETY: sched_getcpu has no preconditions.
    let core = unsafe { libc::sched_getcpu() };
    (usize::try_from(core).unwrap(), allowed())
}

#[test]
fn there_is_one_worker_per_core_and_it_stays_there() {
    let cores = allowed();
    watched(move || {
        let executor = Executor::new().unwrap();
        assert_eq!(executor.workers(), cores.len());
        let places = executor
            .spawn_on_each(|index| async move {
                assert_eq!(index, current_worker());
                for _ in 0..100 {
                    assert_eq!(vec![here().0], here().1);
                    yield_now().await;
                }
                here().0
            })
            .unwrap();
        let mut seen = Vec::new();
        for (index, place) in places.into_iter().enumerate() {
            let core = executor.block_on(place).unwrap();
            assert_eq!(executor.core_of(index), Some(core));
            seen.push(core);
        }
        seen.sort_unstable();
        assert_eq!(seen, cores);
        assert_eq!(executor.join().tasks_aborted, 0);
        // The thread that starts an executor is not pinned.
        assert_eq!(allowed(), cores);
    });
}

#[test]
fn workers_are_placed_on_the_cores_that_are_named() {
    let cores = allowed();
    let last = *cores.last().unwrap();
    let executor = Executor::builder()
        .placement(Placement::Cores(vec![last]))
        .name("placed")
        .start()
        .unwrap();
    assert_eq!((executor.workers(), executor.core_of(0)), (1, Some(last)));
    let task = executor.spawn_on(0, || async {
        let name = std::thread::current().name().map(str::to_owned);
        (here(), name)
    });
    let ((core, all), name) = executor.block_on(task.unwrap()).unwrap();
    assert_eq!(
        (core, all, name.as_deref()),
        (last, vec![last], Some("placed-0"))
    );
    let impossible = Executor::builder()
        .placement(Placement::Cores(vec![100_000]))
        .start();
    assert!(matches!(
        impossible.unwrap_err(),
        SetupError::Placement { .. }
    ));
    let none = Executor::builder()
        .placement(Placement::Unpinned(0))
        .start();
    assert!(none.is_err());
    let limits = Executor::builder()
        .config(Config::new().sq_entries(0))
        .start();
    assert!(matches!(limits.unwrap_err(), SetupError::Config { .. }));
}

#[test]
fn a_closure_builds_a_future_that_never_leaves_its_worker() {
    let executor = unpinned(2);
    let threads: Vec<ThreadId> = (0..2)
        .map(|worker| {
            let task = executor.spawn_on(worker, move || {
                // Neither the future nor what it holds is `Send`.
                let local = Rc::new(Cell::new(std::thread::current().id()));
                async move {
                    let nested = Rc::clone(&local);
                    let other = spawn_local(async move { nested.get() });
                    sleep(Duration::from_millis(1)).await;
                    assert_eq!(other.await.unwrap(), std::thread::current().id());
                    assert_eq!(current_worker(), worker);
                    local.get()
                }
            });
            executor.block_on(task.unwrap()).unwrap()
        })
        .collect();
    assert_ne!(threads[0], threads[1]);
    assert!(!threads.contains(&std::thread::current().id()));
}

#[test]
fn workers_call_each_other() {
    let executor = unpinned(2);
    let other = executor.spawner(1);
    let task = executor.spawn_on(0, move || async move {
        let home = spawner();
        let mut sum = 0;
        for value in 0..200u64 {
            let home = home.clone();
            let there = other.spawn(move || async move {
                assert_eq!(current_worker(), 1);
                let back = home
                    .spawn(move || async move { (current_worker(), value) })
                    .unwrap();
                back.await.unwrap()
            });
            let (worker, value) = there.unwrap().await.unwrap();
            assert_eq!(worker, 0);
            sum += value;
        }
        sum
    });
    assert_eq!(executor.block_on(task.unwrap()).unwrap(), 199 * 100);
    let stats = executor.stats();
    assert!(stats[1].polls >= 200 && stats[1].turns > 0, "{stats:?}");
}

#[test]
fn a_worker_with_enough_spawns_waiting_gives_the_closure_back() {
    let executor = Executor::builder()
        .placement(Placement::Unpinned(1))
        .config(Config::new().remote_spawns_max(4))
        .start()
        .unwrap();
    let gate = Arc::new(Barrier::new(2));
    let held = Arc::clone(&gate);
    let entered = Arc::new(AtomicBool::new(false));
    let inside = Arc::clone(&entered);
    let blocker = executor
        .spawn_on(0, move || async move {
            inside.store(true, Ordering::SeqCst);
            held.wait();
        })
        .unwrap();
    wait_until("the worker is held", || entered.load(Ordering::SeqCst));
    let calls = Arc::new(AtomicUsize::new(0));
    let mut accepted = Vec::new();
    let refused = loop {
        let calls = Arc::clone(&calls);
        match executor.spawn_on(
            0,
            move || async move { calls.fetch_add(1, Ordering::SeqCst) },
        ) {
            Ok(task) => accepted.push(task),
            Err(refused) => break refused,
        }
        assert!(accepted.len() <= 4);
    };
    assert_eq!((accepted.len(), refused.kind()), (4, SpawnErrorKind::Full));
    let closure = refused.into_inner();
    gate.wait();
    executor.block_on(blocker).unwrap();
    for task in accepted {
        executor.block_on(task).unwrap();
    }
    assert_eq!(
        calls.load(Ordering::SeqCst),
        4,
        "the refused closure was not called"
    );
    let again = executor.spawn_on(0, closure).unwrap();
    assert_eq!(executor.block_on(again).unwrap(), 4);
}

#[test]
fn join_waits_for_tasks_and_for_those_they_spawn() {
    watched(|| {
        let executor = unpinned(2);
        let done = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&done);
        drop(executor.spawn_on_each(move |_| {
            let count = Arc::clone(&count);
            async move {
                sleep(Duration::from_millis(10)).await;
                spawn_local(async move {
                    sleep(Duration::from_millis(10)).await;
                    count.fetch_add(1, Ordering::SeqCst);
                });
            }
        }));
        let report = executor.join();
        assert_eq!((report.tasks_aborted, report.workers_panicked), (0, 0));
        assert_eq!(done.load(Ordering::SeqCst), 2);
    });
}

#[test]
fn a_shutdown_lets_tasks_finish_and_aborts_those_that_never_end() {
    struct OnDrop(Arc<AtomicUsize>, ThreadId);
    impl Drop for OnDrop {
        fn drop(&mut self) {
            assert_eq!(
                std::thread::current().id(),
                self.1,
                "dropped away from home"
            );
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    watched(|| {
        let executor = unpinned(2);
        let dropped = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&dropped);
        let waiting = executor.spawn_on_each(move |_| {
            let count = Arc::clone(&count);
            async move {
                let _on_drop = OnDrop(count, std::thread::current().id());
                std::future::pending::<()>().await;
            }
        });
        let busy = executor.spawn_on(0, || async {
            loop {
                yield_now().await;
            }
        });
        let quick = executor.spawn_on(1, || async { sleep(Duration::from_millis(20)).await });
        let spawner = executor.spawner(0);
        let start = Instant::now();
        let report = executor.shutdown(start + Duration::from_secs(5));
        assert!(start.elapsed() < HUNG / 2);
        assert_eq!((report.tasks_aborted, report.ops_leaked), (3, 0));
        assert_eq!(dropped.load(Ordering::SeqCst), 2);
        let gone = |handle: corelane::JoinHandle<()>| {
            futures_executor::block_on(handle)
                .unwrap_err()
                .is_worker_gone()
        };
        assert!(waiting.unwrap().into_iter().all(gone));
        assert!(futures_executor::block_on::<corelane::JoinHandle<()>>(busy.unwrap()).is_err());
        futures_executor::block_on(quick.unwrap()).unwrap();
        let refused = spawner.spawn(|| async { 1 }).unwrap_err();
        assert_eq!(refused.kind(), SpawnErrorKind::WorkerGone);
        assert_eq!(futures_executor::block_on(refused.into_inner()()), 1);
    });
}

#[test]
fn dropping_an_executor_ends_it() {
    let task = watched(|| {
        let executor = unpinned(2);
        executor.spawn_on(1, std::future::pending::<()>).unwrap()
    });
    assert!(
        futures_executor::block_on(task)
            .unwrap_err()
            .is_worker_gone()
    );
}

#[test]
fn spawns_in_the_mailbox_at_the_end_resolve() {
    watched(|| {
        for _ in 0..20 {
            let executor = unpinned(1);
            let spawner = executor.spawner(0);
            let thread = std::thread::spawn(move || {
                let mut handles = Vec::new();
                while let Ok(handle) = spawner.spawn(|| async { 1 }) {
                    handles.push(handle);
                }
                handles
            });
            std::thread::yield_now();
            executor.shutdown(Instant::now());
            for handle in thread.join().unwrap() {
                match futures_executor::block_on(handle) {
                    Ok(value) => assert_eq!(value, 1),
                    Err(error) => assert!(error.is_worker_gone(), "{error}"),
                }
            }
        }
    });
}

/// Nothing is known then of what the kernel may still touch.
#[test]
fn an_executor_that_its_own_task_ends_says_that_it_has_not_waited() {
    let executor = unpinned(2);
    let spawner = executor.spawner(1);
    let (tell, told) = std::sync::mpsc::channel();
    let ended = spawner.spawn(move || async move {
        tell.send(executor.shutdown(Instant::now())).unwrap();
    });
    let report = told.recv_timeout(HUNG).unwrap();
    assert_eq!((report.workers_running, report.ops_leaked), (2, 0));
    assert!(!report.is_drained());
    drop(ended);
    assert!(unpinned(1).shutdown(Instant::now()).is_drained());
}

#[test]
fn kicks_are_counted_where_they_are_sent_and_where_they_arrive() {
    let executor = unpinned(2);
    let other = executor.spawner(1);
    // Until worker 1 is parked, a spawn needs no kick.
    let sent = executor
        .spawn_on(0, move || async move {
            loop {
                let before = corelane::stats().kicks_sent;
                other.spawn(|| async {}).unwrap().await.unwrap();
                if corelane::stats().kicks_sent > before {
                    return corelane::stats().kicks_sent;
                }
                sleep(Duration::from_millis(1)).await;
            }
        })
        .unwrap();
    assert!(executor.block_on(sent).unwrap() >= 1);
    // The other worker publishes its counters at the end of the turn that the kick began.
    let late = Instant::now() + HUNG;
    while executor.stats()[1].kicks_received == 0 {
        assert!(Instant::now() < late, "the kick was never counted");
        std::thread::yield_now();
    }
}
