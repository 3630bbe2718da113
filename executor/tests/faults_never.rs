//! A file system that never answers costs what waits for it, and nothing else: reads of it end in a
//! timeout, the other tasks of the worker go on, and the end of the worker keeps to its deadline and
//! reports what it had to leave.

mod common;
mod support;

use std::time::{Duration, Instant};

use corelane::fs::{self, File, OpenOptions};
use corelane::net::UnixStream;
use corelane::{BackendChoice, Config, Executor, JoinHandle, Worker, spawn_local, time};
use faultfs::{Files, content};

use common::quarantine::{self, Guarded};
use support::{HUNG, file_of, run_on, yield_until};

/// As many calls as the kernel's helpers of one worker take, by [`config`].
const HELPERS: usize = 4;

const SOON: Duration = Duration::from_millis(20);

/// What a worker does after its deadline, on a busy machine.
const LATE: Duration = Duration::from_secs(10);

fn config(choice: BackendChoice) -> Config {
    let helpers = u32::try_from(HELPERS).unwrap();
    Config::new()
        .backend(choice)
        .iowq_workers_max(helpers, 16)
        .file_threads_max(helpers)
}

/// Runs `body` with a worker on each backend there is here.
fn on_each(mut body: impl FnMut(Worker)) {
    for choice in [BackendChoice::Uring, BackendChoice::Threads] {
        match Worker::new(config(choice)) {
            Ok(worker) => body(worker),
            Err(error) => println!("SKIP: {choice:?}: {error}"),
        }
    }
}

/// Starts a read of a file that is not answered.
fn stuck_read(file: &File, at: u64) -> JoinHandle<Vec<u8>> {
    let file = file.clone();
    spawn_local(async move {
        let (result, buf) = file.read_at(Vec::with_capacity(64), at).await;
        result.unwrap();
        buf
    })
}

/// Everything that needs neither the helpers nor the threads, while these are all stuck.
async fn others_go_on(worker: &str) {
    let on_disk = file_of(&content(0, 100_000));
    let cached = File::from_std(on_disk.reopen().unwrap());
    let (one, two) = UnixStream::pair().unwrap();
    let echo = spawn_local(async move {
        let mut count = 0;
        loop {
            let (result, buf) = two.recv(Vec::with_capacity(16)).await;
            if result.unwrap() == 0 {
                return count;
            }
            two.send_all(buf).await.0.unwrap();
            count += 1;
        }
    });
    let start = Instant::now();
    for round in 0..50 {
        let offset = round * 1000;
        let (result, buf) = cached.read_exact_at(Vec::with_capacity(1000), offset).await;
        result.unwrap();
        assert!(buf == content(offset, 1000), "{worker}");
        one.send_all(vec![7; 16]).await.0.unwrap();
        let (result, _) = one.recv(Vec::with_capacity(16)).await;
        assert_eq!(result.unwrap(), 16);
        time::sleep(Duration::from_micros(100)).await;
    }
    drop(one);
    assert_eq!(echo.await.unwrap(), 50);
    assert!(start.elapsed() < LATE, "{worker}: {:?}", start.elapsed());
}

#[test]
fn a_read_times_out_while_the_others_go_on() {
    faultfs::run("a_read_times_out_while_the_others_go_on", |files| {
        on_each(|worker| {
            let backend = worker.backend().unwrap().to_string();
            run_on(&worker, async {
                let file = File::open(files.path("never,direct")).await.unwrap();
                let stuck: Vec<_> = (0..HELPERS as u64)
                    .map(|at| stuck_read(&file, at))
                    .collect();
                let read = file.read_at(Vec::with_capacity(64), 0);
                assert!(time::timeout(SOON, read).await.is_err());
                let read = file.read_exact_at(Vec::with_capacity(64), 0);
                assert!(time::timeout(SOON, read).await.is_err());
                others_go_on(&backend).await;
                assert!(stuck.iter().all(|read| !read.is_finished()));
                files.wait_held(HELPERS);
                yield_until("all is answered", || {
                    // Those whose turn comes now wait for the next release.
                    files.release();
                    stuck.iter().all(JoinHandle::is_finished) && corelane::stats().in_flight == 0
                })
                .await;
                for (at, read) in stuck.into_iter().enumerate() {
                    assert_eq!(read.await.unwrap(), content(at as u64, 64), "{backend}");
                }
            });
            assert_eq!(worker.shutdown(Instant::now()).ops_leaked, 0, "{backend}");
        });
    });
}

