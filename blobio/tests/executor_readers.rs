//! The readers that are bound to corelane's workers: the suite, and what is theirs alone.
#![cfg(feature = "executor")]

mod util;

use std::future::Future;
use std::io;
use std::mem::MaybeUninit;

use blobio::adapters::AsyncReadSeek;
use blobio::{
    BlobMetadata, BlobMetadataAsync, BlobSlice, NativeFileAsyncBlobRandomReader, RandomReadBlob,
    RandomReadBlobAsync, RemoteBlob,
};
use corelane::{Config, Executor, Placement, Worker};
use futures_util::{AsyncReadExt, AsyncSeekExt};

use util::async_suite::check;
use util::blobs::Slow;
use util::{content, file_of, slices, take_init};

const LEN: usize = 20_000;

fn on_worker<T>(future: impl Future<Output = T>) -> T {
    Worker::new(Config::default()).unwrap().block_on(future)
}

async fn open(file: &tempfile::NamedTempFile) -> NativeFileAsyncBlobRandomReader {
    NativeFileAsyncBlobRandomReader::open(file.path())
        .await
        .unwrap()
}

#[test]
fn file_and_slices_of_it() {
    let content = content(LEN);
    let file = file_of(&content);
    on_worker(async {
        let reader = open(&file).await;
        check("file on a worker", &reader, &content).await;
        let part = BlobSlice::new(reader, 777, 5000).unwrap();
        check("slice of it", &part, &content[777..5777]).await;
    });
}

#[test]
fn remote_handle_on_its_worker_and_elsewhere() {
    let content = content(LEN);
    let file = file_of(&content);
    on_worker(async {
        let remote = RemoteBlob::new(open(&file).await);
        check("remote, at home", &remote, &content).await;
    });

    let executor = Executor::builder()
        .placement(Placement::Unpinned(1))
        .start()
        .unwrap();
    let path = file.path().to_owned();
    // No executor of ours: any that polls will do.
    futures_executor::block_on(async {
        let remote = RemoteBlob::open(executor.spawner(0), path).await.unwrap();
        check("remote, from a foreign executor", &remote, &content).await;
        let clone = remote.clone();
        drop(remote);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    let all = futures_executor::block_on(clone.read_to_end_async(0));
                    assert_eq!(all.unwrap(), content);
                });
            }
        });
    });
}

