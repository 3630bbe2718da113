//! Batches: one wake, progress, the first error; and cancelling in bulk.
#![cfg(feature = "executor")]

mod util;

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use blobio::NativeFileAsyncBlobRandomReader;
use blobio::queue::{BlobQueue, Filter, OnError, Progress, QueueConfig, ReadError, Request};
use corelane::{Config, Worker};
use futures_core::Stream;

use util::queue_blobs::Scripted;
use util::{content, file_of};

#[derive(Default)]
struct CountingWaker(AtomicUsize);

impl Wake for CountingWaker {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl CountingWaker {
    fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

fn on_worker<T>(future: impl Future<Output = T>) -> T {
    Worker::new(Config::default()).unwrap().block_on(future)
}

#[test]
fn ten_thousand_reads_are_one_wake() {
    const COUNT: u64 = 10_000;
    let content = content(5_120_000);
    let file = file_of(&content);
    on_worker(async {
        // Also when the batch is longer than the queue.
        for queued_max in [1 << 16, 100] {
            let config = QueueConfig {
                queued_max,
                ..QueueConfig::default()
            };
            let queue = BlobQueue::new(config).unwrap();
            let reader = NativeFileAsyncBlobRandomReader::open(file.path()).await;
            let blob = queue.register(reader.unwrap());
            let requests = (0..COUNT).map(|at| Request::vec(&blob, at * 512, 512));
            let batch = queue.submit_batch(requests.collect(), OnError::Continue);
            let mut batch = batch.await.unwrap();
            let waker = Arc::new(CountingWaker::default());
            let as_waker = Waker::from(Arc::clone(&waker));
            let mut cx = Context::from_waker(&as_waker);
            assert!(Pin::new(&mut batch).poll(&mut cx).is_pending());
            while !batch.is_finished() {
                assert_eq!(waker.count(), 0);
                corelane::yield_now().await;
            }
            assert_eq!(waker.count(), 1);
            let Poll::Ready(done) = Pin::new(&mut batch).poll(&mut cx) else {
                panic!("it was woken")
            };
            assert_eq!(waker.count(), 1);
            assert_eq!(done.first_error, None);
            for (at, finished) in done.results.iter().enumerate() {
                assert!(finished.bytes() == &content[at * 512..][..512]);
            }
            let whole = Progress {
                requests_done: 10_000,
                requests: 10_000,
                bytes_done: 512 * COUNT,
                bytes: 512 * COUNT,
            };
            assert_eq!(batch.progress(), whole);
        }
    });
}

#[test]
fn an_empty_batch_is_done() {
    on_worker(async {
        let queue = BlobQueue::new(QueueConfig::default()).unwrap();
        let batch = queue
            .submit_batch(Vec::new(), OnError::Cancel)
            .await
            .unwrap();
        let done = batch.await;
        assert!(done.results.is_empty() && done.first_error.is_none());
    });
}

#[test]
fn progress_is_a_stream_that_ends_with_the_batch() {
    on_worker(async {
        let queue = BlobQueue::new(QueueConfig::default()).unwrap();
        let source = Scripted::new(content(10_000));
        let gate = source.gate();
        let blob = queue.register(source);
        let requests = (0..10).map(|at| Request::vec(&blob, at * 1000, 100));
        let batch = queue.submit_batch(requests.collect(), OnError::Continue);
        let batch = batch.await.unwrap();
        let mut stream = pin!(batch.progress_stream());
        let waker = Arc::new(CountingWaker::default());
        let as_waker = Waker::from(Arc::clone(&waker));
        let mut cx = Context::from_waker(&as_waker);
        let first = stream.as_mut().poll_next(&mut cx);
        assert!(matches!(first, Poll::Ready(Some(now)) if now.requests_done == 0));
        assert!(stream.as_mut().poll_next(&mut cx).is_pending());
        gate.open();
        while waker.count() == 0 {
            corelane::yield_now().await;
        }
        let mut last = 0;
        loop {
            match stream.as_mut().poll_next(&mut cx) {
                Poll::Ready(Some(now)) => {
                    assert!(now.requests_done > last && now.requests == 10);
                    assert_eq!(now.bytes_done, now.requests_done as u64 * 100);
                    last = now.requests_done;
                }
                Poll::Ready(None) => break,
                Poll::Pending => corelane::yield_now().await,
            }
        }
        assert_eq!(last, 10);
        batch.await;
    });
}

#[test]
fn the_first_error_has_an_index_and_may_cancel_the_others() {
    on_worker(async {
        let mut config = QueueConfig::default();
        config.in_flight.all.ops = 1;
        let queue = BlobQueue::new(config).unwrap();
        let blob = queue.register(Scripted::new(content(10_000)).bad_byte(3_050));
        for on_error in [OnError::Continue, OnError::Cancel] {
            let requests = (0..10).map(|at| Request::vec(&blob, at * 1000, 100));
            let batch = queue.submit_batch(requests.collect(), on_error);
            let done = batch.await.unwrap().await;
            assert_eq!(done.first_error, Some(3));
            let read = done.results.iter().filter(|one| one.result.is_ok()).count();
            let cancelled = |error: &ReadError| error.is_cancelled();
            let cancelled = done
                .results
                .iter()
                .filter(|one| one.result.as_ref().is_err_and(cancelled));
            match on_error {
                OnError::Continue => assert_eq!((read, cancelled.count()), (9, 0)),
                OnError::Cancel => assert_eq!((read, cancelled.count()), (3, 6)),
            }
            let (index, error) = done.into_destinations().unwrap_err();
            assert_eq!(index, 3);
            assert!(error.to_string().contains("bad byte"), "{error}");
        }
    });
}

#[test]
fn a_hundred_thousand_cancels_by_tag_leak_nothing_and_hit_nobody_else() {
    // Unoptimised it takes ten times as long.
    const COUNT: u64 = if cfg!(debug_assertions) {
        20_000
    } else {
        100_000
    };
    on_worker(async {
        let config = QueueConfig {
            queued_max: 10_000,
            ..QueueConfig::default()
        };
        let queue = BlobQueue::new(config).unwrap();
        let source = Scripted::new(content(1 << 20));
        let gate = source.gate();
        let blob = queue.register(source);
        let witness = std::rc::Rc::new(());
        let requests = |tag: u64| {
            let (blob, witness) = (blob.clone(), std::rc::Rc::clone(&witness));
            (0..COUNT).map(move |at| {
                let witness = std::rc::Rc::clone(&witness);
                Request::allocated(&blob, at % 1000, 16, move |len| {
                    drop(witness);
                    Ok(Vec::with_capacity(len).into())
                })
                // The high bits tell requests apart, the low ones what they are for.
                .tag(at << 8 | tag)
            })
        };
        // Twice as many as the queue takes, half of them to be cancelled.
        let mixed = requests(1)
            .zip(requests(2))
            .flat_map(|(one, two)| [one, two]);
        let mut batch = Box::pin(queue.submit_batch(mixed.collect(), OnError::Continue));
        let batch = batch.as_mut().await.unwrap();
        corelane::yield_now().await;
        let flying = queue.stats().in_flight.ops;
        assert!(flying > 0);
        let cancelled = queue.cancel_tagged(0xff, 1);
        assert_eq!(cancelled as u64, COUNT);
        assert_eq!(queue.cancel_tagged(0xff, 3), 0);
        gate.open();
        let done = batch.await;
        for (at, finished) in done.results.iter().enumerate() {
            let result = finished.result.as_ref();
            match at % 2 {
                0 => assert!(result.is_err_and(ReadError::is_cancelled), "{at}"),
                _ => assert_eq!(*result.unwrap(), 16, "{at}"),
            }
        }
        drop(done);
        assert_eq!(
            std::rc::Rc::strong_count(&witness),
            1,
            "allocators are left"
        );
        queue.shutdown().await;
        let stats = queue.stats();
        assert_eq!((stats.held, stats.queued, stats.waiting), (0, 0, 0));
        assert_eq!(stats.in_flight.ops, 0);
        let census = queue.census(&Filter::Tag { mask: 0, value: 0 });
        assert_eq!((census.queued, census.in_flight), (0, 0));
    });
}
