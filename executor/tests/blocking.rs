//! Blocking work runs beside the worker, is bounded, and always answers.

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::time::{Duration, Instant};

use corelane::{Executor, Placement, spawn_blocking, spawn_local, yield_now};

use support::{run, watched, yield_until};

#[test]
fn work_blocks_a_thread_and_not_the_worker() {
    run(async {
        let home = std::thread::current().id();
        let (sender, receiver) = mpsc::channel();
        let mut work = spawn_blocking(move || (std::thread::current().id(), receiver.recv()));
        assert!(futures_util::poll!(&mut work).is_pending());
        for _ in 0..100 {
            yield_now().await;
        }
        assert!(!work.is_finished());
        sender.send("go").unwrap();
        let (thread, word) = work.await.unwrap();
        assert_ne!(thread, home);
        assert_eq!(word, Ok("go"));
    });
}

#[test]
fn no_more_threads_run_than_the_bound() {
    watched(|| {
        let executor = Executor::builder()
            .placement(Placement::Unpinned(1))
            .blocking_threads(2)
            .start()
            .unwrap();
        let task = executor.spawn_on(0, || async {
            let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
            let jobs: Vec<_> = (0..3_000)
                .map(|index| {
                    let (now, most) = (Arc::clone(&now), Arc::clone(&most));
                    spawn_local(spawn_blocking(move || {
                        most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        std::thread::yield_now();
                        now.fetch_sub(1, Ordering::SeqCst);
                        index
                    }))
                })
                .collect();
            for (index, job) in jobs.into_iter().enumerate() {
                assert_eq!(job.await.unwrap().unwrap(), index);
            }
            most.load(Ordering::SeqCst)
        });
        let most = executor.block_on(task.unwrap()).unwrap();
        assert!((1..=2).contains(&most), "{most} at once");
    });
}

#[test]
fn dropping_the_handle_cancels_what_has_not_started() {
    watched(|| {
        let executor = Executor::builder()
            .placement(Placement::Unpinned(1))
            .blocking_threads(1)
            .start()
            .unwrap();
        let task = executor.spawn_on(0, || async {
            let gate = Arc::new(Barrier::new(2));
            let held = Arc::clone(&gate);
            let started = Arc::new(AtomicUsize::new(0));
            let first = spawn_blocking(move || held.wait().is_leader());
            let count = Arc::clone(&started);
            drop(spawn_blocking(move || count.fetch_add(1, Ordering::SeqCst)));
            gate.wait();
            first.await.unwrap();
            spawn_blocking(|| ()).await.unwrap();
            started.load(Ordering::SeqCst)
        });
        assert_eq!(executor.block_on(task.unwrap()).unwrap(), 0);
    });
}

#[test]
fn a_shutdown_does_not_wait_for_ever_for_blocking_work() {
    watched(|| {
        let executor = Executor::builder()
            .placement(Placement::Unpinned(1))
            .start()
            .unwrap();
        let (release, held) = mpsc::channel::<()>();
        let (entered, when_entered) = mpsc::channel();
        let task = executor.spawn_on(0, move || async move {
            spawn_blocking(move || {
                entered.send(()).unwrap();
                let _ = held.recv();
            })
            .await
            .is_ok()
        });
        when_entered.recv().unwrap();
        let start = Instant::now();
        executor.shutdown(start + Duration::from_millis(100));
        assert!(start.elapsed() < Duration::from_secs(20));
        let error = futures_executor::block_on(task.unwrap()).unwrap_err();
        assert!(error.is_worker_gone());
        drop(release);
    });
}

#[test]
fn a_result_wakes_a_parked_worker_every_time() {
    run(async {
        for round in 0..300 {
            assert_eq!(spawn_blocking(move || round).await.unwrap(), round);
        }
        let work = spawn_blocking(|| 1);
        yield_until("the work is done", || work.is_finished()).await;
        assert_eq!(work.await.unwrap(), 1);
    });
}
