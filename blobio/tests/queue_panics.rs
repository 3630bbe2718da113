//! A queue among wakers, allocators, blobs and errors that panic, where it hurts most: with payloads
//! that panic again, when they are dropped, and while it is about to serve somebody else.
#![cfg(feature = "executor")]

mod util;

use std::cell::RefCell;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::io;
use std::panic::panic_any;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use blobio::queue::{BlobQueue, OnError, QueueConfig, ReadError, Request};
use corelane::{Config, Worker};
use futures_util::StreamExt;

use util::bomb::Bomb;
use util::content;
use util::queue_blobs::Scripted;

impl fmt::Debug for Bomb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bomb")
    }
}

impl fmt::Display for Bomb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a bomb")
    }
}

impl Error for Bomb {}

fn bomb(kind: io::ErrorKind) -> io::Error {
    io::Error::new(kind, Bomb)
}

/// Does nothing, and is counted.
struct Counted;

impl Wake for Counted {
    fn wake(self: Arc<Self>) {}
}

thread_local! {
    static QUEUE: RefCell<Option<BlobQueue>> = const { RefCell::new(None) };
}

/// Looks at the queue of the test when it is dropped.
#[derive(Debug)]
struct Nosy;

impl Drop for Nosy {
    fn drop(&mut self) {
        QUEUE.with_borrow(|queue| {
            let _ = queue.as_ref().map(BlobQueue::stats);
        });
    }
}

impl fmt::Display for Nosy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nosy")
    }
}

impl Error for Nosy {}

fn nosy(kind: io::ErrorKind) -> io::Error {
    io::Error::new(kind, Nosy)
}

/// Runs a test that may hang, and sees to it that its queue ends.
fn run(config: QueueConfig, test: impl AsyncFnOnce(&BlobQueue)) {
    let worker = Worker::new(Config::default()).unwrap();
    worker.block_on(async {
        let queue = BlobQueue::new(config).unwrap();
        QUEUE.set(Some(queue.clone()));
        let all = async {
            test(&queue).await;
            queue.shutdown().await;
        };
        let ended = corelane::time::timeout(Duration::from_secs(10), all).await;
        QUEUE.set(None);
        ended.expect("the queue hangs");
    });
}

async fn reads(queue: &BlobQueue) {
    let blob = queue.register(Scripted::new(content(100)));
    let done = queue.read(Request::vec(&blob, 10, 20)).await;
    assert_eq!(done.bytes(), &content(100)[10..30]);
}

fn poll<F: Future + Unpin>(future: &mut F, waker: &Waker) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(waker))
}

#[test]
fn an_allocator_that_throws_a_bomb_fails_alone() {
    run(QueueConfig::default(), async |queue| {
        let blob = queue.register(Scripted::new(content(1000)));
        let thrown = Request::allocated(&blob, 0, 10, |_| panic_any(Bomb));
        let requests = (0..20).map(|at| Request::vec(&blob, at * 10, 10));
        let requests = std::iter::once(thrown).chain(requests).collect();
        let batch = queue.submit_batch(requests, OnError::Continue);
        let done = batch.await.unwrap().await;
        assert!(matches!(
            done.results[0].result,
            Err(ReadError::Panicked(_))
        ));
        assert!(
            done.results[1..]
                .iter()
                .all(|done| done.bytes().len() == 10)
        );
        reads(queue).await;
    });
}

#[test]
fn a_waker_that_throws_a_bomb_keeps_nobody_from_being_woken() {
    run(QueueConfig::default(), async |queue| {
        let slow = Scripted::new(content(1000));
        let gate = slow.gate();
        let blob = queue.register(slow);
        let mut handles = Vec::new();
        // More than are in flight at once.
        for at in 0..400 {
            let request = Request::vec(&blob, at * 100, 10);
            handles.push(queue.submit(request).await.unwrap());
        }
        corelane::yield_now().await;
        let last = handles.split_off(398);
        let [mut first, last] = <[_; 2]>::try_from(last).unwrap();
        assert!(poll(&mut first, &Arc::new(Bomb).into()).is_pending());
        let mut last = pin!(last);
        let done = std::future::poll_fn(|cx| {
            let polled = last.as_mut().poll(cx);
            // Ends both.
            queue.close();
            polled
        });
        assert!(matches!(done.await.result, Err(ReadError::ShutDown)));
        gate.open();
    });
}

