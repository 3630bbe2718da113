//! A queue one of whose classes reads from a file system that never answers: the others go on, the
//! limits hold, cancelling and statistics say what is, and the end of the worker keeps to its time.
#![cfg(feature = "executor")]

mod util;

use std::time::{Duration, Instant};

use blobio::NativeFileAsyncBlobRandomReader;
use blobio::queue::limits::Bounds;
use blobio::queue::{
    BlobQueue, Class, Filter, OnError, QueueConfig, QueuedBlob, ReadError, Request,
};
use corelane::{BackendChoice, Config, Worker, time};
use faultfs::{Files, content};

use util::file_of;

type Reader = NativeFileAsyncBlobRandomReader;

/// What the class on the dead file system may have in flight.
const STUCK: u32 = 2;
const DEAD: u64 = 7;
const HUNG: Duration = Duration::from_secs(30);

fn on_each(mut body: impl FnMut(Worker, &str)) {
    for (choice, id) in [
        (BackendChoice::Uring, "ring"),
        (BackendChoice::Threads, "threads"),
    ] {
        match Worker::new(Config::new().backend(choice)) {
            Ok(worker) => body(worker, id),
            Err(error) => println!("SKIP: {choice:?}: {error}"),
        }
    }
}

/// A queue whose lowest class may have [`STUCK`] reads in flight.
fn queue() -> BlobQueue {
    let mut config = QueueConfig::default();
    let bounds = Bounds {
        ops: STUCK,
        bytes: 1 << 20,
    };
    config.in_flight = config.in_flight.with_class(Class::Low, bounds);
    BlobQueue::new(config).unwrap()
}

async fn register(queue: &BlobQueue, files: &Files, name: &str) -> QueuedBlob {
    queue.register(Reader::open(files.path(name)).await.unwrap())
}

/// Requests that are never answered, more than may be in flight.
fn stuck(blob: &QueuedBlob) -> Vec<Request> {
    let requests = (0..6).map(|at| Request::vec(blob, at * 100_000, 64));
    requests
        .map(|request| request.class(Class::Low).tag(DEAD))
        .collect()
}

async fn held(files: &Files, count: usize) {
    let start = Instant::now();
    while files.held() < count {
        assert!(
            start.elapsed() < HUNG,
            "{} of {count} are held",
            files.held()
        );
        corelane::yield_now().await;
    }
}

#[test]
fn a_class_on_a_dead_file_system_stops_no_other() {
    faultfs::run("a_class_on_a_dead_file_system_stops_no_other", |files| {
        on_each(|worker, id| {
            worker.block_on(async {
                let queue = queue();
                let dead = register(&queue, files, &format!("never,direct,id={id}")).await;
                let mut flying: Vec<_> = stuck(&dead)
                    .into_iter()
                    .map(|request| queue.try_submit(request).unwrap())
                    .collect();
                held(files, STUCK as usize).await;
                let bytes = util::content(500_000);
                let real = file_of(&bytes);
                let real = queue.register(Reader::open(real.path()).await.unwrap());
                let slow = register(&queue, files, &format!("slow=2,id={id}")).await;
                for at in 0..40_usize {
                    let class = [Class::Normal, Class::High, Class::Realtime][at % 3];
                    let read =
                        queue.read(Request::vec(&real, at as u64 * 10_000, 9000).class(class));
                    let done = time::timeout(HUNG, read)
                        .await
                        .expect("a healthy class waits");
                    let from = at * 10_000;
                    assert_eq!(done.into_vec().unwrap(), bytes[from..from + 9000]);
                }
                let read = queue.read(Request::vec(&slow, 4096, 4096).class(Class::High));
                let done = time::timeout(HUNG, read)
                    .await
                    .expect("the same file system waits");
                assert!(done.into_vec().unwrap() == content(4096, 4096));

                let stats = queue.stats();
                let low = &stats.classes[Class::Low.index()];
                assert_eq!((low.in_flight.ops, low.in_flight_max.ops), (STUCK, STUCK));
                assert_eq!(stats.queued, 6 - STUCK as usize);
                let census = queue.census(&Filter::Tag {
                    mask: !0,
                    value: DEAD,
                });
                assert_eq!((census.queued, census.in_flight), (4, 2));

                // What waits is cancelled at once; what flies when the kernel is done with it.
                assert_eq!(queue.cancel_tagged(!0, DEAD), 6);
                for waiting in flying.split_off(STUCK as usize) {
                    let done = time::timeout(HUNG, waiting)
                        .await
                        .expect("cancelling waits");
                    assert!(done.result.unwrap_err().is_cancelled());
                }
                assert!(flying.iter().all(|handle| !handle.is_finished()));

                // The file system comes back, and so do the places.
                let back = async {
                    while corelane::stats().in_flight > 0 {
                        files.release();
                        corelane::yield_now().await;
                    }
                    let request = Request::vec(&slow, 0, 100).class(Class::Low);
                    queue.read(request).await.into_vec().unwrap()
                };
                let bytes = time::timeout(HUNG, back).await.expect("a place is lost");
                assert_eq!(bytes, content(0, 100));
                for handle in flying {
                    assert!(handle.await.result.unwrap_err().is_cancelled());
                }
                let outcomes = queue.stats().classes[Class::Low.index()].outcomes;
                assert_eq!((outcomes.cancelled, outcomes.read), (6, 1));
                assert_eq!(queue.stats().in_flight.ops, 0);
            });
            assert_eq!(worker.shutdown(Instant::now()).ops_leaked, 0, "{id}");
        });
    });
}

