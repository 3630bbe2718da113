//! A task that does not give way is reported, with where it was spawned, while it still runs.
//!
//! The tasks here do not give way until they were reported: there is no time to guess.

mod support;

use std::panic::Location;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use corelane::{Config, Executor, SetupError, Stall, TurnBudget, Worker, spawn_local, yield_now};

use support::{HUNG, child, is_child, run_on, settle};

/// Longer than a poll is kept from its core on a busy machine, which the looking thread cannot tell
/// from a stall.
const THRESHOLD: Duration = Duration::from_millis(100);

/// What was reported, and whether anything was.
#[derive(Clone, Debug, Default)]
struct Reports {
    all: Arc<Mutex<Vec<Stall>>>,
    any: Arc<AtomicBool>,
}

impl Reports {
    fn config(&self) -> Config {
        let reports = self.clone();
        Config::new()
            .stall_threshold(THRESHOLD)
            .on_stall(move |stall| {
                reports.all.lock().unwrap().push(*stall);
                reports.any.store(true, Ordering::Release);
            })
    }

    /// Keeps the core until somebody has complained.
    fn stall(&self) {
        let start = Instant::now();
        while !self.any.swap(false, Ordering::Acquire) {
            assert!(start.elapsed() < HUNG, "nobody noticed");
            std::hint::spin_loop();
        }
    }

    /// The lines of this file at which what was reported was spawned.
    fn lines(&self) -> Vec<u32> {
        let all = self.all.lock().unwrap();
        let line = |stall: &Stall| {
            assert_eq!(stall.spawned_at.file(), file!());
            assert!(stall.lasted >= THRESHOLD, "{stall:?}");
            stall.spawned_at.line()
        };
        all.iter().map(line).collect()
    }
}

#[track_caller]
fn here() -> u32 {
    Location::caller().line()
}

#[test]
fn a_task_that_keeps_the_core_is_named_by_where_it_was_spawned() {
    let reports = Reports::default();
    let worker = Worker::new(reports.config()).unwrap();
    let stalling = reports.clone();
    let innocent = worker.spawn_local(async { yield_now().await });
    let (line, guilty) = (here(), worker.spawn_local(async move { stalling.stall() }));
    run_on(&worker, async {
        innocent.await.unwrap();
        guilty.await.unwrap();
    });
    assert_eq!(reports.lines(), [line]);
    assert_eq!(worker.stats().stalls, 1);
}

#[test]
fn who_owns_the_main_loop_is_told_as_well() {
    let reports = Reports::default();
    let worker = Worker::new(reports.config()).unwrap();
    let stalling = reports.clone();
    let task = async move { stalling.stall() };
    let (line, task) = (here(), worker.spawn_local(task));
    settle(&worker);
    assert!(task.is_finished());
    assert_eq!(reports.lines(), [line]);
}

/// Each poll is one stall: a task that stalls, gives way and stalls again is reported twice.
#[test]
fn each_long_poll_is_reported_once() {
    let reports = Reports::default();
    let worker = Worker::new(reports.config()).unwrap();
    let stalling = reports.clone();
    let task = async move {
        stalling.stall();
        // It goes on for some looks more, which is nothing new.
        let start = Instant::now();
        while start.elapsed() < 5 * THRESHOLD {
            std::hint::spin_loop();
        }
        yield_now().await;
        stalling.stall();
    };
    let (line, task) = (here(), worker.spawn_local(task));
    run_on(&worker, task).unwrap();
    assert_eq!(reports.lines(), [line, line]);
    assert_eq!(worker.stats().stalls, 2);
}

#[test]
fn a_task_of_another_task_and_the_root_have_their_own_places() {
    let reports = Reports::default();
    let worker = Worker::new(reports.config()).unwrap();
    let (inner, root) = (reports.clone(), reports.clone());
    let (root_line, inner_line) = (
        here(),
        worker.block_on(async move {
            root.stall();
            let task = async move { inner.stall() };
            let (line, task) = (here(), spawn_local(task));
            task.await.unwrap();
            line
        }),
    );
    let lines = reports.lines();
    assert_eq!(lines[1], inner_line);
    // The call has several lines, and it is one of them.
    assert!((root_line..inner_line).contains(&lines[0]), "{lines:?}");
    assert_eq!(lines.len(), 2);
}

