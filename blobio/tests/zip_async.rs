//! Zip entries read on a worker and inflated off it.
#![cfg(feature = "executor")]

mod util;

use std::future::Future;

use blobio::async_reader::AsyncEntryData;
use blobio::error::ArchiveErrorKind as Kind;
use blobio::pack::zip::Archive;
use blobio::{NativeFileAsyncBlobRandomReader, RandomReadBlobAsync};
use corelane::{Config, Worker};

use util::zips::{Field, archive_of, archive_with_a_long_tail, get, set};
use util::{content, file_of};

type Reader = NativeFileAsyncBlobRandomReader;

fn on_worker<T>(future: impl Future<Output = T>) -> T {
    Worker::new(Config::default()).unwrap().block_on(future)
}

fn text(len: usize) -> Vec<u8> {
    let lines = (0_u32..).flat_map(|n| format!("line {n} of the text\n").into_bytes());
    lines.take(len).collect()
}

/// Writes an archive to a file and opens it on the current worker.
async fn open(bytes: &[u8]) -> (tempfile::NamedTempFile, Archive<Reader>) {
    let file = file_of(bytes);
    let reader = Reader::open(file.path()).await.unwrap();
    let archive = Archive::open_async(reader, "test.zip").await.unwrap();
    (file, archive)
}

#[test]
fn entries_of_every_size() {
    let text = text(2_000_000);
    let noise = content(700_000);
    on_worker(async {
        let lens = [0, 1, 100, 4096, 4097, 262_143, 262_144, 262_145, 2_000_000];
        let names: Vec<_> = lens.iter().map(|len| format!("text/{len}")).collect();
        let mut entries: Vec<_> = lens
            .iter()
            .zip(&names)
            .map(|(len, name)| (name.as_str(), &text[..*len], true))
            .collect();
        entries.push(("noise", &noise, true));
        entries.push(("stored", &noise, false));
        let (_file, archive) = open(&archive_of(&entries)).await;
        assert_eq!(archive.len(), entries.len());
        for (name, content, _) in entries {
            let entry = archive.entry(name).unwrap();
            assert_eq!(archive.read_async(entry).await.unwrap(), content, "{name}");
        }
    });
}

#[test]
fn a_stream_gives_the_same_bytes_whatever_the_chunks() {
    let text = text(400_000);
    on_worker(async {
        let (_file, archive) = open(&archive_of(&[("t", &text, true)])).await;
        let entry = archive.entry("t").unwrap();
        for len in [777, 65_536, 399_999, 400_000, 400_001] {
            let AsyncEntryData::Deflated(mut reader) = archive.data_async(entry).await.unwrap()
            else {
                panic!("not deflated")
            };
            let mut all = Vec::new();
            let mut chunk = Vec::new();
            loop {
                chunk = reader.next_chunk(chunk, len).await.unwrap();
                assert!(chunk.len() <= len);
                if chunk.is_empty() {
                    break;
                }
                all.extend_from_slice(&chunk);
            }
            assert_eq!(all, text, "chunks of {len}");
        }
    });
}

#[test]
fn stored_entries_are_blobs() {
    let content = content(50_000);
    on_worker(async {
        let (_file, archive) = open(&archive_of(&[
            ("a", b"before", false),
            ("s", &content, false),
        ]))
        .await;
        let entry = archive.entry("s").unwrap();
        let AsyncEntryData::Stored(blob) = archive.data_async(entry).await.unwrap() else {
            panic!("not stored")
        };
        drop(archive);
        util::async_suite::check("stored entry on a worker", &blob, &content).await;
        assert_eq!(
            blob.read_to_end_async(40_000).await.unwrap(),
            content[40_000..]
        );
    });
}

