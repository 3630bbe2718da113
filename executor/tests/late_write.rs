//! A worker that ends with large direct reads in flight never lets the device write into memory
//! that was freed: the buffers are dropped only when the reads have ended.

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use common::quarantine::{self, Guarded};
use common::{PatternFile, is_pattern};
use corelane::fs::File;
use corelane::{BackendChoice, Config, JoinHandle, TurnBudget, Worker};

const READ_LEN: usize = 8 << 20;
const READS: usize = 4;
/// How long after the end the device is given to write late; such a read takes a tenth of that.
const WATCH: Duration = Duration::from_millis(150);

/// How often all reads are tried to have in flight at once, and then one at least: on an emulated
/// processor the device ends the first ones before the last one is handed over.
const ATTEMPTS: [(usize, usize); 2] = [(10, READS), (10, 1)];

/// How the worker ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Drop,
    Shutdown,
    /// By the panic of the thread that owns it.
    Unwind,
    /// After its tasks were aborted, and the turn that drops their futures.
    Abort,
}

/// What was started.
struct Started {
    worker: Worker,
    tasks: Vec<JoinHandle<()>>,
    /// How many buffers had been dropped before.
    dropped: u64,
}

/// Starts the reads.
fn start(file: &PatternFile, backend: BackendChoice) -> Option<Started> {
    let dropped = quarantine::dropped();
    let config = Config::new()
        .backend(backend)
        .submit_bytes_max(READS * READ_LEN);
    let worker = Worker::new(config).unwrap();
    let tasks = {
        let _entered = worker.enter();
        let file = File::from_std(file.open_direct()?);
        (0..READS)
            .map(|at| {
                let file = file.clone();
                worker.spawn_local(async move {
                    let offset = (at * READ_LEN) as u64;
                    let (result, buf) = file.read_at(Guarded::new(READ_LEN), offset).await;
                    assert_eq!(result.unwrap(), READ_LEN);
                    assert!(is_pattern(&buf.bytes()[..4096], offset));
                })
            })
            .collect()
    };
    worker.turn(TurnBudget::default());
    Some(Started {
        worker,
        tasks,
        dropped,
    })
}

/// Ends the worker; gives its tasks.
fn end(started: Started, end: End) -> Vec<JoinHandle<()>> {
    let Started {
        worker,
        tasks,
        dropped,
    } = started;
    match end {
        End::Drop => drop(worker),
        End::Shutdown => {
            for task in &tasks {
                task.abort();
            }
            // The tasks end at once; the reads have as long as a drop gives them.
            let deadline = Instant::now() + Duration::from_secs(5);
            assert_eq!(worker.shutdown(deadline).ops_leaked, 0);
        }
        End::Unwind => {
            let unwound = catch_unwind(AssertUnwindSafe(|| {
                let _worker = worker;
                std::panic::resume_unwind(Box::new("the owner's panic"));
            }));
            assert!(unwound.is_err());
        }
        End::Abort => {
            for task in &tasks {
                task.abort();
            }
            // The buffers stay: only the futures go.
            worker.turn(TurnBudget::default());
            watch(Duration::from_millis(1));
            let in_flight = worker.stats().in_flight;
            let freed = usize::try_from(quarantine::dropped() - dropped).unwrap();
            assert!(freed + usize::try_from(in_flight).unwrap() >= READS);
            drop(worker);
        }
    }
    tasks
}

/// Looks at the freed buffers until the time is over.
fn watch(time: Duration) {
    let start = Instant::now();
    while start.elapsed() < time {
        quarantine::check();
        std::thread::sleep(Duration::from_millis(1));
    }
    quarantine::check();
}

/// Starts the reads, again when a busy machine let them end before enough were in flight.
fn start_all(file: &PatternFile, backend: BackendChoice) -> Option<Started> {
    for (attempts, enough) in ATTEMPTS {
        for _ in 0..attempts {
            let started = start(file, backend)?;
            if started.worker.stats().in_flight >= enough as u64 {
                return Some(started);
            }
            started.worker.run();
            drop(started);
            quarantine::release();
        }
    }
    panic!("the reads ended too early for this test, in {ATTEMPTS:?} attempts");
}

#[test]
fn a_worker_that_ends_waits_for_its_direct_reads() {
    match Worker::new(Config::new().backend(BackendChoice::Uring)) {
        Ok(_) => waits_for_its_direct_reads(BackendChoice::Uring),
        Err(error) => println!("SKIP: direct reads of a ring: {error}"),
    }
    waits_for_its_direct_reads(BackendChoice::Threads);
}

fn waits_for_its_direct_reads(backend: BackendChoice) {
    let file = PatternFile::new("late-write", READS * READ_LEN);
    for how in [End::Drop, End::Shutdown, End::Unwind, End::Abort] {
        let Some(started) = start_all(&file, backend) else {
            println!("SKIP: no direct I/O on {}", file.path.display());
            return;
        };
        let dropped = started.dropped;
        let tasks = end(started, how);
        // Every buffer is free now, and has a canary in it.
        assert_eq!(
            quarantine::dropped() - dropped,
            READS as u64,
            "{how:?}: buffers were freed early, or never"
        );
        assert!(tasks.iter().all(JoinHandle::is_finished), "{how:?}");
        watch(WATCH);
        quarantine::release();
    }
}
