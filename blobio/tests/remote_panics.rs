//! The queue for other threads among wakers, allocators and blobs that panic: only their owners lose
//! anything.
#![cfg(feature = "executor")]

mod util;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::task::{Context, Waker};

use blobio::queue::{
    BlobQueue, OnError, QueueConfig, ReadError, RemoteQueue, RemoteQueuedBlob, RemoteRequest,
};
use corelane::{Executor, Placement};
use futures_executor::block_on;

use util::bomb::Bomb;
use util::content;
use util::queue_blobs::Scripted;

fn start(is_open: bool) -> (Executor, RemoteQueue) {
    let builder = Executor::builder().placement(Placement::Unpinned(1));
    let executor = builder.start().unwrap();
    let made = executor.spawner(0).spawn(move || async move {
        let queue = BlobQueue::new(QueueConfig::default()).unwrap();
        if !is_open {
            queue.close();
        }
        queue.remote()
    });
    let queue = block_on(made.unwrap()).unwrap();
    (executor, queue)
}

/// Holds the worker up until the sender is dropped.
fn hold(executor: &Executor) -> Sender<()> {
    let (release, released) = mpsc::channel::<()>();
    let (begun, has_begun) = mpsc::channel();
    let held = executor.spawner(0).spawn(move || async move {
        begun.send(()).unwrap();
        let _ = released.recv();
    });
    drop(held);
    has_begun.recv().unwrap();
    release
}

fn register(queue: &RemoteQueue, kept: Option<Bomb>) -> RemoteQueuedBlob {
    let make = || async { Ok(Scripted::new(content(1000)).keeping(kept)) };
    block_on(queue.register(make)).unwrap()
}

/// A request whose allocator panics when it is dropped.
fn bomb(blob: &RemoteQueuedBlob) -> RemoteRequest {
    let bomb = Bomb;
    RemoteRequest::allocated(blob, 0, 10, move |len| {
        std::mem::forget(bomb);
        Ok(Vec::with_capacity(len).into())
    })
}

/// Polls a future once, with a waker that panics.
fn poll<F: Future>(future: Pin<&mut F>) {
    let waker = Waker::from(Arc::new(Bomb));
    assert!(future.poll(&mut Context::from_waker(&waker)).is_pending());
}

/// Sees to it that the queue still takes orders and requests.
fn serves(queue: &RemoteQueue, blob: &RemoteQueuedBlob) {
    assert!(block_on(queue.stats()).is_ok());
    assert!(matches!(block_on(queue.cancel_tagged(!0, 99)), Ok(0)));
    let done = block_on(queue.read(RemoteRequest::vec(blob, 5, 10)));
    assert_eq!(done.bytes(), &content(1000)[5..15]);
    assert!(block_on(queue.stats()).is_ok());
}

#[test]
fn a_waker_that_panics_ends_no_service() {
    let (executor, queue) = start(true);
    let blob = register(&queue, None);
    let held = hold(&executor);
    let (mut stats, mut cancel) = (
        Box::pin(queue.stats()),
        Box::pin(queue.cancel_tagged(!0, 1)),
    );
    poll(stats.as_mut());
    poll(cancel.as_mut());
    let mut one = block_on(queue.submit(RemoteRequest::vec(&blob, 0, 10))).unwrap();
    let many = vec![RemoteRequest::vec(&blob, 0, 10)];
    let mut many = block_on(queue.submit_batch(many, OnError::Continue)).unwrap();
    poll(Pin::new(&mut one));
    poll(Pin::new(&mut many));
    drop(held);
    serves(&queue, &blob);
    assert!(block_on(stats).is_ok());
    assert!(matches!(block_on(cancel), Ok(0)));
    assert_eq!(block_on(one).bytes().len(), 10);
    assert_eq!(block_on(many).results[0].bytes().len(), 10);
}

#[test]
fn a_request_that_panics_when_it_is_dropped_unread_ends_no_service() {
    let (executor, queue) = start(true);
    let blob = register(&queue, None);
    let held = hold(&executor);
    let mut one = block_on(queue.submit(bomb(&blob))).unwrap();
    let many = vec![bomb(&blob), bomb(&blob)];
    let mut many = block_on(queue.submit_batch(many, OnError::Continue)).unwrap();
    one.cancel();
    many.cancel();
    poll(Pin::new(&mut one));
    poll(Pin::new(&mut many));
    drop(held);
    serves(&queue, &blob);
    assert!(block_on(one).result.unwrap_err().is_cancelled());
    for done in block_on(many).results {
        assert!(done.result.unwrap_err().is_cancelled());
    }
}

#[test]
fn a_request_that_is_refused_and_panics_when_it_is_dropped_ends_no_service() {
    let (_executor, queue) = start(false);
    let blob = register(&queue, None);
    for _ in 0..2 {
        let one = block_on(queue.read(bomb(&blob)));
        assert!(matches!(one.result, Err(ReadError::ShutDown)));
        let many = vec![bomb(&blob), bomb(&blob)];
        let many = block_on(queue.submit_batch(many, OnError::Continue)).unwrap();
        for done in block_on(many).results {
            assert!(matches!(done.result, Err(ReadError::ShutDown)));
        }
    }
    assert!(block_on(queue.stats()).is_ok());
}

#[test]
fn blobs_that_panic_when_they_are_let_go_end_no_service() {
    let (executor, queue) = start(true);
    let blob = register(&queue, None);
    let bombs = [(); 3].map(|()| register(&queue, Some(Bomb)));
    let held = hold(&executor);
    drop(bombs);
    drop(held);
    serves(&queue, &blob);
}
