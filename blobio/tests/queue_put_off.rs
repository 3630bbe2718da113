//! Reads for which there is no room take turns with what else is next: they hold up nobody for more
//! than one read, and go before what came later in their class.
#![cfg(feature = "executor")]

mod util;

use blobio::queue::limits::Bounds;
use blobio::queue::{BlobQueue, Class, QueueConfig, QueuedBlob, Request};
use corelane::spawn_local;

use util::content;
use util::queue_blobs::{Gate, Log, Scripted, on_worker, turns};

/// Length of a read.
const LEN: usize = 4096;

/// Eight neighbours of class `Low`, which may have one read in flight: they are chosen together,
/// but may not share a read.
async fn put_seven_off(config: QueueConfig) -> (BlobQueue, QueuedBlob, Gate, Log) {
    let one = Bounds {
        ops: 1,
        bytes: 1 << 20,
    };
    let config = QueueConfig {
        in_flight: config.in_flight.with_class(Class::Low, one),
        merge_max: LEN as u64,
        ..config
    };
    let queue = BlobQueue::new(config).unwrap();
    let source = Scripted::new(content(64 * LEN)).merging();
    let (gate, log) = (source.gate(), source.log());
    let blob = queue.register(source);
    for at in 0..8 {
        queue.try_submit(low(&blob, at)).unwrap().detach();
    }
    turns().await;
    assert_eq!(log.positions(), [0]);
    (queue, blob, gate, log)
}

fn low(blob: &QueuedBlob, at: u64) -> Request {
    Request::vec(blob, at * LEN as u64, LEN).class(Class::Low)
}

/// The reads so far, in reads' lengths.
fn reads(log: &Log) -> Vec<u64> {
    let positions = log.positions().into_iter();
    positions.map(|pos| pos / LEN as u64).collect()
}

#[test]
fn reads_that_were_put_off_for_their_class_hold_up_no_other() {
    on_worker(async {
        let (queue, blob, gate, log) = put_seven_off(QueueConfig::default()).await;
        for (at, class) in [(20, Class::Realtime), (30, Class::Normal)] {
            let request = Request::vec(&blob, at * LEN as u64, LEN).class(class);
            queue.try_submit(request).unwrap().detach();
        }
        // Those of their class are behind them.
        queue.try_submit(low(&blob, 40)).unwrap().detach();
        turns().await;
        assert_eq!(reads(&log), [0, 20, 30]);
        assert_eq!(queue.stats().queued, 1);
        gate.open();
        queue.shutdown().await;
    });
}

#[test]
fn reads_that_were_put_off_go_before_what_came_later() {
    on_worker(async {
        let (queue, blob, gate, log) = put_seven_off(QueueConfig::default()).await;
        let last = queue.try_submit(low(&blob, 40)).unwrap();
        gate.open();
        assert!(last.await.result.is_ok());
        assert_eq!(reads(&log), [0, 1, 2, 3, 4, 5, 6, 7, 40]);
    });
}

#[test]
fn an_urgent_request_goes_before_reads_that_were_put_off_when_all_is_full() {
    on_worker(async {
        let mut config = QueueConfig::default();
        config.in_flight.all.ops = 1;
        let (queue, blob, gate, log) = put_seven_off(config).await;
        let urgent = Request::vec(&blob, 20 * LEN as u64, LEN).class(Class::Realtime);
        let urgent = queue.try_submit(urgent).unwrap();
        gate.open();
        assert!(urgent.await.result.is_ok());
        assert_eq!(reads(&log)[..2], [0, 20]);
    });
}

/// Their destinations are allocated: there are to be no more than were planned at one time.
#[test]
fn no_more_are_put_off_until_those_are_gone() {
    on_worker(async {
        let (queue, blob, gate, log) = put_seven_off(QueueConfig::default()).await;
        for at in 8..16 {
            queue.try_submit(low(&blob, at)).unwrap().detach();
        }
        let neighbour = Request::vec(&blob, 16 * LEN as u64, LEN).class(Class::High);
        queue.try_submit(neighbour).unwrap().detach();
        turns().await;
        assert_eq!(reads(&log), [0, 16]);
        assert_eq!(queue.stats().queued, 8);
        gate.open();
        queue.shutdown().await;
    });
}

#[test]
fn reads_that_were_put_off_do_not_starve() {
    on_worker(async {
        let mut config = QueueConfig::default();
        config.in_flight.all.ops = 1;
        config.policy.age_after_ns = 0;
        let (queue, blob, gate, log) = put_seven_off(config).await;
        gate.open();
        for _ in 0..400 {
            let pair = [20, 30].map(|at| {
                let request = Request::vec(&blob, at * LEN as u64, LEN).class(Class::Realtime);
                queue.try_submit(request).unwrap()
            });
            for one in pair {
                assert!(one.await.result.is_ok());
            }
        }
        let low = reads(&log).iter().filter(|at| **at < 8).count();
        assert_eq!(low, 8);
    });
}

#[test]
fn a_queue_that_ends_loses_no_read_that_was_put_off() {
    on_worker(async {
        let (queue, blob, gate, log) = put_seven_off(QueueConfig::default()).await;
        let last = queue.try_submit(low(&blob, 40)).unwrap();
        let shutdown = spawn_local(async move {
            queue.shutdown().await;
            queue.stats()
        });
        turns().await;
        gate.open();
        let stats = shutdown.await.unwrap();
        assert_eq!((stats.held, stats.queued, stats.in_flight.ops), (0, 0, 0));
        assert!(last.await.result.is_err());
        assert_eq!(reads(&log), [0, 1, 2, 3, 4, 5, 6, 7]);
    });
}
