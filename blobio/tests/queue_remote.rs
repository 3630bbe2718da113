//! The queue from other threads, under an executor that is not ours.
#![cfg(feature = "executor")]

mod util;

use std::time::{Duration, Instant};

use blobio::queue::{
    BlobQueue, Class, OnError, QueueConfig, ReadError, RemoteBatch, RemoteHandle, RemoteQueue,
    RemoteQueuedBlob, RemoteRequest, SubmitError,
};
use corelane::{Executor, Placement};
use futures_executor::block_on;

use util::queue_blobs::Scripted;
use util::{content, file_of};

const LEN: usize = 1 << 20;

const _: fn() = || {
    fn shared<T: Send + Sync + Clone>() {}
    fn sent<T: Send>(_: T) {}
    shared::<RemoteQueue>();
    shared::<RemoteQueuedBlob>();
    fn futures(queue: &RemoteQueue, request: RemoteRequest) {
        sent(queue.submit(request));
        sent(queue.open("x"));
        sent(queue.cancel_tagged(0, 0));
        sent(queue.submit_batch(Vec::new(), OnError::Continue));
    }
    let _ = futures;
    sent::<Option<RemoteHandle>>(None);
    sent::<Option<RemoteBatch>>(None);
};

fn executor() -> Executor {
    let builder = Executor::builder().placement(Placement::Unpinned(1));
    builder.start().unwrap()
}

/// Makes a queue on the executor's worker.
fn remote(executor: &Executor) -> RemoteQueue {
    let made = executor
        .spawner(0)
        .spawn(|| async { BlobQueue::new(QueueConfig::default()).unwrap().remote() });
    block_on(made.unwrap()).unwrap()
}

#[test]
fn reads_and_batches_from_other_threads() {
    let content = content(LEN);
    let file = file_of(&content);
    let executor = executor();
    let queue = remote(&executor);
    let blob = block_on(queue.open(file.path())).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4u64 {
            let (queue, blob, content) = (queue.clone(), blob.clone(), &content);
            scope.spawn(move || {
                block_on(async {
                    for at in 0..50u64 {
                        let pos = (thread * 50 + at) * 4001;
                        let request = RemoteRequest::vec(&blob, pos, 3000).class(Class::High);
                        let done = queue.read(request).await;
                        let pos = usize::try_from(pos).unwrap();
                        assert_eq!(done.bytes(), &content[pos..pos + 3000]);
                    }
                    let requests = (0..100).map(|at| {
                        RemoteRequest::allocated(&blob, at * 1000, 1000, |len| {
                            Ok(Vec::with_capacity(len).into())
                        })
                    });
                    let batch = queue.submit_batch(requests.collect(), OnError::Continue);
                    let mut batch = batch.await.unwrap();
                    let done = (&mut batch).await;
                    assert_eq!(batch.progress().requests_done, 100);
                    assert_eq!(batch.progress().bytes_done, 100_000);
                    for (at, finished) in done.results.iter().enumerate() {
                        assert!(finished.bytes() == &content[at * 1000..][..1000]);
                    }
                });
            });
        }
    });
    let stats = block_on(queue.stats()).unwrap();
    assert_eq!(
        (stats.held, stats.bytes_asked),
        (0, 4 * (50 * 3000 + 100_000))
    );
    assert!(block_on(queue.open("/no/such/file")).is_err());
}

/// A blob whose reads do not end, made on the worker.
fn stuck(queue: &RemoteQueue) -> RemoteQueuedBlob {
    let make = || async {
        let source = Scripted::new(content(10_000));
        source.gate();
        Ok(source)
    };
    block_on(queue.register(make)).unwrap()
}

#[test]
fn cancelling_from_another_thread() {
    let executor = executor();
    let queue = remote(&executor);
    let blob = stuck(&queue);
    block_on(async {
        // As many as are in flight at once never end; those behind them wait.
        let flood = (0..200).map(|at| RemoteRequest::vec(&blob, at * 20, 10).tag(1));
        let flood = queue
            .submit_batch(flood.collect(), OnError::Continue)
            .await
            .unwrap();
        let one = RemoteRequest::vec(&blob, 0, 10).tag(2);
        let one = queue.submit(one).await.unwrap();
        one.set_class(Class::High);
        one.set_deadline(Some(Instant::now() + Duration::from_secs(9)));
        one.cancel();
        assert!(one.await.result.unwrap_err().is_cancelled());
        let two = RemoteRequest::vec(&blob, 0, 10).tag(4);
        let two = queue.submit(two).await.unwrap();
        // Its order goes ahead of a request that is on its way, so it is asked until it is there.
        while queue.cancel_tagged(!0, 4).await.unwrap() == 0 {
            std::thread::yield_now();
        }
        assert!(two.await.result.unwrap_err().is_cancelled());
        flood.cancel();
        while flood.progress().requests_done == 0 {
            std::thread::yield_now();
        }
        drop(flood);
        let dropped = RemoteRequest::vec(&blob, 0, 10).tag(8);
        drop(queue.submit(dropped).await.unwrap());
        while queue.stats().await.unwrap().queued > 0 {
            std::thread::yield_now();
        }
    });
    executor.shutdown(Instant::now());
}

#[test]
fn a_dead_worker_is_an_error_and_no_hang() {
    let executor = executor();
    let queue = remote(&executor);
    let blob = stuck(&queue);
    let request = || RemoteRequest::vec(&blob, 0, 10);
    let handle = block_on(queue.submit(request())).unwrap();
    let requests = (0..10).map(|_| request()).collect();
    let batch = block_on(queue.submit_batch(requests, OnError::Continue)).unwrap();
    executor.shutdown(Instant::now());
    block_on(async {
        assert!(matches!(handle.await.result, Err(ReadError::WorkerGone)));
        let done = batch.await;
        assert_eq!((done.results.len(), done.first_error), (10, Some(0)));
        let refused = queue.submit(request()).await;
        assert!(matches!(refused, Err(SubmitError::Closed(_))));
        let done = queue.read(request()).await;
        assert!(matches!(done.result, Err(ReadError::WorkerGone)));
        assert!(queue.stats().await.is_err());
        assert!(queue.cancel_tagged(0, 0).await.is_err());
        assert!(queue.open("/proc/self/exe").await.is_err());
    });
}
