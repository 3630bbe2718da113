//! Reads that the page cache has are done when they are first polled; all others are submitted.

mod support;

use std::cell::Cell;
use std::fs;
use std::future::Future as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::Instant;

use corelane::buf::AlignedBuf;
use corelane::fs::{Advice, File, ReadMode};
use corelane::{Config, TurnBudget, Worker, spawn_local, stats, yield_now};

use support::{content, file_of, on_ring, run, run_with};

/// What a read costs of a poll's bytes at least.
const COST: usize = 8 * 1024;

#[test]
fn a_read_that_is_cached_is_done_in_its_first_poll() {
    if !on_ring("a_read_that_is_cached_is_done_in_its_first_poll") {
        return;
    }
    let wanted = content(100_000);
    let on_disk = file_of(&wanted);
    run(async {
        let file = File::open(on_disk.path()).await.unwrap();
        let before = stats();
        for (at, len) in [(0, 1), (1, 4_096), (4_095, 60_000), (99_999, 1)] {
            let mut read = Box::pin(file.read_at(Vec::with_capacity(len), at as u64));
            let polled = read.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            let std::task::Poll::Ready((result, buf)) = polled else {
                panic!("{len} bytes at {at} were not there")
            };
            assert_eq!(result.unwrap(), len);
            assert!(buf == wanted[at..at + len]);
        }
        assert_eq!(stats().cached_reads, before.cached_reads + 4);
        assert_eq!((stats().submits, stats().slots), (before.submits, 0));
    });
}

#[test]
fn reads_are_right_wherever_they_end() {
    let wanted = content(10_000);
    let on_disk = file_of(&wanted);
    run(async {
        let file = File::open(on_disk.path()).await.unwrap();
        for (at, len, count) in [
            (9_000, 1_000, 1_000),
            (9_000, 1_001, 1_000),
            (0, 1 << 20, 10_000),
            (10_000, 5, 0),
            (20_000, 5, 0),
            (500, 0, 0),
        ] {
            let (result, buf) = file.read_at(Vec::with_capacity(len), at).await;
            assert_eq!(result.unwrap(), count, "{len} bytes at {at}");
            let at = usize::try_from(at).unwrap().min(wanted.len());
            assert!(buf == wanted[at..at + count]);
        }
        for at in [u64::MAX, u64::MAX - 1, 1 << 63, i64::MAX as u64] {
            let (result, buf) = file.read_at(Vec::with_capacity(5), at).await;
            // What the system call makes of it: nothing there, or no such place.
            assert!(result.is_err() || buf.is_empty(), "{at}");
        }
        // Cut while it is open, and longer again.
        on_disk.as_file().set_len(100).unwrap();
        let (result, buf) = file.read_at(Vec::with_capacity(200), 0).await;
        assert!(result.unwrap() == 100 && buf == wanted[..100]);
        on_disk.as_file().set_len(200).unwrap();
        let (result, buf) = file.read_at(Vec::with_capacity(200), 0).await;
        assert!(result.unwrap() == 200 && buf[..100] == wanted[..100] && buf[100..] == [0; 100]);
    });
}

#[test]
fn what_is_not_cached_is_submitted_and_right() {
    let wanted = content(8 << 20);
    let on_disk = file_of(&wanted);
    on_disk.as_file().sync_all().unwrap();
    run(async {
        let file = File::open(on_disk.path()).await.unwrap();
        file.advise(0, 0, Advice::Random).await.unwrap();
        file.advise(0, 0, Advice::DontNeed).await.unwrap();
        // Some pages are there, and some are not.
        let (result, _) = file.read_at(Vec::with_capacity(300_000), 1 << 20).await;
        assert_eq!(result.unwrap(), 300_000);
        for index in 0..64 {
            let (at, len) = (index * 131_000, 131_000.min(wanted.len() - index * 131_000));
            let (result, buf) = file.read_at(Vec::with_capacity(len), at as u64).await;
            assert!(
                result.unwrap() == len && buf == wanted[at..at + len],
                "{index}"
            );
        }
    });
}

