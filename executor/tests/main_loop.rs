//! The worker in a loop of somebody else's: turns are bounded, a park ends when there is work, and
//! nothing is driven from inside of itself.

mod support;

use std::cell::Cell;
use std::future::pending;
use std::io::{Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::{Duration, Instant};

use corelane::fs::File;
use corelane::net::UnixStream;
use corelane::time::sleep;
use corelane::{
    Config, Rung, SetupError, TurnBudget, Worker, current_worker, need_preempt, spawn_local,
    yield_now,
};

use support::{HUNG, content, file_of, panic_text, settle, watched, worker};

#[test]
fn a_turn_polls_no_more_than_its_budget() {
    let worker = worker();
    let polls = Rc::new(Cell::new(0));
    for _ in 0..100 {
        let polls = Rc::clone(&polls);
        worker.spawn_local(async move {
            loop {
                polls.set(polls.get() + 1);
                yield_now().await;
            }
        });
    }
    let report = worker.turn(TurnBudget::polls(7));
    assert_eq!((report.polls, polls.get(), report.more_work), (7, 7, true));
    let report = worker.turn(TurnBudget::polls(0));
    assert_eq!((report.polls, polls.get(), report.more_work), (0, 7, true));
    let report = worker.turn(TurnBudget::default().time(Duration::ZERO));
    assert_eq!(report.polls, 1, "one poll is always allowed");
    // The machine may stand still in one of them.
    let many = (0..10).any(|_| {
        let start = Instant::now();
        let report = worker.turn(TurnBudget::polls(usize::MAX).time(Duration::from_millis(10)));
        assert!(start.elapsed() >= Duration::from_millis(10));
        report.polls > 100
    });
    assert!(many, "a budget of time ends before its time");
    // In turn: nobody is behind by more than one poll.
    assert_eq!(worker.stats().tasks, 100);
}

#[test]
fn the_configured_budget_bounds_a_turn() {
    let worker = Worker::new(Config::new().poll_budget(3)).unwrap();
    for _ in 0..10 {
        worker.spawn_local(async {});
    }
    let polls: Vec<_> = (0..5)
        .map(|_| worker.turn(TurnBudget::default()).polls)
        .collect();
    assert_eq!(polls, [3, 3, 3, 1, 0]);
}

#[test]
fn a_frame_loop_reads_a_file() {
    let on_disk = file_of(&content(100_000));
    let worker = worker();
    let path = on_disk.path().to_owned();
    let read = worker.spawn_local(async move {
        let file = File::open(path).await.unwrap();
        file.read_exact_at(Vec::with_capacity(100_000), 0).await.1
    });
    let start = Instant::now();
    while !read.is_finished() {
        assert!(start.elapsed() < HUNG);
        worker.turn(TurnBudget::default().time(Duration::from_millis(2)));
    }
    assert_eq!(worker.block_on(read).unwrap(), content(100_000));
}

#[test]
fn a_park_ends_at_its_limit_at_a_timer_and_at_a_kick() {
    let worker = worker();
    settle(&worker);
    let until = Instant::now() + Duration::from_millis(20);
    while Instant::now() < until {
        worker.park(Some(until));
    }
    let slept = worker.spawn_local(sleep(Duration::from_millis(20)));
    settle(&worker);
    while !slept.is_finished() {
        worker.park(None);
        worker.turn(TurnBudget::default());
    }
    settle(&worker);
    let spawner = worker.spawner();
    let thread = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(20));
        spawner.spawn(|| async { 5 }).unwrap()
    });
    while worker.stats().tasks == 0 {
        worker.park(None);
        worker.turn(TurnBudget::polls(0));
    }
    assert_eq!(worker.block_on(thread.join().unwrap()).unwrap(), 5);
}

#[test]
fn a_park_with_work_at_hand_returns_at_once() {
    let worker = worker();
    worker.spawn_local(async {
        loop {
            yield_now().await;
        }
    });
    for _ in 0..100 {
        worker.park(None);
        assert!(worker.turn(TurnBudget::polls(1)).more_work);
    }
}