#[test]
fn a_dropped_aborted_or_forgotten_read_keeps_its_memory_until_the_answer() {
    let test = "a_dropped_aborted_or_forgotten_read_keeps_its_memory_until_the_answer";
    faultfs::run(test, |files| {
        on_each(|worker| {
            let before = quarantine::dropped();
            let dropped = || quarantine::dropped() - before;
            run_on(&worker, async {
                let file = File::open(files.path("never,direct")).await.unwrap();
                let buf = || Guarded::new(4096);
                // Dropped, by its timeout.
                assert!(time::timeout(SOON, file.read_at(buf(), 0)).await.is_err());
                // Aborted, with its task.
                let task = spawn_local({
                    let (file, buf) = (file.clone(), buf());
                    async move { drop(file.read_at(buf, 0).await) }
                });
                files.wait_held_driven(2).await;
                task.abort();
                assert!(task.await.unwrap_err().is_cancelled());
                // Forgotten.
                let mut read = Box::pin(file.read_at(buf(), 0));
                assert!(futures_util::poll!(&mut read).is_pending());
                files.wait_held_driven(3).await;
                std::mem::forget(read);
                assert_eq!(dropped(), 0, "the kernel may still write");
                files.release();
                yield_until("what was given up is freed", || dropped() == 2).await;
                yield_until("all is answered", || corelane::stats().in_flight == 0).await;
            });
            assert_eq!(worker.shutdown(Instant::now()).ops_leaked, 0);
            // A forgotten future leaks its buffer, or the worker's end frees it; never early.
            quarantine::release();
        });
    });
}

/// Waiting without standing in the way of the worker.
trait Driven {
    async fn wait_held_driven(&self, count: usize);
}

impl Driven for Files {
    async fn wait_held_driven(&self, count: usize) {
        yield_until("the requests have reached the file system", || {
            self.held() >= count
        })
        .await;
    }
}

#[test]
fn a_shutdown_keeps_to_its_deadline_and_reports_what_it_leaves() {
    faultfs::run(
        "a_shutdown_keeps_to_its_deadline_and_reports_what_it_leaves",
        |files| {
            on_each(|worker| {
                let backend = worker.backend().unwrap().to_string();
                let reads: Vec<_> = run_on(&worker, async {
                    let direct = File::open(files.path("never,direct")).await.unwrap();
                    // What the other backend has been answered is in the page cache.
                    let name = format!("never,id={}", backend.len());
                    let cached = File::open(files.path(&name)).await.unwrap();
                    let reads = vec![stuck_read(&direct, 0), stuck_read(&cached, 0)];
                    files.wait_held_driven(2).await;
                    reads
                });
                let start = Instant::now();
                let report = worker.shutdown(start + SOON);
                let took = start.elapsed();
                assert_eq!(
                    (report.tasks_aborted, report.ops_leaked),
                    (2, 2),
                    "{backend}"
                );
                assert!(took < LATE, "{backend}: {took:?}");
                for read in &reads {
                    assert!(read.is_finished(), "{backend}");
                }
                // What comes too late finds its memory as it was left.
                files.release();
            });
        },
    );
}

#[test]
fn an_executor_shuts_down_in_time_too() {
    faultfs::run("an_executor_shuts_down_in_time_too", |files| {
        for choice in [BackendChoice::Uring, BackendChoice::Threads] {
            let executor = Executor::builder()
                .workers(2)
                .config(config(choice))
                .start();
            let executor = match executor {
                Ok(executor) => executor,
                Err(error) => {
                    println!("SKIP: {choice:?}: {error}");
                    continue;
                }
            };
            let path = files.path("never,direct");
            let stuck = executor.spawn_on(0, || async move {
                let file = File::open(path).await.unwrap();
                drop(file.read_at(Vec::with_capacity(64), 0).await);
            });
            files.wait_held(1);
            let other = executor.spawn_on(1, || async { time::sleep(SOON).await });
            executor.block_on(other.unwrap()).unwrap();
            let start = Instant::now();
            let report = executor.shutdown(start + SOON);
            assert_eq!(
                (report.tasks_aborted, report.ops_leaked),
                (1, 1),
                "{choice:?}"
            );
            assert!(start.elapsed() < LATE, "{choice:?}: {:?}", start.elapsed());
            assert!(stuck.unwrap().is_finished());
            files.release();
        }
    });
}