#[test]
fn an_error_of_a_shared_read_may_look_at_the_queue_when_it_is_dropped() {
    for error in [nosy, bomb] {
        run(QueueConfig::default(), async |queue| {
            let bad = Scripted::new(content(1000)).merging().bad_byte(15);
            let blob = queue.register(bad.error(error));
            let requests = (0..4).map(|at| Request::vec(&blob, at * 10, 10));
            let batch = queue.submit_batch(requests.collect(), OnError::Continue);
            let done = batch.await.unwrap().await;
            let good = done.results.iter().map(|done| done.bytes().len());
            assert_eq!(good.collect::<Vec<_>>(), [10, 0, 10, 10]);
            assert_eq!(queue.stats().parted, 1);
            std::mem::forget(done);
            reads(queue).await;
        });
    }
}

#[test]
fn an_error_of_an_allocator_that_was_cancelled_may_look_at_the_queue() {
    run(QueueConfig::default(), async |queue| {
        let blob = queue.register(Scripted::new(content(1000)));
        let own = queue.clone();
        let cancels = move |_| {
            assert_eq!(own.cancel_tagged(!0, 7), 1);
            Err(nosy(io::ErrorKind::Other))
        };
        let cancelled = Request::allocated(&blob, 0, 10, cancels).tag(7);
        let done = queue.read(cancelled).await;
        assert!(done.result.unwrap_err().is_cancelled());
        reads(queue).await;
    });
}

#[test]
fn the_results_of_a_batch_that_nobody_waits_for_may_look_at_the_queue() {
    // Few places: the rest of a batch waits in the line.
    for queued_max in [1, 3, 100] {
        let config = QueueConfig {
            queued_max,
            ..QueueConfig::default()
        };
        run(config, async |queue| {
            let bad = Scripted::new(content(1000)).bad_byte(15).error(nosy);
            let blob = queue.register(bad);
            for on_error in [OnError::Continue, OnError::Cancel] {
                let requests = (0..4).map(|_| Request::vec(&blob, 10, 10));
                let batch = queue.submit_batch(requests.collect(), on_error).await;
                batch.unwrap().detach();
                reads(queue).await;
            }
        });
    }
}

#[test]
fn a_refusal_that_is_a_bomb_is_read_again() {
    run(QueueConfig::default(), async |queue| {
        let cold = Scripted::new(content(1 << 20)).error(bomb);
        cold.cold().set(true);
        let blob = queue.register(cold);
        for at in 0..20 {
            let pos = at * 7919 * 131 % (1 << 19);
            let done = queue.read(Request::vec(&blob, pos, 10)).await;
            assert_eq!(done.bytes().len(), 10);
        }
        assert!(queue.stats().refused > 0);
    });
}

#[test]
fn who_waits_again_and_again_leaves_one_waker() {
    run(QueueConfig::default(), async |queue| {
        let slow = Scripted::new(content(1000));
        let gate = slow.gate();
        let blob = queue.register(slow);
        let batch = queue.submit_batch(vec![Request::vec(&blob, 0, 10)], OnError::Continue);
        let batch = batch.await.unwrap();
        corelane::yield_now().await;
        let counted = Arc::new(Counted);
        let waker = Waker::from(Arc::clone(&counted));
        for _ in 0..100 {
            let mut stream = batch.progress_stream();
            assert!(poll(&mut stream.next(), &waker).is_ready());
            for _ in 0..3 {
                assert!(poll(&mut stream.next(), &waker).is_pending());
            }
            assert_eq!(Arc::strong_count(&counted), 3, "the stream's");
        }
        assert_eq!(Arc::strong_count(&counted), 2);
        for _ in 0..100 {
            let mut shutdown = Box::pin(queue.shutdown());
            for _ in 0..3 {
                assert!(poll(&mut shutdown, &waker).is_pending());
                assert_eq!(Arc::strong_count(&counted), 3, "the future's");
            }
        }
        assert_eq!(Arc::strong_count(&counted), 2);
        gate.open();
        assert_eq!(batch.await.results.len(), 1);
    });
}
