//! What a queue does with requests, one by one: destinations, ends of blobs, errors, panics.
#![cfg(feature = "executor")]

mod util;

use std::future::Future;
use std::io;
use std::ptr::NonNull;
use std::rc::Rc;
use std::time::{Duration, Instant};

use blobio::queue::{
    BlobQueue, Class, Filter, OnError, QueueConfig, QueuedBlob, ReadError, Request, SubmitError,
};
use blobio::{Destination, MemoryBlob, NativeFileAsyncBlobRandomReader, Region};
use corelane::buf::AlignedBuf;
use corelane::{Config, Worker};

use util::queue_blobs::{Scripted, Step};
use util::{content, file_of};

const LEN: usize = 3 << 20;

fn on_worker<T>(future: impl Future<Output = T>) -> T {
    Worker::new(Config::default()).unwrap().block_on(future)
}

fn queue() -> BlobQueue {
    BlobQueue::new(QueueConfig::default()).unwrap()
}

async fn open(queue: &BlobQueue, file: &tempfile::NamedTempFile) -> QueuedBlob {
    let reader = NativeFileAsyncBlobRandomReader::open(file.path());
    queue.register(reader.await.unwrap())
}

#[test]
fn every_kind_of_destination_gets_its_bytes() {
    let content = content(LEN);
    let file = file_of(&content);
    on_worker(async {
        let queue = queue();
        let blob = open(&queue, &file).await;

        let done = queue.read(Request::vec(&blob, 5, 1000)).await;
        assert_eq!(done.result.as_ref().unwrap(), &1000);
        assert_eq!(done.into_vec().unwrap(), content[5..1005]);

        let aligned = AlignedBuf::new(8192, 4096);
        let done = queue.read(Request::new(&blob, 4096, 8192, aligned)).await;
        assert_eq!(done.bytes(), &content[4096..4096 + 8192]);

        let pooled = corelane::pool().unwrap().get().await;
        let done = queue.read(Request::new(&blob, 77, 100, pooled)).await;
        assert_eq!(done.bytes(), &content[77..177]);

        let request = Request::allocated(&blob, 3, 9, |len| {
            assert_eq!(len, 9);
            Ok(Vec::with_capacity(len).into())
        });
        assert_eq!(queue.read(request).await.bytes(), &content[3..12]);
    });
}

#[test]
#[allow(unsafe_code, reason = "a region vouches for memory")]
fn regions_are_filled_also_in_pieces_and_by_shared_reads() {
    let content = content(LEN);
    let file = file_of(&content);
    let memory: &'static mut [u8] = Box::leak(vec![0xa5; LEN + 2].into_boxed_slice());
    let start = NonNull::from(&mut *memory).cast::<u8>();
    // SAFETY: the memory is leaked, as long as said, and nothing reads it until the slices are
    // gone.
    let region = unsafe { Region::new(start, LEN + 2, ()) };
    let (long, rest) = region.into_slice().split_at(LEN - 4096);
    let (low, high) = rest.split_at(2000);
    let worker = Worker::new(Config::default()).unwrap();
    worker.block_on(async {
        let queue = queue();
        let blob = open(&queue, &file).await;
        // Longer than the longest read; and two that overlap.
        let requests = vec![
            Request::new(&blob, 0, LEN - 4096, long),
            Request::new(&blob, (LEN - 4096) as u64, 2000, low),
            Request::new(&blob, (LEN - 4096 + 1000) as u64, 2000, high),
        ];
        let batch = queue.submit_batch(requests, OnError::Continue).await;
        let done = batch.unwrap().await;
        assert_eq!(done.first_error, None);
        assert!(queue.stats().split >= 1, "{:?}", queue.stats());
    });
    drop(worker);
    // SAFETY: the slices were dropped with the results, and the memory is leaked.
    let memory = unsafe { std::slice::from_raw_parts(start.as_ptr(), LEN + 2) };
    let at = LEN - 4096;
    assert!(memory[..at + 2000] == content[..at + 2000]);
    assert_eq!(memory[at + 2000..at + 4000], content[at + 1000..at + 3000]);
    assert!(memory[at + 4000..].iter().all(|byte| *byte == 0xa5));
}

#[test]
fn ends_of_blobs_are_counts_or_errors_as_asked() {
    let content = content(10_000);
    on_worker(async {
        let queue = queue();
        let blob = queue.register(Scripted::new(content.clone()));
        for (pos, len, there) in [
            (0, 0, 0),
            (9_990, 50, 10),
            (10_000, 1, 0),
            (u64::MAX, 3, 0),
            (u64::MAX - 3, usize::MAX >> 40, 0),
        ] {
            let done = queue.read(Request::vec(&blob, pos, len)).await;
            assert_eq!(done.result.as_ref().unwrap(), &there, "{len} at {pos}");
            assert_eq!(done.bytes().len(), there);
            let done = queue.read(Request::vec(&blob, pos, len).exact()).await;
            if len == there {
                assert!(done.result.is_ok());
                continue;
            }
            let error = io::Error::from(done.result.unwrap_err());
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
            assert!(error.to_string().contains(&pos.to_string()), "{error}");
        }
    });
}

