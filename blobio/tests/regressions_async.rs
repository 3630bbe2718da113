//! The defects of the reader that this crate re-does, by their number: those of the asynchronous
//! reader. `regressions.rs` has the others.
#![cfg(feature = "executor")]
#![allow(
    unsafe_code,
    reason = "a region has an unsafe constructor, and so has raising a signal"
)]

mod util;

use std::future::Future;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::pin::{Pin, pin};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use blobio::{
    BlobMetadataAsync, BlobSlice, NativeFileAsyncBlobRandomReader, RandomReadBlobAsync, Region,
    RemoteBlob,
};
use corelane::{Config, Worker};
use futures_util::future::join_all;

use util::sync_suite::assert_names;
use util::{MARK, content, file_of, slices, take_init};

type Reader = NativeFileAsyncBlobRandomReader;

fn worker(config: Config) -> Worker {
    Worker::new(config).unwrap()
}

fn on_worker<T>(future: impl Future<Output = T>) -> T {
    worker(Config::default()).block_on(future)
}

async fn open(file: &tempfile::NamedTempFile) -> Reader {
    Reader::open(file.path()).await.unwrap()
}

/// Polls a future once; it is then in flight, and its first waker wakes nobody.
fn begin<F: Future>(future: Pin<&mut F>) {
    let mut context = Context::from_waker(Waker::noop());
    assert!(
        matches!(future.poll(&mut context), Poll::Pending),
        "in flight"
    );
}

/// Gives the operations of before time to end.
async fn settle(reader: &Reader, content: &[u8]) {
    for _ in 0..10 {
        assert_eq!(reader.read_to_end_async(0).await.unwrap(), content);
    }
}

/// Dropping a pending read let the kernel write into memory that was the caller's again.
#[test]
fn defect_01_memory_is_left_alone_once_its_read_is_dropped_or_forgotten() {
    let content = content(1 << 20);
    let file = file_of(&content);
    on_worker(async {
        let reader = open(&file).await;
        for forget in [false, true] {
            let mut memory = vec![MaybeUninit::new(MARK); 100_000];
            let mut read = Box::pin(reader.read_async(0, &mut memory));
            begin(read.as_mut());
            if forget {
                std::mem::forget(read)
            } else {
                drop(read)
            }
            let mut parts = vec![vec![MARK; 50_000], vec![MARK; 50_000]];
            let mut bufs = slices(&mut parts);
            let mut read = Box::pin(reader.readv_async(0, &mut bufs));
            begin(read.as_mut());
            if forget {
                std::mem::forget(read)
            } else {
                drop(read)
            }
            settle(&reader, &content).await;
            drop(bufs);
            assert!(take_init(memory).iter().all(|byte| *byte == MARK));
            assert!(parts.concat().iter().all(|byte| *byte == MARK));
        }
    });
}