#[test]
fn a_remote_handle_outlives_its_worker() {
    let file = file_of(&content(LEN));
    let worker = Worker::new(Config::default()).unwrap();
    let remote = worker.block_on(async { RemoteBlob::new(open(&file).await) });
    drop(worker);
    futures_executor::block_on(async {
        let (result, _) = remote.read_owned_async(0, 10, Vec::new()).await;
        assert_eq!(result.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        let error = remote.byte_length_async().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    });
}

#[derive(Clone)]
struct Panicking;

impl BlobMetadata for Panicking {
    fn byte_length(&self) -> io::Result<u64> {
        panic!("a length that panics")
    }
}

impl RandomReadBlob for Panicking {
    fn read_slice(&self, pos: u64, buf: &mut [u8]) -> io::Result<usize> {
        assert_ne!(pos, 0, "a read that panics");
        buf.fill(1);
        Ok(buf.len())
    }
}

#[test]
fn a_remote_read_that_panics_fails_alone_and_says_so() {
    let says_so = |error: io::Error| {
        assert_ne!(error.kind(), io::ErrorKind::BrokenPipe);
        assert!(error.to_string().contains("panicked"), "{error}");
    };
    for pending in [0, 1] {
        on_worker(async {
            let remote = RemoteBlob::new(Slow(Panicking, pending));
            says_so(remote.byte_length_async().await.unwrap_err());
            let (result, buf) = remote.read_owned_async(0, 4, Vec::new()).await;
            says_so(result.unwrap_err());
            assert!(buf.is_empty());
            let (result, buf) = remote.read_owned_async(1, 4, Vec::new()).await;
            assert_eq!((result.unwrap(), buf), (4, vec![1; 4]));
        });
    }
}

#[test]
fn a_missing_file_is_an_error_at_both_ends() {
    on_worker(async {
        let path = "/nowhere/at all";
        let error = NativeFileAsyncBlobRandomReader::open(path)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        let error = RemoteBlob::open(corelane::spawner(), path)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    });
}

#[test]
fn owned_reads_fill_the_buffer_that_they_are_given() {
    let content = content(3 << 20);
    let file = file_of(&content);
    on_worker(async {
        let reader = open(&file).await;
        let (got, bytes) = reader.read_at(Vec::with_capacity(2 << 20), 5).await;
        assert_eq!(
            (got.unwrap(), &bytes[..]),
            (2 << 20, &content[5..5 + (2 << 20)])
        );
        let (got, bytes) = reader
            .read_at(vec![7; 100].into_boxed_slice(), 3 << 20)
            .await;
        assert_eq!((got.unwrap(), &bytes[..]), (0, &[7; 100][..]));
        for pos in [i64::MAX.cast_unsigned(), 1 << 63, u64::MAX] {
            let (got, bytes) = reader.read_at(Vec::with_capacity(10), pos).await;
            assert_eq!((got.unwrap(), bytes.len()), (0, 0), "{pos:x}");
        }
        let mut raw = vec![0_u8; 64];
        #[allow(unsafe_code, reason = "the form that takes a pointer")]
        // SAFETY: the vector is not touched until the read has given its result.
        let read = unsafe { reader.read_raw(9, raw.as_mut_ptr(), raw.len()) };
        assert_eq!(read.await.unwrap(), 64);
        assert_eq!(raw, content[9..73]);
    });
}

#[test]
fn nothing_read_leaves_nothing_in_the_buffer() {
    let file = file_of(b"content");
    on_worker(async {
        let reader = open(&file).await;
        for pos in [7, 8, i64::MAX.cast_unsigned(), u64::MAX] {
            let (got, buf) = reader.read_at(vec![7; 16], pos).await;
            assert_eq!((got.unwrap(), buf), (0, vec![]), "{pos}");
        }
        let slice = BlobSlice::new(reader, 0, 2).unwrap();
        for pos in [2, 3, u64::MAX] {
            let (got, buf) = slice.read_at(vec![7; 16], pos).await;
            assert_eq!((got.unwrap(), buf), (0, vec![]), "{pos}");
        }
        let (got, buf) = slice.read_at(vec![7; 16], 1).await;
        assert_eq!((got.unwrap(), buf), (1, b"o".to_vec()));
    });
}

#[test]
fn many_reads_of_one_blob_are_in_flight_at_once() {
    let content = content(1 << 20);
    let file = file_of(&content);
    on_worker(async {
        let reader = open(&file).await;
        let reads = (0..300_usize).map(|n| {
            let pos = n * 3000;
            let read = reader.read_owned_async(pos as u64, 2000, Vec::new());
            let expected = &content[pos..pos + 2000];
            async move {
                let (got, bytes) = read.await;
                assert_eq!((got.unwrap(), bytes.as_slice()), (2000, expected));
            }
        });
        futures_util::future::join_all(reads).await;
    });
}

#[test]
fn a_cursor_over_a_file() {
    let content = content(LEN);
    let file = file_of(&content);
    on_worker(async {
        let mut cursor = AsyncReadSeek::with_window(open(&file).await, 1000);
        cursor.seek(io::SeekFrom::End(-5000)).await.unwrap();
        let mut tail = Vec::new();
        cursor.read_to_end(&mut tail).await.unwrap();
        assert_eq!(tail, content[LEN - 5000..]);
    });
}

#[test]
fn borrowed_reads_longer_than_the_vector_they_pass_through() {
    let content = content((1 << 20) + 77);
    let file = file_of(&content);
    on_worker(async {
        let reader = open(&file).await;
        let mut memory = vec![MaybeUninit::new(0); 2 << 20];
        assert_eq!(
            reader.read_async(7, &mut memory).await.unwrap(),
            (1 << 20) + 70
        );
        assert_eq!(take_init(memory)[..(1 << 20) + 70], content[7..]);
        let mut parts = [
            vec![0; 262_143],
            vec![0; 1],
            vec![],
            vec![0; 600_000],
            vec![0; 9],
        ];
        let got = reader
            .readv_async(3, &mut slices(&mut parts))
            .await
            .unwrap();
        assert_eq!(got, 862_153);
        assert_eq!(parts.concat(), content[3..3 + 862_153]);
    });
}