#[test]
fn what_does_not_fit_its_destination_names_both_lengths() {
    on_worker(async {
        let queue = queue();
        let blob = queue.register(Scripted::new(content(10_000)));
        let small = AlignedBuf::new(16, 16);
        let done = queue.read(Request::new(&blob, 0, 17, small)).await;
        let error = done.result.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        let text = error.to_string();
        assert!(text.contains("17") && text.contains("16"), "{text}");
        assert!(done.destination.is_some());
    });
}

#[test]
fn allocators_are_called_just_before_the_read_and_may_fail_or_panic() {
    on_worker(async {
        let queue = queue();
        let blob = queue.register(Scripted::new(content(10_000)));
        let called = Rc::new(std::cell::Cell::new(0));
        let allocate = |called: &Rc<std::cell::Cell<i32>>| {
            let called = Rc::clone(called);
            move |len| {
                called.set(called.get() + 1);
                Ok(Destination::from(Vec::with_capacity(len)))
            }
        };
        let request = Request::allocated(&blob, 0, 10, allocate(&called));
        let handle = queue.try_submit(request).unwrap();
        assert_eq!(called.get(), 0, "the engine has not run yet");
        handle.await;
        assert_eq!(called.get(), 1);

        // Cancelled while queued: never called, and dropped.
        let request = Request::allocated(&blob, 0, 10, allocate(&called));
        let handle = queue.try_submit(request).unwrap();
        handle.cancel();
        let done = handle.await;
        assert!(done.result.unwrap_err().is_cancelled());
        assert!(done.destination.is_none());
        assert_eq!((called.get(), Rc::strong_count(&called)), (1, 1));

        let requests = vec![
            Request::vec(&blob, 0, 100),
            Request::allocated(&blob, 0, 10, |_| panic!("no memory for you")),
            Request::allocated(&blob, 0, 10, |_| Err(io::Error::other("heap is full"))),
            Request::vec(&blob, 50, 100),
        ];
        let batch = queue.try_submit_batch(requests, OnError::Continue);
        let done = batch.unwrap().await;
        assert_eq!(done.first_error, Some(1));
        assert!(done.results[0].result.is_ok() && done.results[3].result.is_ok());
        let panicked = done.results[1].result.as_ref().unwrap_err();
        assert!(matches!(panicked, ReadError::Panicked(_)), "{panicked}");
        let failed = done.results[2].result.as_ref().unwrap_err();
        assert!(failed.to_string().contains("heap is full"), "{failed}");
    });
}

#[test]
fn errors_of_a_blob_reach_whom_they_concern() {
    let content = content(10_000);
    on_worker(async {
        let queue = queue();
        let bad = Scripted::new(content.clone()).merging().bad_byte(2_500);
        let blob = queue.register(bad);
        let parts = (0..10).map(|part| Request::vec(&blob, part * 1000, 1000));
        let batch = queue.try_submit_batch(parts.collect(), OnError::Continue);
        let done = batch.unwrap().await;
        for (part, finished) in done.results.iter().enumerate() {
            if part == 2 {
                let error = finished.result.as_ref().unwrap_err();
                assert!(error.to_string().contains("bad byte"), "{error}");
            } else {
                assert_eq!(finished.bytes(), &content[part * 1000..][..1000]);
            }
        }
        let stats = queue.stats();
        assert_eq!(stats.parted, 1, "one shared read failed: {stats:?}");

        let panicking = queue.register(Scripted::new(content).step(Step::Panic));
        let done = queue.read(Request::vec(&panicking, 0, 10)).await;
        assert!(matches!(done.result, Err(ReadError::Panicked(_))));
        // And the queue goes on.
        let done = queue.read(Request::vec(&blob, 0, 10)).await;
        assert_eq!(done.result.unwrap(), 10);
    });
}

#[test]
fn full_is_an_answer_and_a_wait_in_order() {
    on_worker(async {
        let config = QueueConfig {
            queued_max: 2,
            ..QueueConfig::default()
        };
        let queue = BlobQueue::new(config).unwrap();
        let source = Scripted::new(content(10_000));
        let gate = source.gate();
        let blob = queue.register(source);
        let first = queue.try_submit(Request::vec(&blob, 0, 1)).unwrap();
        let second = queue.try_submit(Request::vec(&blob, 10, 1)).unwrap();
        let full = queue.try_submit(Request::vec(&blob, 20, 1)).unwrap_err();
        assert!(matches!(full, SubmitError::Full(_)));

        let mut waiting = std::pin::pin!(queue.submit(Request::vec(&blob, 30, 1)));
        assert!(futures_util::poll!(waiting.as_mut()).is_pending());
        assert_eq!(queue.stats().waiting, 1);
        gate.open();
        first.await;
        let third = waiting.await.unwrap();
        second.await;
        assert_eq!(third.await.result.unwrap(), 1);
        assert_eq!(queue.stats().waiting_max, 1);

        // A batch longer than the queue.
        let parts = (0..500).map(|part| Request::vec(&blob, part, 1));
        let batch = queue.submit_batch(parts.collect(), OnError::Continue).await;
        let done = batch.unwrap().await;
        assert!(done.results.iter().all(|one| one.result.is_ok()));
        assert!(queue.stats().held_max <= 2);
    });
}

