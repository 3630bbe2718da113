//! Requests that are longer than the longest read, and reads that several requests share.
#![cfg(feature = "executor")]

mod util;

use std::future::Future;

use blobio::queue::{BlobQueue, Class, OnError, QueueConfig, Request};
use corelane::buf::AlignedBuf;
use corelane::{Config, Worker};

use util::content;
use util::queue_blobs::Scripted;

fn on_worker<T>(future: impl Future<Output = T>) -> T {
    Worker::new(Config::default()).unwrap().block_on(future)
}

#[test]
fn a_long_request_is_read_in_pieces_and_completes_once() {
    let content = content(100_000);
    on_worker(async {
        let queue = BlobQueue::new(QueueConfig::default()).unwrap();
        let source = Scripted::new(content.clone()).read_max(4096);
        let log = source.log();
        let blob = queue.register(source);
        for exact in [false, true] {
            let request = Request::vec(&blob, 10, 50_000);
            let request = if exact { request.exact() } else { request };
            let done = queue.read(request).await;
            assert_eq!(done.bytes(), &content[10..50_010]);
        }
        assert_eq!(log.reads().len(), 26);
        assert!(log.reads().iter().all(|(_, len)| *len <= 4096));
        assert_eq!(queue.stats().split, 2);

        let aligned = AlignedBuf::new(70_000, 512);
        let done = queue
            .read(Request::new(&blob, 40_000, 70_000, aligned))
            .await;
        assert_eq!(*done.result.as_ref().unwrap(), 60_000);
        assert_eq!(done.bytes(), &content[40_000..]);
    });
}

#[test]
fn an_urgent_request_goes_between_the_pieces_of_a_long_one() {
    on_worker(async {
        let mut config = QueueConfig::default();
        config.in_flight.all.ops = 1;
        let queue = BlobQueue::new(config).unwrap();
        let source = Scripted::new(content(100_000)).read_max(10_000);
        let (gate, log) = (source.gate(), source.log());
        let blob = queue.register(source);
        let long = Request::vec(&blob, 0, 100_000).class(Class::Low);
        let long = queue.try_submit(long).unwrap();
        corelane::yield_now().await;
        corelane::yield_now().await;
        let urgent = Request::vec(&blob, 77, 5).class(Class::Realtime);
        let urgent = queue.try_submit(urgent).unwrap();
        gate.open();
        urgent.await;
        assert_eq!(log.positions()[..2], [0, 77]);
        assert_eq!(long.await.result.unwrap(), 100_000);
        assert_eq!(log.reads().len(), 11);
    });
}

#[test]
fn neighbours_share_reads_where_that_pays() {
    let content = content(1 << 20);
    on_worker(async {
        let queue = BlobQueue::new(QueueConfig::default()).unwrap();
        let source = Scripted::new(content.clone()).merging();
        let (gate, log) = (source.gate(), source.log());
        let blob = queue.register(source);
        // Scattered order, of all classes.
        let requests = (0..1000u64).map(|at| {
            let class = Class::ALL[usize::try_from(at % 4).unwrap()];
            Request::vec(&blob, at * 7919 % 1000 * 1000, 1000).class(class)
        });
        let batch = queue.submit_batch(requests.collect(), OnError::Continue);
        let batch = batch.await.unwrap();
        gate.open();
        let done = batch.await;
        for (at, finished) in done.results.iter().enumerate() {
            let pos = at * 7919 % 1000 * 1000;
            assert!(finished.bytes() == &content[pos..pos + 1000], "{at}");
        }
        let stats = queue.stats();
        assert!(log.reads().len() <= 12, "{:?}", log.reads());
        assert_eq!(stats.amplification_permille(), Some(1000));
    });
}

#[test]
fn requests_that_overlap_share_a_read_of_any_blob() {
    let content = content(100_000);
    on_worker(async {
        let queue = BlobQueue::new(QueueConfig::default()).unwrap();
        let source = Scripted::new(content.clone());
        let log = source.log();
        let blob = queue.register(source);
        let ranges = [(0, 1000), (500, 1000), (0, 1000), (200, 10), (5000, 10)];
        let requests = ranges.map(|(pos, len)| Request::vec(&blob, pos, len));
        let batch = queue.submit_batch(requests.into(), OnError::Continue);
        let done = batch.await.unwrap().await;
        for ((pos, len), finished) in ranges.into_iter().zip(&done.results) {
            let pos = usize::try_from(pos).unwrap();
            assert_eq!(finished.bytes(), &content[pos..pos + len]);
        }
        assert_eq!(log.reads(), [(0, 1500), (5000, 10)]);
    });
}

#[test]
fn who_is_cancelled_leaves_the_others_of_a_shared_read_alone() {
    let content = content(100_000);
    on_worker(async {
        let queue = BlobQueue::new(QueueConfig::default()).unwrap();
        let source = Scripted::new(content.clone());
        let gate = source.gate();
        let blob = queue.register(source);
        // The first covers the read, so that its memory is read into; the others are copied.
        let ranges = [(0, 1000), (100, 10), (200, 10)];
        let requests = ranges.map(|(pos, len)| Request::vec(&blob, pos, len));
        let [host, guest, other] = requests.map(|one| queue.try_submit(one).unwrap());
        corelane::yield_now().await;
        corelane::yield_now().await;
        guest.cancel();
        // Nothing writes a guest's memory until the read is over: it is back at once.
        assert!(guest.is_finished());
        host.cancel();
        assert!(!host.is_finished());
        gate.open();
        assert_eq!(other.await.bytes(), &content[200..210]);
        assert!(host.await.result.unwrap_err().is_cancelled());
        assert!(guest.await.result.unwrap_err().is_cancelled());
    });
}

#[test]
fn half_full_destinations_are_bounded() {
    let content = content(200_000);
    on_worker(async {
        let config = QueueConfig {
            begun_max: 100_000,
            ..QueueConfig::default()
        };
        let queue = BlobQueue::new(config).unwrap();
        let source = Scripted::new(content.clone()).read_max(1000);
        let gate = source.gate();
        let blob = queue.register(source);
        let made = std::rc::Rc::new(std::cell::Cell::new(0));
        let requests = (0..10).map(|at| {
            let made = std::rc::Rc::clone(&made);
            Request::allocated(&blob, at, 40_000, move |len| {
                made.set(made.get() + 1);
                Ok(Vec::with_capacity(len).into())
            })
        });
        let batch = queue.submit_batch(requests.collect(), OnError::Continue);
        let batch = batch.await.unwrap();
        for _ in 0..5 {
            corelane::yield_now().await;
        }
        assert_eq!(made.get(), 2);
        gate.open();
        let done = batch.await;
        for (at, finished) in done.results.iter().enumerate() {
            assert!(finished.bytes() == &content[at..at + 40_000], "{at}");
        }
    });
}
