//! Destinations: what reads into any kind of memory do, and what is copied into it.
#![cfg(feature = "executor")]

mod util;

use blobio::{BlobSlice, Destination, MemoryBlob, NativeFileAsyncBlobRandomReader, RemoteBlob};
use corelane::buf::AlignedBuf;
use corelane::{Config, Worker};

use util::blobs::Slow;
use util::into_suite::{self, Memory};
use util::{MARK, content, file_of};

const LEN: usize = 20_000;

#[test]
fn every_reader_fills_every_kind_of_memory() {
    let content = content(LEN);
    let file = file_of(&content);
    let worker = Worker::new(Config::default());
    worker.unwrap().block_on(async {
        let memory = MemoryBlob::new(content.clone());
        into_suite::check("memory", &memory, &content).await;
        into_suite::check("slow", &Slow(memory, 2), &content).await;
        let reader = NativeFileAsyncBlobRandomReader::open(file.path())
            .await
            .unwrap();
        into_suite::check("file", &reader, &content).await;
        into_suite::check("&file", &&reader, &content).await;
        let part = BlobSlice::new(reader.clone(), 777, 5000).unwrap();
        into_suite::check("slice", &part, &content[777..5777]).await;
        into_suite::check("remote", &RemoteBlob::new(reader), &content).await;
    });
}

/// Copies out of order, with a hole, over what is there, and at both ends.
fn copy_around(dest: &mut Destination) {
    dest.copy_at(4, b"efgh");
    dest.copy_at(0, b"abc");
    dest.copy_at(6, b"GHI");
    dest.copy_at(12, b"mnop");
    dest.copy_at(16, b"");
    dest.copy_at(2, b"");
}

#[test]
fn copies_zero_the_holes_and_claim_what_was_written() {
    let pool = async { corelane::pool().unwrap().get().await };
    let pooled = Worker::new(Config::default()).unwrap().block_on(pool);
    let vector = Vec::with_capacity(16);
    let aligned = AlignedBuf::new(16, 64);
    for mut dest in [vector.into(), aligned.into(), Destination::from(pooled)] {
        dest.reserve(16).unwrap();
        copy_around(&mut dest);
        assert_eq!(dest.bytes(), b"abc\0efGHI\0\0\0mnop");
        dest.truncate(5);
        assert_eq!(dest.bytes(), b"abc\0e");
        dest.copy_at(6, b"x");
        assert_eq!(dest.bytes(), b"abc\0e\0x");
    }
    let (memory, region) = Memory::new(16);
    let mut dest = Destination::from(region.into_slice());
    copy_around(&mut dest);
    assert_eq!(dest.bytes(), b"");
    drop(dest);
    let mut expected = *b"abc_efGHI___mnop";
    for at in [3, 9, 10, 11] {
        expected[at] = MARK;
    }
    assert_eq!(memory.into_bytes(), expected);
}

#[test]
#[should_panic(expected = "2 bytes at 7 of a destination of 8")]
fn a_copy_past_the_end_is_refused() {
    Destination::from(AlignedBuf::new(8, 8)).copy_at(7, b"xy");
}