#[test]
fn a_request_that_fails_fails_alone() {
    faultfs::run("a_request_that_fails_fails_alone", |files| {
        on_each(|worker, id| {
            worker.block_on(async {
                let queue = queue();
                // Neighbours are read together; the hole is the last one's.
                let blob = register(&queue, files, &format!("eio=65536,size=131072,id={id}")).await;
                let requests = (0..16_u64)
                    .map(|at| Request::vec(&blob, at * 8192, 4096))
                    .collect();
                let batch = queue.try_submit_batch(requests, OnError::Continue).unwrap();
                let done = time::timeout(HUNG, batch).await.unwrap();
                for (at, one) in done.results.into_iter().enumerate() {
                    let pos = at as u64 * 8192;
                    match one.result {
                        Ok(_) if pos < 65_536 => {
                            assert!(one.into_vec().unwrap() == content(pos, 4096), "{at}");
                        }
                        Err(ReadError::Io(error)) if pos >= 65_536 => {
                            assert_eq!(error.raw_os_error(), Some(libc::EIO));
                        }
                        other => panic!("{id}: request {at}: {other:?}"),
                    }
                }
                let stats = queue.stats();
                let outcomes = stats.classes[Class::Normal.index()].outcomes;
                assert_eq!((outcomes.read, outcomes.failed), (8, 8));
                assert_eq!(stats.in_flight.ops, 0);
            });
        });
    });
}

#[test]
fn the_end_of_a_worker_does_not_wait_for_a_dead_file_system() {
    faultfs::run(
        "the_end_of_a_worker_does_not_wait_for_a_dead_file_system",
        |files| {
            on_each(|worker, id| {
                let (queue, handles) = worker.block_on(async {
                    let queue = queue();
                    let dead = register(&queue, files, &format!("never,direct,id={id}")).await;
                    let requests = stuck(&dead).into_iter();
                    let handles: Vec<_> = requests
                        .map(|request| queue.try_submit(request).unwrap())
                        .collect();
                    held(files, STUCK as usize).await;
                    (queue, handles)
                });
                let start = Instant::now();
                let report = worker.shutdown(start + Duration::from_millis(20));
                assert_eq!(report.ops_leaked, STUCK as usize, "{id}");
                assert!(start.elapsed() < HUNG / 3, "{id}: {:?}", start.elapsed());
                for handle in handles {
                    let done = futures_executor::block_on(handle);
                    let error = done.result.unwrap_err();
                    assert!(matches!(error, ReadError::WorkerGone), "{id}: {error}");
                }
                drop(queue);
                files.release();
            });
        },
    );
}
