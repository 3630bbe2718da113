//! Random scripts on the simulated ring: whatever order, delay and fault a seed brings,
//! operations give right bytes, cancelled ones free what they hold, and a worker ends clean.
//!
//! `CORELANE_SIM_SEEDS` sets how many seeds, `CORELANE_SIM_SEED` the first one.

mod common;

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use common::quarantine::{self, Guarded};
use common::{Rng, fds, is_pattern, number, pattern};
use corelane::fs::{File, ReadMode};
use corelane::net::{TcpListener, TcpStream, UnixStream};
use corelane::{BackendChoice, Config, JoinHandle, SimConfig, Worker, time};

#[test]
fn random_scripts_end_clean_whatever_the_seed() {
    let (first, seeds) = (
        number("CORELANE_SIM_SEED", 1),
        number("CORELANE_SIM_SEEDS", 1000),
    );
    let tally = Rc::new(Tally::default());
    let mut overflows = 0;
    let mut queued = 0;
    let mut warm = None;
    for seed in first..first + seeds {
        let (over, waited) = run_seed(seed, &tally);
        overflows += over;
        queued += u64::from(waited);
        // The first worker's eventfd stays for those after it.
        let now = fds::open();
        let before = warm.get_or_insert_with(|| now.clone());
        assert_eq!(
            now.len(),
            before.len(),
            "seed {seed} left descriptors open: {now:?}"
        );
    }
    quarantine::release();
    println!(
        "seeds {first}..{}: {tally:?}, {overflows} overflows, {queued} waits",
        first + seeds
    );
    if seeds >= 1000 {
        for (what, count) in [
            ("completed", tally.completed.get()),
            ("failed", tally.failed.get()),
            ("dropped", tally.dropped.get()),
            ("timed out", tally.timed_out.get()),
            ("aborted", tally.aborted.get()),
            ("kicked", tally.kicked.get()),
            ("overflows", overflows),
            ("waited for a credit", queued),
        ] {
            assert!(count > 0, "nothing {what} in {seeds} seeds");
        }
    }
}

/// What the scripts have met.
#[derive(Debug, Default)]
struct Tally {
    completed: Cell<u64>,
    failed: Cell<u64>,
    dropped: Cell<u64>,
    timed_out: Cell<u64>,
    aborted: Cell<u64>,
    kicked: Cell<u64>,
}

fn count(cell: &Cell<u64>) {
    cell.set(cell.get() + 1);
}

impl Tally {
    /// Takes a result that may be one of the ring's errors.
    fn result<T>(&self, result: io::Result<T>) -> Option<T> {
        count(if result.is_ok() {
            &self.completed
        } else {
            &self.failed
        });
        result
            .inspect_err(|error| assert!(error.raw_os_error().is_some(), "{error}"))
            .ok()
    }
}

fn run_seed(seed: u64, tally: &Rc<Tally>) -> (u64, bool) {
    let mut rng = Rng::new(seed);
    let mut sim = SimConfig::new(seed);
    sim.delay_max = rng.pick(&[0, 3, 8, 20]);
    sim.short_percent = rng.pick(&[0, 30, 90]);
    sim.error_percent = rng.pick(&[0, 0, 5, 20]);
    sim.stuck_percent = rng.pick(&[0, 50, 100]);
    let (sq, cq) = rng.pick(&[(1, 4), (2, 4), (8, 8), (64, 256)]);
    let config = Config::new()
        .sq_entries(sq)
        .cq_entries(cq)
        .backend(BackendChoice::Sim(sim));
    let worker = Worker::new(config).unwrap();
    let tasks: Vec<JoinHandle<()>> = (0..1 + rng.below(6))
        .map(|number| {
            let mut rng = Rng::new(seed ^ (number as u64 + 1) << 40);
            let tally = Rc::clone(tally);
            worker.spawn_local(async move {
                for _ in 0..1 + rng.below(8) {
                    step(&mut rng, &tally).await;
                }
            })
        })
        .collect();
    kick_from_another_thread(&worker, &mut rng, tally);
    let root = async {
        let limit = Duration::from_micros(rng.below(1500) as u64);
        // Both ends are fine.
        let _ = time::timeout(limit, std::future::pending::<()>()).await;
    };
    worker.block_on(root);
    if rng.percent(30) {
        for task in &tasks {
            task.abort();
            count(&tally.aborted);
        }
    }
    let stats = worker.stats();
    let report = worker.shutdown(Instant::now() + Duration::from_micros(rng.below(2) as u64 * 500));
    assert_eq!(report.ops_leaked, 0, "seed {seed}: {stats:?}");
    for task in tasks {
        assert!(
            task.is_finished(),
            "seed {seed}: a task outlived its worker"
        );
        let ended = futures_executor::block_on(task);
        let panicked = ended.is_err_and(|error| error.is_panic());
        assert!(!panicked, "seed {seed}: a task panicked");
    }
    (stats.overflows, stats.queued_high_water > 0)
}