#[test]
fn entries_that_lie() {
    for text in [text(300), text(300_000)] {
        let make = |field: Field, change: &dyn Fn(u32) -> u32, deflated: bool| {
            let mut bytes = archive_of(&[("e", &text, deflated)]);
            let value = change(get(&bytes, 0, field));
            set(&mut bytes, 0, field, value);
            on_worker(async {
                let (_file, archive) = open(&bytes).await;
                let entry = archive.entry("e").unwrap();
                let error = archive.read_async(entry).await.unwrap_err();
                assert_eq!((error.archive(), error.entry()), ("test.zip", Some("e")));
                error.into_kind()
            })
        };
        assert!(matches!(make(Field::Crc, &|c| !c, true), Kind::Crc { .. }));
        assert!(matches!(make(Field::Crc, &|c| !c, false), Kind::Crc { .. }));
        assert!(matches!(
            make(Field::Len, &|l| l - 1, true),
            Kind::TooLong { .. }
        ));
        assert!(matches!(
            make(Field::Len, &|l| l + 1, true),
            Kind::TooShort { .. }
        ));
        assert!(matches!(
            make(Field::CompressedLen, &|l| l - 5, true),
            Kind::TooShort { .. }
        ));
        assert!(matches!(
            make(Field::HeaderOffset, &|o| o + 1, true),
            Kind::LocalHeader(_)
        ));
        assert!(matches!(
            make(Field::Flags, &|f| f | 1, true),
            Kind::Encrypted
        ));
        assert!(matches!(
            make(Field::Method, &|_| 93, true),
            Kind::UnsupportedMethod(93)
        ));
    }
}

/// Reads entry `e` whole and as a stream; both must come to the same.
fn read_both_ways(bytes: &[u8], chunk_len: usize) -> Result<Vec<u8>, String> {
    on_worker(async {
        let (_file, archive) = open(bytes).await;
        let entry = archive.entry("e").unwrap();
        let whole = archive.read_async(entry).await.map_err(|e| e.to_string());
        let AsyncEntryData::Deflated(mut reader) = archive.data_async(entry).await.unwrap() else {
            panic!("not deflated")
        };
        let mut all = Vec::new();
        // Stops where the declared content ends, without asking for the empty chunk after it.
        let streamed = loop {
            match reader.next_chunk(Vec::new(), chunk_len).await {
                Ok(chunk) => all.extend(chunk),
                Err(error) => break Err(error.to_string()),
            }
            if all.len() as u64 >= entry.len() {
                break Ok(all);
            }
        };
        assert_eq!(whole, streamed);
        whole
    })
}

#[test]
fn the_last_byte_is_checked_although_the_stream_ends_far_behind_it() {
    for len in [1, 3000, 4096, 6000, 200_000, 262_144, 600_000] {
        let text = text(len);
        for chunk_len in [len, 100_000] {
            let bytes = archive_with_a_long_tail(&text, 30_000, b"");
            assert_eq!(read_both_ways(&bytes, chunk_len).as_ref(), Ok(&text));
            let mut wrong = bytes;
            let crc = get(&wrong, 0, Field::Crc);
            set(&mut wrong, 0, Field::Crc, !crc);
            let error = read_both_ways(&wrong, chunk_len).unwrap_err();
            assert!(error.contains("checksum"), "{len}: {error}");
            let longer = archive_with_a_long_tail(&text, 30_000, b"!");
            let error = read_both_ways(&longer, chunk_len).unwrap_err();
            assert!(error.contains("goes on past"), "{len}: {error}");
        }
    }
}

#[test]
fn a_stream_that_was_given_up_stays_so() {
    let text = text(300_000);
    on_worker(async {
        let (_file, archive) = open(&archive_of(&[("t", &text, true)])).await;
        let data = archive
            .data_async(archive.entry("t").unwrap())
            .await
            .unwrap();
        let AsyncEntryData::Deflated(mut reader) = data else {
            panic!("not deflated")
        };
        let read = Box::pin(reader.next_chunk(Vec::new(), 1000));
        let mut read = read;
        assert!(futures_util::poll!(read.as_mut()).is_pending());
        drop(read);
        let error = reader.next_chunk(Vec::new(), 1000).await.unwrap_err();
        assert!(
            error
                .to_string()
                .ends_with("the stream has failed or was given up"),
            "{error}"
        );
    });
}