/// A ring tries a write while it is submitted, unless it is told not to: then the worker would wait.
#[test]
fn a_write_times_out_while_the_others_go_on() {
    faultfs::run("a_write_times_out_while_the_others_go_on", |files| {
        on_each(|worker| {
            let backend = worker.backend().unwrap().to_string();
            run_on(&worker, async {
                // The first asks a file system that was never asked whether it can be polled.
                for (name, read, direct) in [
                    ("write=never,poll=never", false, false),
                    ("write=never,poll=never,id=2", true, false),
                    ("write=never,direct", true, true),
                    ("write=never", false, true),
                    ("write=never,direct", false, false),
                ] {
                    let mut options = OpenOptions::new();
                    options.read(read).write(true).direct(direct);
                    let file = options.open(files.path(name)).await.unwrap();
                    let write = file.write_at(vec![1; 8], 0);
                    assert!(time::timeout(SOON, write).await.is_err());
                    let write = file.writev_at(vec![vec![1; 8]; 2], 0);
                    assert!(time::timeout(SOON, write).await.is_err());
                    let write = file.write_all_at(vec![1; 8], 0);
                    assert!(time::timeout(SOON, write).await.is_err());
                    others_go_on(&backend).await;
                    yield_until("all is answered", || {
                        files.release();
                        corelane::stats().in_flight == 0
                    })
                    .await;
                }
            });
            assert_eq!(worker.shutdown(Instant::now()).ops_leaked, 0, "{backend}");
        });
    });
}

#[test]
fn open_stat_sync_write_and_close_time_out() {
    faultfs::run("open_stat_sync_write_and_close_time_out", |files| {
        on_each(|worker| {
            let backend = worker.backend().unwrap().to_string();
            run_on(&worker, async {
                let mut options = OpenOptions::new();
                options.read(true).write(true);
                let file = options.open(files.path("fsync=never,write=never"));
                let file = file.await.unwrap();
                let closing = File::open(files.path("close=never")).await.unwrap();
                assert!(time::timeout(SOON, file.sync_all()).await.is_err());
                let write = file.write_at(vec![1; 8], 0);
                assert!(time::timeout(SOON, write).await.is_err());
                assert!(time::timeout(SOON, closing.close()).await.is_err());
                others_go_on(&backend).await;
                let mut released = 0;
                for what in [Stuck::Open, Stuck::Stat] {
                    let before = released;
                    let stuck = what.start(files);
                    assert!(time::timeout(SOON, stuck).await.is_err(), "{backend}");
                    others_go_on(&backend).await;
                    yield_until("it has reached the file system", || {
                        released += usize::from(files.held() > 0);
                        files.release();
                        released > before && corelane::stats().in_flight == 0
                    })
                    .await;
                }
            });
            let report = worker.shutdown(Instant::now());
            assert_eq!(report.ops_leaked, 0, "{backend}");
        });
    });
}

/// Who has no more use for a file may have no time to wait for it either.
#[test]
fn the_last_handle_of_a_file_is_dropped_without_waiting() {
    let test = "the_last_handle_of_a_file_is_dropped_without_waiting";
    faultfs::run(test, |files| {
        on_each(|worker| {
            let backend = worker.backend().unwrap().to_string();
            run_on(&worker, async {
                let file = File::open(files.path("close=never")).await.unwrap();
                let clone = file.clone();
                drop(file);
                assert_eq!(corelane::stats().in_flight, 0, "a handle is left");
                drop(clone);
                others_go_on(&backend).await;
                files.wait_held_driven(1).await;
                // With the last operation, too, which has given its own handle up.
                let file = File::open(files.path("never,direct,close=never"))
                    .await
                    .unwrap();
                let read = file.read_at(Vec::with_capacity(64), 0);
                drop(file);
                assert!(time::timeout(SOON, read).await.is_err());
                files.wait_held_driven(2).await;
                yield_until("all is answered", || {
                    files.release();
                    corelane::stats().in_flight == 0
                })
                .await;
                others_go_on(&backend).await;
            });
            assert_eq!(worker.shutdown(Instant::now()).ops_leaked, 0, "{backend}");
        });
    });
}

