//! How requests end with their handle, their queue and their worker.
#![cfg(feature = "executor")]

mod util;

use std::future::Future;
use std::rc::Rc;

use blobio::queue::{BlobQueue, OnError, QueueConfig, ReadError, Request, SubmitError};
use corelane::{Config, Worker};

use util::content;
use util::queue_blobs::Scripted;

fn on_worker<T>(future: impl Future<Output = T>) -> T {
    Worker::new(Config::default()).unwrap().block_on(future)
}

fn queue() -> BlobQueue {
    let mut config = QueueConfig::default();
    config.in_flight.all.ops = 1;
    BlobQueue::new(config).unwrap()
}

async fn turns() {
    for _ in 0..4 {
        corelane::yield_now().await;
    }
}

#[test]
fn shutting_down_ends_what_waits_and_reports_what_flies() {
    on_worker(async {
        let queue = queue();
        let source = Scripted::new(content(10_000));
        let gate = source.gate();
        let blob = queue.register(source);
        let request = |pos| Request::new(&blob, pos, 10, vec![7; 3]);
        let flies = queue.try_submit(request(0)).unwrap();
        turns().await;
        let waits = queue.try_submit(request(50)).unwrap();
        queue.close();
        let done = waits.await;
        assert!(matches!(done.result, Err(ReadError::ShutDown)));
        assert_eq!(done.destination.unwrap().into_vec().unwrap(), [7; 3]);
        let refused = queue.try_submit(request(60)).unwrap_err();
        assert!(matches!(refused, SubmitError::Closed(_)));
        let refused = queue.submit(request(60)).await.unwrap_err();
        assert!(matches!(refused, SubmitError::Closed(_)));

        let mut quiet = std::pin::pin!(queue.shutdown());
        assert!(futures_util::poll!(quiet.as_mut()).is_pending());
        gate.open();
        quiet.await;
        assert_eq!(flies.await.result.unwrap(), 10);
    });
}

#[test]
fn shutting_down_ends_who_waits_for_a_place() {
    on_worker(async {
        let config = QueueConfig {
            queued_max: 1,
            ..QueueConfig::default()
        };
        let queue = BlobQueue::new(config).unwrap();
        let source = Scripted::new(content(10_000));
        let gate = source.gate();
        let blob = queue.register(source);
        let requests = (0..5).map(|at| Request::vec(&blob, at, 1)).collect();
        let batch = queue.try_submit_batch(requests, OnError::Continue).unwrap();
        let mut waits = std::pin::pin!(queue.submit(Request::vec(&blob, 9, 1)));
        assert!(futures_util::poll!(waits.as_mut()).is_pending());
        turns().await;
        queue.close();
        assert!(matches!(waits.await, Err(SubmitError::Closed(_))));
        gate.open();
        let done = batch.await;
        assert!(done.results[0].result.is_ok());
        let rest = &done.results[1..];
        let shut = |one: &blobio::queue::Finished| matches!(one.result, Err(ReadError::ShutDown));
        assert!(rest.iter().all(shut), "{rest:?}");
    });
}

#[test]
fn dropping_the_last_queue_lets_its_requests_finish() {
    on_worker(async {
        let queue = queue();
        let source = Scripted::new(content(10_000));
        let (gate, witness) = (source.gate(), source.witness());
        let blob = queue.register(source);
        let handles: Vec<_> = (0..5)
            .map(|at| queue.try_submit(Request::vec(&blob, at, 10)).unwrap())
            .collect();
        turns().await;
        drop((queue.clone(), queue, blob));
        gate.open();
        for handle in handles {
            assert_eq!(handle.await.result.unwrap(), 10);
        }
        turns().await;
        assert_eq!(Rc::strong_count(&witness), 1, "the blob is left");
    });
}

#[test]
fn a_worker_whose_queue_is_gone_has_no_tasks_left() {
    let worker = Worker::new(Config::default()).unwrap();
    worker.block_on(async {
        let queue = queue();
        let blob = queue.register(Scripted::new(content(100)));
        queue.read(Request::vec(&blob, 0, 10)).await;
        drop(queue.remote());
    });
    // It would not return with a task that waits for ever.
    worker.run();
}

#[test]
fn a_dead_worker_is_an_error_and_no_hang() {
    let worker = Worker::new(Config::default()).unwrap();
    let source = Scripted::new(content(10_000));
    let _gate = source.gate();
    let (queue, blob, flies, waits, batch) = worker.block_on(async {
        let queue = queue();
        let blob = queue.register(source);
        let flies = queue.try_submit(Request::vec(&blob, 0, 10)).unwrap();
        turns().await;
        let waits = queue.try_submit(Request::vec(&blob, 1, 10)).unwrap();
        let requests = (0..5).map(|at| Request::vec(&blob, at, 1)).collect();
        let batch = queue.try_submit_batch(requests, OnError::Continue).unwrap();
        (queue, blob, flies, waits, batch)
    });
    drop(worker);
    futures_executor::block_on(async {
        for handle in [flies, waits] {
            assert!(matches!(handle.await.result, Err(ReadError::WorkerGone)));
        }
        assert_eq!(batch.await.first_error, Some(0));
        let refused = queue.submit(Request::vec(&blob, 0, 1)).await;
        assert!(matches!(refused, Err(SubmitError::Closed(_))));
        queue.shutdown().await;
    });
}

#[test]
fn dropping_a_handle_cancels_and_detaching_does_not() {
    on_worker(async {
        let queue = queue();
        let source = Scripted::new(content(10_000));
        let (gate, log) = (source.gate(), source.log());
        let blob = queue.register(source);
        let first = queue.try_submit(Request::vec(&blob, 0, 1)).unwrap();
        let dropped = queue.try_submit(Request::vec(&blob, 1, 1)).unwrap();
        let detached = queue.try_submit(Request::vec(&blob, 2, 1)).unwrap();
        let batch = vec![Request::vec(&blob, 3, 1)];
        let batch = queue.try_submit_batch(batch, OnError::Continue).unwrap();
        turns().await;
        drop((dropped, batch));
        detached.detach();
        gate.open();
        first.await;
        queue.read(Request::vec(&blob, 4, 1)).await;
        assert_eq!(log.positions(), [0, 2, 4]);
    });
}

#[test]
fn a_cancelled_read_gives_its_destination_back_when_it_is_over() {
    on_worker(async {
        let queue = queue();
        let source = Scripted::new(content(10_000));
        let gate = source.gate();
        let blob = queue.register(source);
        let mut handle = queue.try_submit(Request::vec(&blob, 0, 10)).unwrap();
        turns().await;
        handle.cancel();
        turns().await;
        assert!(futures_util::poll!(&mut handle).is_pending());
        gate.open();
        let done = handle.await;
        assert!(done.result.unwrap_err().is_cancelled());
        assert_eq!(done.destination.unwrap().bytes().len(), 10);
    });
}