/// Lets another thread end a wait, which is a completion of the kick's poll.
fn kick_from_another_thread(worker: &Worker, rng: &mut Rng, tally: &Tally) {
    if !rng.percent(20) {
        return;
    }
    let (sender, receiver) = corelane::sync::oneshot::channel();
    let pause = Duration::from_micros(rng.below(300) as u64);
    let thread = std::thread::spawn(move || {
        std::thread::sleep(pause);
        sender.send(7).unwrap();
    });
    // No timer and, at times, no operation: only the kick can end the wait.
    assert_eq!(worker.block_on(receiver), Ok(7));
    thread.join().unwrap();
    count(&tally.kicked);
}

async fn step(rng: &mut Rng, tally: &Tally) {
    let op: Pin<Box<dyn Future<Output = ()> + '_>> = match rng.below(10) {
        0 => Box::pin(read(rng.clone(), tally)),
        1 => Box::pin(read_exact(rng.clone(), tally)),
        2 => Box::pin(write(rng.clone(), tally)),
        3 => Box::pin(metadata(tally)),
        4 => Box::pin(talk(rng.clone(), tally)),
        5 => Box::pin(accept(rng.clone(), tally)),
        6 => Box::pin(open_and_close(tally)),
        7 => Box::pin(many_at_once(rng.clone(), tally)),
        8 => Box::pin(read_full(rng.clone(), tally)),
        _ => Box::pin(connect(tally)),
    };
    match rng.below(4) {
        0 => {
            let polls = rng.below(4);
            if poll_times(op, polls).await {
                count(&tally.dropped);
            }
        }
        _ => {
            let limit = Duration::from_micros(rng.below(400) as u64);
            if time::timeout(limit, op).await.is_err() {
                count(&tally.timed_out);
            }
        }
    }
}

/// Polls `future` up to some times and drops it; says whether it was not ready by then.
async fn poll_times(mut future: Pin<Box<dyn Future<Output = ()> + '_>>, polls: usize) -> bool {
    for _ in 0..polls {
        if std::future::poll_fn(|cx| std::task::Poll::Ready(future.as_mut().poll(cx).is_ready()))
            .await
        {
            return false;
        }
        corelane::yield_now().await;
    }
    true
}

fn any_file() -> File {
    File::from_std(std::fs::File::open("/dev/null").unwrap())
}

async fn read(mut rng: Rng, tally: &Tally) {
    let offset = rng.below(1 << 40) as u64;
    let mode = rng.pick(&[ReadMode::Inline, ReadMode::NoWait, ReadMode::Async]);
    let (result, buf) = any_file()
        .read_at_with(Guarded::new(1 + rng.below(500)), offset, mode)
        .await;
    if let Some(count) = tally.result(result) {
        assert_eq!(count, buf.bytes().len());
        assert!(count > 0 && is_pattern(buf.bytes(), offset));
    }
}