#[test]
fn tasks_from_other_threads_and_the_number_of_their_worker_are_known() {
    let reports = Reports::default();
    let executor = Executor::builder().workers(2).config(reports.config());
    let executor = executor.start().unwrap();
    let on_second = reports.clone();
    let closure = move || async move { on_second.stall() };
    let (line, task) = (here(), executor.spawn_on(1, closure));
    executor.block_on(task.unwrap()).unwrap();
    // The closure that makes the future keeps the core as well as the future can.
    let in_closure = reports.clone();
    let closure = move || {
        in_closure.stall();
        async {}
    };
    let (closure_line, task) = (here(), executor.spawner(0).spawn(closure));
    executor.block_on(task.unwrap()).unwrap();
    let on_first = reports.clone();
    let each = move |index| {
        let stalling = on_first.clone();
        async move {
            if index == 0 {
                stalling.stall()
            }
        }
    };
    let (each_line, tasks) = (here(), executor.spawn_on_each(each));
    for task in tasks.unwrap() {
        executor.block_on(task).unwrap();
    }
    assert_eq!(reports.lines(), [line, closure_line, each_line]);
    let workers = reports.all.lock().unwrap().clone();
    let workers: Vec<_> = workers.iter().map(|stall| stall.worker).collect();
    assert_eq!(workers, [1, 0, 0]);
    // A worker says what it did when its turn ends, which may be after its task has ended.
    let stalls = || -> u64 { executor.stats().iter().map(|stats| stats.stalls).sum() };
    let start = Instant::now();
    while stalls() < 3 {
        assert!(start.elapsed() < HUNG, "{} stalls are counted", stalls());
        std::thread::yield_now();
    }
    assert_eq!(stalls(), 3);
}

/// A worker that was not asked starts no thread, and one that was ends it: both alone in a process.
#[test]
fn the_thread_is_there_as_long_as_a_worker_wants_it() {
    let test = "the_thread_is_there_as_long_as_a_worker_wants_it";
    if !is_child() {
        let (status, stderr) = child(test);
        assert!(status.success(), "{stderr}");
        return;
    }
    let looking = || {
        let threads = std::fs::read_dir("/proc/self/task").unwrap();
        let name = |thread: std::io::Result<std::fs::DirEntry>| {
            std::fs::read_to_string(thread.unwrap().path().join("comm")).unwrap_or_default()
        };
        threads
            .map(name)
            .filter(|name| name.trim() == "corelane-stall")
            .count()
    };
    let plain = support::worker();
    assert_eq!(looking(), 0);
    for _ in 0..2 {
        let reports = Reports::default();
        let first = Worker::new(reports.config()).unwrap();
        let second = Worker::new(reports.config()).unwrap();
        support::wait_until("one thread looks", || looking() == 1);
        drop(first);
        let stalling = reports.clone();
        drop(second.spawn_local(async move { stalling.stall() }));
        second.turn(TurnBudget::default());
        assert_eq!(
            reports.lines().len(),
            1,
            "the second worker is still watched"
        );
        drop(second);
        support::wait_until("nobody looks any more", || looking() == 0);
    }
    drop(plain);
}

/// Where the program names nobody, standard error has a line.
#[test]
fn without_anybody_to_tell_there_is_a_line_on_standard_error() {
    let test = "without_anybody_to_tell_there_is_a_line_on_standard_error";
    if !is_child() {
        let (status, stderr) = child(test);
        assert!(status.success(), "{stderr}");
        let line = stderr.lines().find(|line| line.starts_with("corelane: "));
        let line = line.unwrap_or_else(|| panic!("no line: {stderr}"));
        let start = format!(
            "corelane: worker 0 has polled one task, spawned at {}:",
            file!()
        );
        assert!(line.starts_with(&start), "{line}");
        return;
    }
    let worker = Worker::new(Config::new().stall_threshold(THRESHOLD)).unwrap();
    let other = worker.spawner();
    drop(worker.spawn_local(async move {
        // Its own counter tells, as nobody is called.
        let start = Instant::now();
        while corelane::stats().stalls == 0 {
            assert!(start.elapsed() < HUNG, "nobody noticed");
        }
        drop(other);
    }));
    settle(&worker);
}

/// Who is told may panic: the next stall is reported nevertheless.
#[test]
fn a_panic_of_who_is_told_ends_nothing() {
    let reports = Reports::default();
    let told = reports.clone();
    let config = Config::new()
        .stall_threshold(THRESHOLD)
        .on_stall(move |stall| {
            told.all.lock().unwrap().push(*stall);
            told.any.store(true, Ordering::Release);
            std::panic::resume_unwind(Box::new("told"));
        });
    let worker = Worker::new(config).unwrap();
    for _ in 0..2 {
        let stalling = reports.clone();
        let task = worker.spawn_local(async move { stalling.stall() });
        run_on(&worker, task).unwrap();
    }
    assert_eq!(reports.lines().len(), 2);
}

#[test]
fn a_panic_of_the_root_ends_its_poll() {
    let reports = Reports::default();
    let worker = Worker::new(reports.config()).unwrap();
    let root = std::panic::AssertUnwindSafe(|| {
        worker.block_on(async { std::panic::resume_unwind(Box::new(())) })
    });
    assert!(std::panic::catch_unwind(root).is_err());
    // Many looks, and nothing is polled.
    std::thread::sleep(10 * THRESHOLD);
    assert_eq!(reports.lines(), []);
}

#[test]
fn a_threshold_that_is_too_short_or_too_long_is_refused() {
    for threshold in [Duration::from_nanos(1), Duration::from_secs(3_601)] {
        let refused = Worker::new(Config::new().stall_threshold(threshold));
        let Err(error @ SetupError::Config { .. }) = refused else {
            panic!("{threshold:?}: {refused:?}");
        };
        assert!(error.to_string().contains("stall_threshold"), "{error}");
    }
}