/// `RWF_NOWAIT` makes a direct read wait for the device, a pipe has no positions, and a device may
/// notice.
#[test]
fn only_cached_regular_files_are_tried() {
    let on_disk = file_of(&content(8_192));
    run(async {
        let direct = fs::File::options()
            .read(true)
            .custom_flags(libc::O_DIRECT)
            .open(on_disk.path());
        if let Ok(direct) = direct {
            let buf = AlignedBuf::new(4_096, 4_096);
            let (result, _) = File::from_std(direct).read_at(buf, 4_096).await;
            assert_eq!(result.unwrap(), 4_096);
        }
        let zero = File::open("/dev/zero").await.unwrap();
        assert_eq!(zero.read_at(vec![1; 8], 0).await.0.unwrap(), 8);
        let status = File::open("/proc/self/status").await.unwrap();
        assert!(status.read_at(vec![1; 8], 0).await.0.unwrap() > 0);
        let file = File::open(on_disk.path()).await.unwrap();
        let handed_off = file.read_at_with(vec![1; 8], 0, ReadMode::Async);
        assert_eq!(handed_off.await.0.unwrap(), 8);
        assert_eq!(stats().cached_reads, 0);
    });
    run_with(Config::new().cached_bytes_max(0), async {
        let file = File::open(on_disk.path()).await.unwrap();
        assert_eq!(file.read_at(vec![1; 8], 0).await.0.unwrap(), 8);
        assert_eq!(stats().cached_reads, 0);
    });
}

/// A task that reads for ever, and is never made to wait by the kernel, gives way all the same.
#[test]
fn a_task_that_only_reads_what_is_cached_lets_others_run() {
    let on_disk = file_of(&content(8_192));
    run(async {
        let file = File::open(on_disk.path()).await.unwrap();
        let reader = spawn_local(async move {
            let mut buf = Vec::with_capacity(64);
            loop {
                let (result, back) = file.read_at(buf, 100).await;
                assert_eq!(result.unwrap(), 64);
                buf = back;
            }
        });
        for _ in 0..100 {
            yield_now().await;
        }
        reader.abort();
    });
}

#[test]
fn a_poll_and_a_turn_copy_no_more_than_they_may() {
    const LEN: usize = 64 * 1024;
    if !on_ring("a_poll_and_a_turn_copy_no_more_than_they_may") {
        return;
    }
    let on_disk = file_of(&content(LEN));
    let config = Config::new()
        .cached_bytes_max(4 * LEN)
        .submit_bytes_max(12 * LEN);
    let worker = Worker::new(config).unwrap();
    let file = worker.block_on(File::open(on_disk.path())).unwrap();
    let ended = Rc::new(Cell::new(0));
    for _ in 0..10 {
        let (file, ended) = (file.clone(), Rc::clone(&ended));
        drop(worker.spawn_local(async move {
            let mut buf = Vec::with_capacity(LEN);
            for _ in 0..6 {
                buf = file.read_at(buf, 0).await.1;
            }
            ended.set(ended.get() + 1);
        }));
    }
    let before = worker.stats();
    let report = worker.turn(TurnBudget::default());
    // Three tasks, with four reads each, the fifth of each submitted.
    assert_eq!(report.polls, 3);
    assert!(report.more_work);
    assert_eq!(worker.stats().cached_reads - before.cached_reads, 12);
    assert_eq!(worker.stats().submits - before.submits, 3);
    while ended.get() < 10 {
        assert!(worker.turn(TurnBudget::default()).polls <= 3 + 10);
    }
    assert_eq!(
        worker.shutdown(Instant::now() + support::HUNG).ops_leaked,
        0
    );
}

#[test]
fn small_reads_count_for_more_than_their_bytes() {
    if !on_ring("small_reads_count_for_more_than_their_bytes") {
        return;
    }
    let on_disk = file_of(&content(100));
    run_with(Config::new().cached_bytes_max(10 * COST), async {
        let file = File::open(on_disk.path()).await.unwrap();
        yield_now().await;
        let before = stats();
        // All in one poll, but for the one that has to be submitted.
        for _ in 0..11 {
            assert_eq!(file.read_at(vec![0; 1], 7).await.0.unwrap(), 1);
        }
        assert_eq!(stats().cached_reads - before.cached_reads, 10);
        assert_eq!(stats().submits - before.submits, 1);
    });
}
