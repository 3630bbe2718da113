//! Short reads of a blob that is not cached share reads with their neighbours; those of one that is,
//! or that is read ahead, do not.
#![cfg(feature = "executor")]

mod util;

use blobio::queue::{BlobQueue, OnError, QueueConfig, QueuedBlob, Request};
use corelane::{Config, Worker};

use util::content;
use util::queue_blobs::Scripted;

const ENTRY_LEN: usize = 1 << 10;
const ENTRIES: usize = 1_000;

/// Reads every entry once, in an order that is not theirs, and checks their bytes.
async fn read_scattered(queue: &BlobQueue, blob: &QueuedBlob, bytes: &[u8], len: usize) {
    // Odd and no multiple of five, so that each comes once.
    read_by_steps(queue, blob, bytes, len, 387).await;
}

/// Reads every entry once, each `step` entries behind the one before.
async fn read_by_steps(
    queue: &BlobQueue,
    blob: &QueuedBlob,
    bytes: &[u8],
    len: usize,
    step: usize,
) {
    let entries = bytes.len() / len;
    let places: Vec<usize> = (0..entries).map(|index| index * step % entries).collect();
    let requests = places
        .iter()
        .map(|place| Request::vec(blob, (place * len) as u64, len));
    let batch = queue.submit_batch(requests.collect(), OnError::Cancel);
    let done = batch.await.unwrap().await;
    for (place, finished) in places.iter().zip(&done.results) {
        assert_eq!(finished.bytes(), &bytes[place * len..][..len], "{place}");
    }
}

#[test]
fn scattered_short_reads_of_what_is_not_cached_are_merged() {
    let bytes = content(ENTRIES * ENTRY_LEN);
    let source = Scripted::new(bytes.clone());
    source.cold().set(true);
    let log = source.log();
    Worker::new(Config::default()).unwrap().block_on(async {
        let queue = BlobQueue::new(QueueConfig::default()).unwrap();
        let blob = queue.register(source);
        read_scattered(&queue, &blob, &bytes, ENTRY_LEN).await;
        let stats = queue.stats();
        assert!(
            log.reads().len() < ENTRIES / 5,
            "{} reads",
            log.reads().len()
        );
        assert!(stats.merged > 800, "{stats:?}");
        assert!(stats.bytes_read * 10 <= stats.bytes_asked * 12, "{stats:?}");
    });
}

#[test]
fn reads_of_what_is_cached_are_not_merged() {
    let bytes = content(ENTRIES * ENTRY_LEN);
    let source = Scripted::new(bytes.clone());
    let log = source.log();
    Worker::new(Config::default()).unwrap().block_on(async {
        let queue = BlobQueue::new(QueueConfig::default()).unwrap();
        let blob = queue.register(source);
        read_scattered(&queue, &blob, &bytes, ENTRY_LEN).await;
        assert_eq!((log.reads().len(), queue.stats().merged), (ENTRIES, 0));
    });
}

#[test]
fn merging_ends_when_the_blob_is_cached_again() {
    let bytes = content(ENTRIES * ENTRY_LEN);
    let source = Scripted::new(bytes.clone());
    let (log, cold) = (source.log(), source.cold());
    Worker::new(Config::default()).unwrap().block_on(async {
        let queue = BlobQueue::new(QueueConfig::default()).unwrap();
        let blob = queue.register(source);
        for round in 0..3 {
            cold.set(true);
            let (before, merged) = (log.reads().len(), queue.stats().merged);
            read_scattered(&queue, &blob, &bytes, ENTRY_LEN).await;
            assert!(log.reads().len() - before < ENTRIES / 2, "round {round}");
            assert!(queue.stats().merged > merged, "round {round}");
            // What is cached is found so by the reads that are tried now and then.
            cold.set(false);
            for _ in 0..20 {
                read_scattered(&queue, &blob, &bytes, ENTRY_LEN).await;
            }
            let (before, merged) = (log.reads().len(), queue.stats().merged);
            read_scattered(&queue, &blob, &bytes, ENTRY_LEN).await;
            assert_eq!(log.reads().len() - before, ENTRIES, "round {round}");
            assert_eq!(queue.stats().merged, merged, "round {round}");
        }
    });
}

#[test]
fn long_reads_of_what_is_not_cached_are_not_merged() {
    let bytes = content(100 * (17 << 10));
    let source = Scripted::new(bytes.clone());
    source.cold().set(true);
    let log = source.log();
    Worker::new(Config::default()).unwrap().block_on(async {
        let queue = BlobQueue::new(QueueConfig::default()).unwrap();
        let blob = queue.register(source);
        read_scattered(&queue, &blob, &bytes, 17 << 10).await;
        assert_eq!((log.reads().len(), queue.stats().merged), (100, 0));
    });
}

#[test]
fn reads_in_order_are_left_to_readahead() {
    let bytes = content(ENTRIES * ENTRY_LEN);
    let source = Scripted::new(bytes.clone());
    source.cold().set(true);
    let log = source.log();
    Worker::new(Config::default()).unwrap().block_on(async {
        let queue = BlobQueue::new(QueueConfig::default()).unwrap();
        let blob = queue.register(source);
        read_by_steps(&queue, &blob, &bytes, ENTRY_LEN, 1).await;
        assert_eq!((log.reads().len(), queue.stats().merged), (ENTRIES, 0));
    });
}