#[test]
fn who_gives_up_waiting_leaves_no_trace() {
    on_worker(async {
        let config = QueueConfig {
            queued_max: 1,
            ..QueueConfig::default()
        };
        let queue = BlobQueue::new(config).unwrap();
        let source = Scripted::new(content(100));
        let gate = source.gate();
        let blob = queue.register(source);
        let first = queue.try_submit(Request::vec(&blob, 0, 1)).unwrap();
        let mut gives_up = Box::pin(queue.submit(Request::vec(&blob, 1, 1)));
        let mut stays = Box::pin(queue.submit(Request::vec(&blob, 2, 1)));
        assert!(futures_util::poll!(gives_up.as_mut()).is_pending());
        assert!(futures_util::poll!(stays.as_mut()).is_pending());
        gate.open();
        first.await;
        // It has been given the place, and drops it: the next one gets it.
        drop(gives_up);
        assert_eq!(stays.await.unwrap().await.result.unwrap(), 1);
    });
}

#[test]
fn classes_and_deadlines_change_the_order_while_queued() {
    on_worker(async {
        let mut config = QueueConfig::default();
        config.in_flight.all.ops = 1;
        let queue = BlobQueue::new(config).unwrap();
        let source = Scripted::new(content(10_000));
        let (gate, log) = (source.gate(), source.log());
        let blob = queue.register(source);
        let request = |pos| Request::vec(&blob, pos, 1).class(Class::Low);
        let mut handles = Vec::new();
        for pos in [0, 100, 200, 300, 400] {
            handles.push(queue.try_submit(request(pos)).unwrap());
        }
        // The first is under way and cannot change any more.
        corelane::yield_now().await;
        corelane::yield_now().await;
        assert!(!handles[0].set_class(Class::Realtime));
        assert!(handles[4].set_class(Class::Realtime));
        assert!(handles[3].set_deadline(Some(Instant::now())));
        handles[2].cancel();
        gate.open();
        for handle in handles {
            handle.await;
        }
        assert_eq!(log.positions(), [0, 300, 400, 100]);
        assert_eq!(queue.stats().classes[Class::Low.index()].outcomes.late, 1);
    });
}

#[test]
fn statistics_count_by_class_tag_and_name() {
    let content = content(100_000);
    on_worker(async {
        let queue = queue();
        let source = Scripted::new(content).merging();
        let gate = source.gate();
        let blob = queue.register(source);
        let by_tag = queue.watch(Filter::Tag { mask: 1, value: 1 });
        let by_name = queue.watch(Filter::Name("rock".into()));
        let parts = (0..10).map(|part| {
            let request = Request::vec(&blob, part * 550, 500).tag(part);
            if part == 3 {
                request.name("rock")
            } else {
                request
            }
        });
        let parts = parts.map(|request| request.class(Class::High)).collect();
        let batch = queue.submit_batch(parts, OnError::Continue).await.unwrap();
        let census = queue.census(&Filter::Tag { mask: 1, value: 0 });
        assert_eq!((census.queued, census.bytes), (5, 2500));
        gate.open();
        batch.await;
        let stats = queue.stats();
        let high = &stats.classes[Class::High.index()];
        assert_eq!((high.outcomes.submitted, high.outcomes.read), (10, 10));
        assert_eq!(high.latency_ns.count(), 10);
        assert_eq!((stats.bytes_asked, stats.held), (5000, 0));
        assert!(stats.reads < 10 && stats.merged == 10, "{stats:?}");
        assert_eq!(by_tag.stats().outcomes.read, 5);
        assert_eq!(
            (by_name.stats().outcomes.read, by_name.stats().bytes),
            (1, 500)
        );
    });
}

#[test]
fn blobs_of_another_queue_are_refused() {
    on_worker(async {
        let (one, other) = (queue(), queue());
        let blob = one.register(Scripted::new(content(100)));
        let refused = other.try_submit(Request::vec(&blob, 0, 1)).unwrap_err();
        assert!(matches!(refused, SubmitError::ForeignBlob(_)));
        let refused = other.submit(Request::vec(&blob, 0, 1)).await.unwrap_err();
        assert!(matches!(refused, SubmitError::ForeignBlob(_)));
        drop(MemoryBlob::new(Vec::new()));
    });
}

#[test]
fn limits_of_nothing_are_refused_by_name() {
    on_worker(async {
        let config = QueueConfig {
            queued_max: 0,
            ..QueueConfig::default()
        };
        let error = BlobQueue::new(config).unwrap_err();
        assert!(error.to_string().contains("queued_max"), "{error}");
        let mut config = QueueConfig::default();
        config.in_flight.all.ops = 0;
        assert!(BlobQueue::new(config).is_err());
        corelane::time::sleep(Duration::ZERO).await;
    });
}