/// As above, for memory that the kernel writes directly: its owner lives until the read ended.
#[test]
fn defect_01_a_region_outlives_the_reads_into_it() {
    struct Owner(Arc<AtomicBool>);
    impl Drop for Owner {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let content = content(1 << 20);
    let file = file_of(&content);
    on_worker(async {
        let reader = open(&file).await;
        let released = Arc::new(AtomicBool::new(false));
        let memory = Box::into_raw(vec![MARK; 3000].into_boxed_slice());
        let start = NonNull::new(memory.cast::<u8>()).unwrap();
        // SAFETY: a live allocation of 3,000 bytes, freed below after the owner was dropped.
        let region = unsafe { Region::new(start, 3000, Owner(Arc::clone(&released))) };
        let (head, tail) = region.into_slice().split_at(1000);
        let part = BlobSlice::new(reader.clone(), 500, 1500).unwrap();
        let (got, tail) = part.read_at(tail, 100).await;
        assert_eq!((got.unwrap(), tail.len()), (1400, 2000));
        drop(tail);
        let mut read = Box::pin(reader.read_at(head, 7));
        begin(read.as_mut());
        drop(read);
        settle(&reader, &content).await;
        assert!(
            released.load(Ordering::SeqCst),
            "the read has ended, and its slice is dropped"
        );
        // SAFETY: it came from `Box::into_raw`, and the region is gone.
        let memory = unsafe { Box::from_raw(memory) };
        assert_eq!(memory[1000..2400], content[600..2000]);
        assert!(
            memory[2400..].iter().all(|byte| *byte == MARK),
            "the range ended before"
        );
    });
}

/// The kernel's answer lay in the future, which moved. And 8: the first waker was kept for good.
#[test]
fn defect_02_and_08_futures_move_and_take_new_wakers() {
    let content = content(20_000);
    let file = file_of(&content);
    on_worker(async {
        let reader = open(&file).await;
        let mut length = reader.byte_length_async();
        begin(pin!(&mut length));
        assert_eq!(Box::new(length).await.unwrap(), 20_000);
        let mut memory = vec![MaybeUninit::uninit(); 1000];
        let mut read = reader.read_async(10, &mut memory);
        begin(pin!(&mut read));
        assert_eq!(Box::new(read).await.unwrap(), 1000);
        assert_eq!(take_init(memory), content[10..1010]);
        let mut read = reader.read_owned_async(10, 1000, Vec::new());
        begin(pin!(&mut read));
        let (_, bytes) = Box::new(read).await;
        assert_eq!(bytes, content[10..1010]);
    });
}

/// Two threads shared a future's state without a lock: what is local must not be `Send`.
#[test]
fn defect_03_local_readers_stay_local_and_remote_ones_are_send() {
    trait Ambiguous<A> {
        fn check() {}
    }
    impl<T: ?Sized> Ambiguous<()> for T {}
    struct IsSend;
    impl<T: ?Sized + Send> Ambiguous<IsSend> for T {}
    // Each line compiles only while the type is not `Send`.
    <Reader as Ambiguous<_>>::check();
    <<Reader as RandomReadBlobAsync>::ReadOwnedFuture as Ambiguous<_>>::check();
    <<Reader as RandomReadBlobAsync>::ReadFuture<'_, '_> as Ambiguous<_>>::check();
    fn shared<T: Send + Sync + Clone + Unpin>() {}
    fn sent<T: Send>() {}
    shared::<RemoteBlob>();
    shared::<BlobSlice<RemoteBlob>>();
    sent::<<RemoteBlob as RandomReadBlobAsync>::ReadOwnedFuture>();
    sent::<<RemoteBlob as RandomReadBlobAsync>::ReadFuture<'_, '_>>();
    sent::<<RemoteBlob as RandomReadBlobAsync>::ReadVecFuture<'_, '_, '_>>();
    sent::<<RemoteBlob as BlobMetadataAsync>::ByteLengthFuture>();
}

/// Requests overwrote each other when there were more than the ring had room for. And 5: a
/// request inherited flags of the one before it in its place. And 6: completions were taken one by
/// one, each with a system call.
#[test]
fn defect_04_05_06_more_requests_of_all_kinds_than_the_ring_has_places() {
    let content = content(100_000);
    let file = file_of(&content);
    let worker = worker(Config::default().sq_entries(8));
    worker.block_on(async {
        let reader = open(&file).await;
        let tasks = (0..5000_usize).map(|n| {
            let (reader, content) = (&reader, &content);
            async move {
                let pos = n * 19;
                assert_eq!(reader.byte_length_async().await.unwrap(), 100_000);
                let (got, bytes) = reader.read_owned_async(pos as u64, 16, Vec::new()).await;
                assert_eq!(
                    (got.unwrap(), bytes.as_slice()),
                    (16, &content[pos..pos + 16])
                );
            }
        });
        join_all(tasks).await;
    });
    let stats = worker.stats();
    assert!(stats.completions >= 10_000);
    assert!(stats.enters < stats.completions / 2, "{stats:?}");
}

/// A signal during a wait panicked.
#[test]
fn defect_07_signals_during_waits() {
    let content = content(1 << 20);
    let file = file_of(&content);
    let done = Arc::new(AtomicBool::new(false));
    on_worker(async {
        let _signals = corelane::signal::signals(&[libc::SIGUSR2]).unwrap();
        let stop = Arc::clone(&done);
        // SAFETY: no arguments; it names the calling thread, which outlives the storm.
        let target = unsafe { libc::pthread_self() };
        let storm = std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                // SAFETY: the thread lives until the storm has been joined; the signal is handled.
                unsafe { libc::pthread_kill(target, libc::SIGUSR2) };
                std::thread::yield_now();
            }
        });
        let reader = open(&file).await;
        for pos in (0..content.len()).step_by(2000) {
            let (got, bytes) = reader
                .read_owned_async(pos as u64, 50_000, Vec::new())
                .await;
            let expected = &content[pos..content.len().min(pos + 50_000)];
            assert_eq!((got.unwrap(), bytes.as_slice()), (expected.len(), expected));
        }
        done.store(true, Ordering::Relaxed);
        storm.join().unwrap();
    });
}

