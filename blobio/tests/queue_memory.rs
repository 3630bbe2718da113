//! Requests for whose destinations there is no memory wait in the order of the queue: they hold up
//! nobody whose turn is before theirs and nobody who needs none, and are not passed for ever.
#![cfg(feature = "executor")]

mod util;

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use blobio::queue::{BlobQueue, Class, QueueConfig, QueuedBlob, Request, RequestHandle};
use corelane::{spawn_local, yield_now};

use util::content;
use util::queue_blobs::{Gate, Log, Scripted, on_worker, turns};

/// Length of a read.
const LEN: usize = 4096;

/// The reads so far, in reads' lengths.
fn reads(log: &Log) -> Vec<u64> {
    let positions = log.positions().into_iter();
    positions.map(|pos| pos / LEN as u64).collect()
}

/// A queue with memory for ten reads' lengths in destinations that are half full.
fn small_memory(config: QueueConfig) -> (BlobQueue, QueuedBlob, Gate, Log) {
    let queue = BlobQueue::new(QueueConfig {
        begun_max: 10 * LEN as u64,
        ..config
    });
    let queue = queue.unwrap();
    let source = Scripted::new(content(1100 * LEN)).read_max(u32::try_from(LEN).unwrap());
    let (gate, log) = (source.gate(), source.log());
    let blob = queue.register(source);
    (queue, blob, gate, log)
}

/// A request of `len` reads at that of number `at`, whose destination is yet to be allocated.
fn of(blob: &QueuedBlob, at: u64, len: usize, class: Class) -> Request {
    Request::vec(blob, at * LEN as u64, len * LEN).class(class)
}

fn submit(queue: &BlobQueue, request: Request) -> RequestHandle {
    queue.try_submit(request).unwrap()
}

/// Where the large request is, in reads.
const LARGE: u64 = 1010;

/// Submits a request of four reads whenever the one before is half read, so that there are one or
/// two and never none, until told to stop; not for ever, so that a test of who starves ends.
fn stream(queue: &BlobQueue, blob: &QueuedBlob, log: &Log, class: Class) -> Rc<Cell<bool>> {
    let stop = Rc::<Cell<bool>>::default();
    let (queue, blob, log, told) = (queue.clone(), blob.clone(), log.clone(), Rc::clone(&stop));
    drop(spawn_local(async move {
        for at in (0..1000).step_by(4) {
            submit(&queue, of(&blob, at, 4, class)).detach();
            while !told.get() && !reads(&log).contains(&(at + 1)) {
                yield_now().await;
            }
        }
    }));
    stop
}

/// Gives how many reads were begun before those of a large request beside a stream of others.
fn reads_ahead(config: QueueConfig, large: Class, others: Class) -> usize {
    on_worker(async {
        let (queue, blob, gate, log) = small_memory(config);
        let stop = stream(&queue, &blob, &log, others);
        turns().await;
        let large = submit(&queue, of(&blob, LARGE, 40, large));
        turns().await;
        gate.open();
        assert!(large.await.result.is_ok());
        stop.set(true);
        queue.shutdown().await;
        let reads = reads(&log);
        reads.iter().position(|read| *read == LARGE).unwrap()
    })
}

#[test]
fn a_large_request_is_not_passed_by_later_ones_of_its_class_or_a_lower_one() {
    for others in [Class::Low, Class::Realtime] {
        let ahead = reads_ahead(QueueConfig::default(), Class::Realtime, others);
        // Those of the one that had begun.
        assert_eq!(ahead, 4, "{others:?}");
    }
}

#[test]
fn a_large_request_does_not_starve_beneath_higher_classes() {
    let mut config = QueueConfig::default();
    config.policy.age_after_ns = 0;
    let ahead = reads_ahead(config.clone(), Class::Low, Class::Realtime);
    assert!((60..100).contains(&ahead), "after {ahead} reads");
    // Not before it has aged.
    config.policy.age_after_ns = u64::MAX;
    let ahead = reads_ahead(config, Class::Low, Class::Realtime);
    assert_eq!(ahead, 1000);
}

#[test]
fn who_waits_for_memory_holds_up_no_higher_class_and_nobody_who_needs_none() {
    on_worker(async {
        let (queue, blob, _gate, log) = small_memory(QueueConfig::default());
        let begun = submit(&queue, of(&blob, 0, 2, Class::Low));
        turns().await;
        let large = submit(&queue, of(&blob, 100, 40, Class::Normal));
        turns().await;
        let waits =
            [Class::Normal, Class::Low].map(|class| submit(&queue, of(&blob, 50, 2, class)));
        let higher = submit(&queue, of(&blob, 200, 2, Class::High));
        // One that is read at once, and one that brings its memory along.
        let short = submit(&queue, of(&blob, 300, 1, Class::Low));
        let own = Request::new(&blob, 400 * LEN as u64, 2 * LEN, vec![0; 2 * LEN]);
        let own = submit(&queue, own.class(Class::Low));
        turns().await;
        let mut begun_reads = reads(&log);
        begun_reads.sort_unstable();
        assert_eq!(begun_reads, [0, 200, 300, 400]);
        drop((begun, large, waits, higher, short, own));
    });
}

#[test]
fn who_waits_for_memory_goes_by_class_then_deadline_then_arrival() {
    on_worker(async {
        let (queue, blob, gate, log) = small_memory(QueueConfig::default());
        let begun = submit(&queue, of(&blob, 0, 2, Class::Low));
        turns().await;
        let soon = Instant::now() + Duration::from_secs(1000);
        let later = soon + Duration::from_secs(1000);
        let mut last = Vec::new();
        for (at, class, deadline) in [
            (100, Class::Low, None),
            (200, Class::Normal, None),
            (300, Class::Normal, Some(later)),
            (400, Class::Normal, Some(soon)),
            (500, Class::Normal, None),
            (600, Class::Realtime, None),
            (700, Class::Low, None),
            (800, Class::Low, None),
        ] {
            let mut request = of(&blob, at, 40, class);
            if let Some(deadline) = deadline {
                request = request.deadline(deadline);
            }
            last.push(submit(&queue, request));
        }
        turns().await;
        // They keep their turns up to date while they wait.
        assert!(last[7].set_class(Class::Realtime));
        assert!(last[6].set_deadline(Some(soon)));
        assert_eq!(queue.stats().queued, 8);
        gate.open();
        begun.await.result.unwrap();
        for one in last {
            one.await.result.unwrap();
        }
        let mut firsts = reads(&log);
        firsts.retain(|read| *read >= 100 && read.is_multiple_of(100));
        assert_eq!(firsts, [600, 800, 400, 300, 200, 500, 700, 100]);
    });
}

#[test]
fn who_waits_for_memory_and_is_cancelled_holds_up_nobody() {
    on_worker(async {
        let (queue, blob, _gate, log) = small_memory(QueueConfig::default());
        let begun = submit(&queue, of(&blob, 0, 2, Class::Low));
        turns().await;
        let large = submit(&queue, of(&blob, 100, 40, Class::Low));
        turns().await;
        let small = submit(&queue, of(&blob, 200, 2, Class::Low));
        turns().await;
        assert_eq!(reads(&log), [0]);
        large.cancel();
        assert!(large.await.result.unwrap_err().is_cancelled());
        turns().await;
        assert_eq!(reads(&log), [0, 200]);
        drop((begun, small));
    });
}