#[test]
fn several_workers_take_turns_on_one_thread() {
    let workers = [worker(), worker(), worker()];
    let tasks: Vec<_> = workers
        .iter()
        .map(|worker| {
            let (one, two) = {
                let _entered = worker.enter();
                UnixStream::pair().unwrap()
            };
            worker.spawn_local(async move {
                for round in 0..50u8 {
                    one.send_all(vec![round]).await.0.unwrap();
                    assert_eq!(two.recv(Vec::with_capacity(1)).await.1, [round]);
                    sleep(Duration::from_micros(100)).await;
                }
            })
        })
        .collect();
    let start = Instant::now();
    while !tasks.iter().all(corelane::JoinHandle::is_finished) {
        assert!(start.elapsed() < HUNG);
        for worker in &workers {
            worker.turn(TurnBudget::default());
        }
    }
    for (worker, task) in workers.iter().zip(tasks) {
        worker.block_on(task).unwrap();
    }
}

#[test]
fn a_worker_is_driven_inside_of_a_task_of_another() {
    let outer = worker();
    outer.block_on(async {
        let before = spawn_local(async { 1 });
        let inner = worker();
        let answer = inner.block_on(async {
            let (one, two) = UnixStream::pair().unwrap();
            let echo = spawn_local(async move { two.recv(Vec::with_capacity(8)).await.1 });
            one.send_all("inner").await.0.unwrap();
            echo.await.unwrap()
        });
        assert_eq!(answer, b"inner");
        drop(inner);
        // The outer worker is the current one again.
        assert_eq!(
            before.await.unwrap() + spawn_local(async { 1 }).await.unwrap(),
            2
        );
        sleep(Duration::from_millis(1)).await;
    });
}

#[test]
fn entering_makes_a_worker_the_current_one() {
    let (one, two) = (worker(), worker());
    let task = {
        let first = one.enter();
        let second = two.enter();
        // Guards may go in any order.
        drop(first);
        let task = spawn_local(async { current_worker() });
        drop(second);
        task
    };
    assert_eq!((one.stats().tasks, two.stats().tasks), (0, 1));
    assert_eq!(two.block_on(task).unwrap(), 0);
    assert!(catch_unwind(current_worker).is_err());
    assert!(!need_preempt());
}

#[test]
fn re_entering_is_refused_with_a_reason() {
    let worker = Rc::new(worker());
    let attempts: [fn(&Worker); 4] = [
        |worker| {
            let _ = worker.turn(TurnBudget::default());
        },
        |worker| worker.park(None),
        |worker| worker.run(),
        |worker| worker.block_on(async {}),
    ];
    for attempt in attempts {
        let inner = Rc::clone(&worker);
        let task = worker.spawn_local(async move { attempt(&inner) });
        let error = worker.block_on(task).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("from inside of one of its own tasks"),
            "{text}"
        );
        let inner = Rc::clone(&worker);
        let root = catch_unwind(AssertUnwindSafe(|| {
            worker.block_on(async move { attempt(&inner) })
        }));
        assert!(root.is_err());
    }
    // It works on.
    assert_eq!(
        worker.block_on(async { spawn_local(async { 7 }).await.unwrap() }),
        7
    );
}

#[test]
fn what_needs_a_worker_says_so_outside_of_one() {
    let outside: [fn(); 5] = [
        || drop(spawn_local(async {})),
        || drop(corelane::spawn_blocking(|| ())),
        || drop(corelane::spawner()),
        || drop(corelane::net::TcpListener::bind("127.0.0.1:0")),
        || drop(futures_executor::block_on(File::open("/dev/null"))),
    ];
    for call in outside {
        let panic = catch_unwind(call).unwrap_err();
        let text = panic_text(&*panic);
        assert!(
            text.contains("must be called on a corelane worker"),
            "{text}"
        );
    }
}

#[test]
fn the_panic_of_the_root_future_comes_out_of_block_on() {
    let worker = worker();
    let task = worker.spawn_local(async { 3 });
    let panic = catch_unwind(AssertUnwindSafe(|| {
        worker.block_on(async { panic!("root") })
    }));
    assert_eq!(*panic.unwrap_err().downcast_ref::<&str>().unwrap(), "root");
    assert_eq!(worker.block_on(task).unwrap(), 3);
}