async fn read_exact(mut rng: Rng, tally: &Tally) {
    let (len, offset) = (1 + rng.below(500), rng.below(1 << 40) as u64);
    let (result, buf) = any_file()
        .read_exact_at(Vec::with_capacity(len), offset)
        .await;
    if tally.result(result).is_some() {
        assert_eq!(buf.len(), buf.capacity());
        assert!(is_pattern(&buf, offset));
    }
}

/// Goes on after a short read; given up in between at times, when the memory is in the future.
async fn read_full(mut rng: Rng, tally: &Tally) {
    let (len, offset) = (1 + rng.below(500), rng.below(1 << 40) as u64);
    let mode = rng.pick(&[ReadMode::Inline, ReadMode::NoWait, ReadMode::Async]);
    let (result, buf) = any_file()
        .read_full_at(Guarded::new(len), len, offset, mode)
        .await;
    if let Some(count) = tally.result(result) {
        assert_eq!((count, buf.bytes().len()), (len, len));
        assert!(is_pattern(buf.bytes(), offset));
    }
}

async fn write(mut rng: Rng, tally: &Tally) {
    let len = 1 + rng.below(500);
    let (result, buf) = any_file().write_all_at(Guarded::filled(len), 9).await;
    tally.result(result);
    assert_eq!(buf.bytes(), pattern(len));
}

async fn metadata(tally: &Tally) {
    if let Some(metadata) = tally.result(corelane::fs::metadata("/no/such/path").await) {
        assert!(metadata.is_file());
        assert_eq!(metadata.len(), 1 << 30);
    }
}

async fn open_and_close(tally: &Tally) {
    if let Some(file) = tally.result(File::open("/no/such/path").await) {
        tally.result(file.close().await);
    }
}

async fn talk(mut rng: Rng, tally: &Tally) {
    let (stream, peer) = UnixStream::pair().unwrap();
    let len = 1 + rng.below(300);
    tally.result(stream.send_all(Guarded::filled(len)).await.0);
    drop(peer);
    let (result, buf) = stream.recv(Guarded::new(len)).await;
    if tally.result(result).is_some() {
        assert!(is_pattern(buf.bytes(), 0));
    }
    let halves = vec![Guarded::filled(len), Guarded::filled(1)];
    let (result, halves) = stream.send_vectored_all(halves).await;
    tally.result(result);
    assert_eq!(halves[0].bytes().len() + halves[1].bytes().len(), len + 1);
    tally.result(stream.shutdown(std::net::Shutdown::Both).await);
    tally.result(stream.close().await);
}

async fn accept(mut rng: Rng, tally: &Tally) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    if rng.percent(50) {
        tally.result(listener.accept().await);
        return;
    }
    let mut incoming = listener.incoming();
    for _ in 0..1 + rng.below(20) {
        let next = incoming.next().await.expect("the stream is open");
        tally.result(next);
    }
    incoming.close();
    // What came before the close, and no more.
    while let Some(next) = incoming.next().await {
        tally.result(next);
    }
}

async fn connect(tally: &Tally) {
    let addr = "127.0.0.1:9".parse().unwrap();
    if let Some(stream) = tally.result(TcpStream::connect(addr).await) {
        tally.result(stream.recv(Vec::with_capacity(16)).await.0);
    }
}

/// More operations than the queues have room for, some of which are dropped before they start.
async fn many_at_once(mut rng: Rng, tally: &Tally) {
    let file = any_file();
    let mut reads: Vec<_> = (0..12)
        .map(|at| (at, Box::pin(file.read_at(Guarded::new(64), at * 64))))
        .collect();
    std::future::poll_fn(|cx| {
        reads.retain_mut(|(at, read)| match read.as_mut().poll(cx) {
            std::task::Poll::Ready((result, buf)) => {
                if tally.result(result).is_some() {
                    assert!(is_pattern(buf.bytes(), *at * 64));
                }
                false
            }
            std::task::Poll::Pending => true,
        });
        while !reads.is_empty() && rng.percent(20) {
            drop(reads.swap_remove(rng.below(reads.len())));
            count(&tally.dropped);
        }
        if reads.is_empty() {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
}