/// Exact reads never came back at the end of a blob.
#[test]
fn defect_10_exact_reads_end_where_the_blob_does() {
    let file = file_of(&content(10));
    on_worker(async {
        let reader = open(&file).await;
        let mut words = [MaybeUninit::uninit(); 12];
        assert_names(
            &reader.read_exact_async(0, &mut words).await.unwrap_err(),
            0,
            12,
            10,
        );
        let mut parts = [vec![0; 4], vec![0; 8]];
        let error = reader
            .readv_all_async(0, &mut slices(&mut parts))
            .await
            .unwrap_err();
        assert_names(&error, 0, 12, 10);
    });
}

/// Positions were cut to 32 bits.
#[test]
fn defect_11_positions_past_4_gib_are_not_cut() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let far = (5_u64 << 30) + 3;
    std::os::unix::fs::FileExt::write_all_at(file.as_file(), b"far away", far).unwrap();
    on_worker(async {
        let reader = open(&file).await;
        assert_eq!(reader.byte_length_async().await.unwrap(), far + 8);
        assert_eq!(reader.read_to_end_async(far).await.unwrap(), b"far away");
        let (_, bytes) = reader
            .read_owned_async(far & 0xffff_ffff, 4, Vec::new())
            .await;
        assert_eq!(bytes, [0; 4]);
    });
}

/// A mapping at an offset that is not a page's was refused: archives could not be mapped at 21.
#[test]
fn defect_13_mappings_begin_anywhere() {
    let content = content(20_000);
    let file = file_of(&content);
    on_worker(async {
        let reader = open(&file).await;
        for offset in [21, 1, 4096, 4097, 19_999] {
            let view = reader
                .mmap_async(offset as u64, 20_000 - offset)
                .await
                .unwrap();
            assert_eq!(view[..], content[offset..]);
        }
        let error = reader.mmap_async(21, 20_000).await.unwrap_err();
        assert_names(&error, 21, 20_000, 19_979);
    });
}

/// The asynchronous reader had its file opened by a blocking call, and its path in UTF-8.
#[test]
fn defect_16_opening_is_an_operation_and_takes_any_path() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir
        .path()
        .join(std::ffi::OsStr::from_bytes(b"\xff\xfe.pk3"));
    std::fs::write(&path, b"content").unwrap();
    on_worker(async {
        let mut opening = Box::pin(Reader::open(&path));
        begin(opening.as_mut());
        let reader = opening.await.unwrap();
        assert_eq!(reader.read_to_end_async(0).await.unwrap(), b"content");
    });
}

/// Dropping the reactor left its operations in flight.
#[test]
fn defect_16_a_worker_that_goes_ends_its_reads() {
    let content = content(4 << 20);
    let file = file_of(&content);
    for _ in 0..20 {
        let worker = worker(Config::default());
        let mut reads = worker.block_on(async {
            let reader = open(&file).await;
            let mut reads: Vec<_> = (0..8)
                .map(|n| Box::pin(reader.read_owned_async(n, 4 << 20, Vec::new())))
                .collect();
            reads.iter_mut().for_each(|read| begin(read.as_mut()));
            reads
        });
        reads.truncate(4);
        drop(worker);
        // The worker has let go of the buffers; the futures that are left own nothing of it.
        drop(reads);
    }
}