#[test]
fn block_on_returns_without_waiting_for_tasks_and_run_waits_for_them() {
    let worker = worker();
    let done = Rc::new(Cell::new(false));
    worker.spawn_local({
        let done = Rc::clone(&done);
        async move {
            sleep(Duration::from_millis(10)).await;
            spawn_local(async move { done.set(true) });
        }
    });
    worker.block_on(async {});
    assert!(!done.get());
    worker.run();
    assert!(done.get());
    assert_eq!(worker.stats().tasks, 0);
    worker.run();
}

#[test]
fn a_shutdown_reports_what_it_ended() {
    let worker = worker();
    let (_theirs, ours) = std::os::unix::net::UnixStream::pair().unwrap();
    let stuck = worker.spawn_local(pending::<()>());
    let reading = worker.spawn_local(async move {
        UnixStream::from_std(ours)
            .unwrap()
            .recv(Vec::with_capacity(8))
            .await
            .0
    });
    let quick = worker.spawn_local(sleep(Duration::from_millis(5)));
    // Seconds, as a machine may stand still for that long.
    let report = worker.shutdown(Instant::now() + Duration::from_secs(5));
    assert_eq!((report.tasks_aborted, report.ops_leaked), (2, 0));
    assert!(
        futures_executor::block_on(stuck)
            .unwrap_err()
            .is_worker_gone()
    );
    assert!(
        futures_executor::block_on(reading)
            .unwrap_err()
            .is_worker_gone()
    );
    futures_executor::block_on(quick).unwrap();
}

#[test]
fn a_worker_whose_thread_ends_is_shut_down_with_it() {
    thread_local! {
        static KEPT: std::cell::RefCell<Option<Worker>> = const { std::cell::RefCell::new(None) };
    }
    let task = watched(|| {
        KEPT.with_borrow_mut(|kept| {
            let worker = kept.insert(worker());
            let (one, two) = {
                let _entered = worker.enter();
                UnixStream::pair().unwrap()
            };
            let task = worker.spawn_local(async move {
                let _one = one;
                two.recv(Vec::with_capacity(8)).await.0.unwrap()
            });
            settle(worker);
            task
        })
    });
    assert!(
        futures_executor::block_on(task)
            .unwrap_err()
            .is_worker_gone()
    );
}

#[test]
fn the_backend_and_the_counters_are_public() {
    let worker = worker();
    match worker.backend().unwrap() {
        corelane::Backend::Uring(rung) => {
            assert!(format!("{rung}") != "" && format!("{:?}", Rung::Coop) == "Coop");
        }
        corelane::Backend::Threads(reason) => {
            assert!(format!("{reason}").starts_with("as "), "{reason}");
        }
        other => panic!("{other}"),
    }
    let before = worker.stats();
    let (mut reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(b"x").unwrap();
    reader.read_exact(&mut [0]).unwrap();
    worker.block_on(async {
        let file = File::open("/dev/zero").await.unwrap();
        file.read_at(vec![1; 8], 0).await.0.unwrap();
    });
    let after = worker.stats();
    assert_eq!(
        (
            after.submits - before.submits,
            after.completions - before.completions
        ),
        (2, 2)
    );
    assert!(after.enters > before.enters && after.turns > before.turns);
    assert_eq!((after.in_flight, after.slots, after.tasks), (0, 0, 0));
    assert_eq!(after.slots_high_water, 1);
}

#[test]
fn impossible_limits_are_named() {
    let cases = [
        (Config::new().sq_entries(0), "sq_entries"),
        (Config::new().sq_entries(1 << 20), "sq_entries"),
        (Config::new().sq_entries(64).cq_entries(32), "cq_entries"),
        (Config::new().poll_budget(0), "poll_budget"),
        (Config::new().poll_batch(0), "poll_batch"),
        (Config::new().submit_bytes_max(1), "submit_bytes_max"),
        (Config::new().remote_spawns_max(0), "remote_spawns_max"),
        (
            Config::new().pool(corelane::PoolConfig::new(0, 4_096)),
            "pool.buffer_count",
        ),
        (
            Config::new().pool(corelane::PoolConfig::new(1, 5_000)),
            "pool.buffer_len",
        ),
    ];
    for (config, limit) in cases {
        match Worker::new(config).unwrap_err() {
            error @ SetupError::Config { .. } => assert!(error.to_string().contains(limit)),
            other => panic!("{limit}: {other}"),
        }
    }
}
