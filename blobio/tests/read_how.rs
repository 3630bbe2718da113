//! How a read is issued changes when it is done, not what it gives: one that must not wait gives
//! all that it was asked for, or is refused.
#![cfg(feature = "executor")]

mod util;

use std::io::{ErrorKind, Write};
use std::path::Path;

use blobio::{NativeFileAsyncBlobRandomReader, RandomReadBlobAsync, ReadHow};
use corelane::fs::Advice;
use corelane::{Config, Worker};

use util::{content, into_suite};

const LEN: usize = 1 << 20;

fn file_in(folder: &str, bytes: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new_in(folder).unwrap();
    file.write_all(bytes).unwrap();
    file.as_file().sync_all().unwrap();
    file
}

async fn open(path: &Path) -> NativeFileAsyncBlobRandomReader {
    NativeFileAsyncBlobRandomReader::open(path).await.unwrap()
}

fn on_worker<T>(future: impl Future<Output = T>) -> T {
    Worker::new(Config::default()).unwrap().block_on(future)
}

#[test]
fn what_is_cached_is_read_however_it_is_issued() {
    let bytes = content(LEN);
    for folder in [env!("CARGO_TARGET_TMPDIR"), "/dev/shm"] {
        let file = file_in(folder, &bytes);
        on_worker(async {
            let reader = open(file.path()).await;
            // Written just now, so it is cached; a file in memory cannot tell, and is read.
            for how in [
                ReadHow::Auto,
                ReadHow::Inline,
                ReadHow::NoWait,
                ReadHow::Async,
            ] {
                for (pos, len) in [(0, LEN), (5000, 3), (LEN as u64 - 10, 100), (1 << 30, 7)] {
                    into_suite::check_at(&reader, &bytes, pos, len, how).await;
                }
            }
        });
    }
}

#[test]
fn what_is_cached_in_part_is_refused_as_a_whole_and_read_when_handed_off() {
    let bytes = content(LEN);
    let file = file_in(env!("CARGO_TARGET_TMPDIR"), &bytes);
    on_worker(async {
        let reader = open(file.path()).await;
        // Only what is asked for comes into the cache.
        reader.file().advise(0, 0, Advice::Random).await.unwrap();
        let mut refused = false;
        for _ in 0..20 {
            reader.file().advise(0, 0, Advice::DontNeed).await.unwrap();
            let head = reader.read_owned_async(0, 64 << 10, Vec::new()).await;
            assert_eq!(head.0.unwrap(), 64 << 10);
            let into = Vec::new().into();
            let (result, dest) = reader.read_into_async(0, LEN, into, ReadHow::NoWait).await;
            match result {
                // Kept in the cache all the same.
                Ok(count) => assert!(count == LEN && dest.bytes() == bytes),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock);
                    refused = true;
                }
            }
            let (result, dest) = reader.read_into_async(0, LEN, dest, ReadHow::Async).await;
            assert_eq!(result.unwrap(), LEN);
            assert!(
                dest.bytes() == bytes,
                "what was left of the refused read is gone"
            );
            if refused {
                return;
            }
        }
        eprintln!("SKIP: the file system keeps the pages, or is in memory");
    });
}