/// A close that is given up before a helper has begun it is still made, and not on the worker.
#[test]
fn a_close_that_is_cancelled_in_its_line_keeps_nobody_waiting() {
    let test = "a_close_that_is_cancelled_in_its_line_keeps_nobody_waiting";
    faultfs::run(test, |files| {
        on_each(|worker| {
            let backend = worker.backend().unwrap().to_string();
            run_on(&worker, async {
                let closing = File::open(files.path("close=never")).await.unwrap();
                let file = File::open(files.path("never,direct")).await.unwrap();
                let stuck: Vec<_> = (0..HELPERS as u64)
                    .map(|at| stuck_read(&file, at))
                    .collect();
                files.wait_held_driven(HELPERS).await;
                assert!(time::timeout(SOON, closing.close()).await.is_err());
                files.wait_held_driven(HELPERS + 1).await;
                others_go_on(&backend).await;
                yield_until("all is answered", || {
                    files.release();
                    stuck.iter().all(JoinHandle::is_finished) && corelane::stats().in_flight == 0
                })
                .await;
            });
            assert_eq!(worker.shutdown(Instant::now()).ops_leaked, 0, "{backend}");
        });
    });
}

#[derive(Clone, Copy, Debug)]
enum Stuck {
    Open,
    Stat,
}

impl Stuck {
    async fn start(self, files: &Files) {
        match self {
            Self::Open => {
                // A name that is known: else the kernel would not get to the open on the worker.
                let path = files.path("open=never");
                fs::metadata(&path).await.unwrap();
                drop(File::open(path).await);
            }
            Self::Stat => drop(fs::metadata(files.path("stat=never")).await),
        }
    }
}

/// What a process that ends leaves to the kernel: nothing waits in vain for the worker, and what
/// the kernel waits for ends with the file system.
#[test]
fn a_process_ends_with_reads_in_flight() {
    let test = "a_process_ends_with_reads_in_flight";
    let child = faultfs::start(test, |files| {
        // Through the page cache: who waits for a page can be killed.
        let workers: Vec<_> = [BackendChoice::Uring, BackendChoice::Threads]
            .into_iter()
            .filter_map(|choice| Worker::new(config(choice)).ok())
            .collect();
        for (at, worker) in workers.iter().enumerate() {
            run_on(worker, async {
                let file = File::open(files.path("never")).await.unwrap();
                std::mem::forget(stuck_read(&file, at as u64 * 500_000));
                files.wait_held_driven(at + 1).await;
            });
        }
        println!("stuck");
        std::process::exit(0);
    });
    let Some(mut child) = child else { return };
    let status = child.wait(HUNG);
    let printed = child.printed();
    assert!(printed.contains("stuck"), "{printed}");
    assert!(
        status.is_some_and(|status| status.success()),
        "the process hangs: {status:?}\n{printed}"
    );
}

/// A call that the kernel itself does not give up (a direct read that has reached the file system)
/// keeps the process, as it would keep one of plain `pread`: until the file system is gone.
#[test]
fn a_process_that_cannot_end_does_when_the_file_system_is_gone() {
    let test = "a_process_that_cannot_end_does_when_the_file_system_is_gone";
    let child = faultfs::start(test, |files| {
        let workers: Vec<_> = [BackendChoice::Uring, BackendChoice::Threads]
            .into_iter()
            .filter_map(|choice| Worker::new(config(choice)).ok())
            .collect();
        for (at, worker) in workers.iter().enumerate() {
            run_on(worker, async {
                let file = File::open(files.path("never,direct")).await.unwrap();
                std::mem::forget(stuck_read(&file, 0));
                files.wait_held_driven(at + 1).await;
            });
        }
        println!("stuck");
        std::process::exit(0);
    });
    let Some(mut child) = child else { return };
    let start = Instant::now();
    while !child.printed().contains("stuck") {
        assert!(start.elapsed() < HUNG, "{}", child.printed());
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill();
    let alone = child.wait(SOON);
    println!("killed alone: {alone:?}");
    child.mount().abort();
    assert!(
        child.wait(LATE).is_some(),
        "the process hangs without its file system"
    );
}
