//! Archives by an independent writer are read as they were written.

mod util;

use std::io::{Cursor, Read, Write};
use std::time::{Duration, SystemTime};

use blobio::pack::zip::{Archive, EntryData, Method};
use blobio::{MemoryBlob, NativeFileBlobRandomReader};
use futures_executor::block_on;
use zip::ZipWriter;

use util::blobs::Slow;
use util::zips::{archive_of, options};
use util::{content, file_of};

type Memory = MemoryBlob<Vec<u8>>;

fn open(bytes: Vec<u8>) -> Archive<Memory> {
    Archive::open(MemoryBlob::new(bytes), "test.zip").unwrap()
}

/// Content that deflate makes shorter, and that tells its position all the same.
fn text(len: usize) -> Vec<u8> {
    let lines = (0_u32..).flat_map(|n| format!("line {n} of the text\n").into_bytes());
    lines.take(len).collect()
}

fn assert_reads(archive: &Archive<Memory>, name: &str, expected: &[u8]) {
    let entry = archive.entry(name).unwrap();
    assert_eq!(entry.len(), expected.len() as u64);
    assert_eq!(archive.read(entry).unwrap(), expected, "{name}");
    archive.verify(entry).unwrap();
}

#[test]
fn stored_and_deflated_entries() {
    let noise = content(200_000);
    let text = text(300_000);
    let archive = open(archive_of(&[
        ("stored", &noise, false),
        ("dir/deflated", &text, true),
        ("noise deflated", &noise, true),
        ("empty stored", &[], false),
        ("empty deflated", &[], true),
        ("naïve/名前", b"utf-8", true),
    ]));
    assert_eq!(archive.len(), 6);
    assert_reads(&archive, "stored", &noise);
    assert_reads(&archive, "dir/deflated", &text);
    assert_reads(&archive, "noise deflated", &noise);
    assert_reads(&archive, "empty stored", &[]);
    assert_reads(&archive, "empty deflated", &[]);
    assert_reads(&archive, "naïve/名前", b"utf-8");
    assert_eq!(archive.entry("stored").unwrap().method(), Method::Stored);
    assert_eq!(
        archive.entry("dir/deflated").unwrap().method(),
        Method::Deflated
    );
    assert!(archive.get("missing").is_none());
    let missing = archive.entry("missing").unwrap_err();
    assert_eq!(
        missing.to_string(),
        "test.zip: entry \"missing\": no such entry"
    );
    assert_eq!(
        std::io::Error::from(missing).kind(),
        std::io::ErrorKind::NotFound
    );
}

#[test]
fn a_stream_gives_the_same_bytes_whatever_the_buffers() {
    let text = text(100_000);
    let archive = open(archive_of(&[("t", &text, true)]));
    for len in [1, 2, 3, 100, 4096, 99_999, 100_000, 100_001] {
        let EntryData::Deflated(mut reader) = archive.data(archive.entry("t").unwrap()).unwrap()
        else {
            panic!("not deflated")
        };
        let mut all = Vec::new();
        let mut buf = vec![0; len];
        loop {
            let got = reader.read(&mut buf).unwrap();
            if got == 0 {
                break;
            }
            all.extend_from_slice(&buf[..got]);
        }
        assert_eq!(all, text, "buffers of {len}");
        assert_eq!(reader.read(&mut buf).unwrap(), 0, "the end stays the end");
    }
}

#[test]
fn entries_of_a_file_outlive_the_archive() {
    let text = text(50_000);
    let file = file_of(&archive_of(&[("s", &text, false), ("d", &text, true)]));
    let reader = NativeFileBlobRandomReader::open(file.path()).unwrap();
    let archive = Archive::open(reader, "file.zip").unwrap();
    let stored = archive.data_owned(archive.entry("s").unwrap()).unwrap();
    let deflated = archive.data_owned(archive.entry("d").unwrap()).unwrap();
    drop(archive);
    let EntryData::Stored(stored) = stored else {
        panic!("not stored")
    };
    let EntryData::Deflated(mut deflated) = deflated else {
        panic!("not deflated")
    };
    assert_eq!(
        blobio::RandomReadBlob::read_to_end(&stored, 0).unwrap(),
        text
    );
    let mut all = Vec::new();
    deflated.read_to_end(&mut all).unwrap();
    assert_eq!(all, text);
}

#[test]
fn directories_are_left_out_and_times_kept() {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    writer.add_directory("dir", options(false)).unwrap();
    let time = zip::DateTime::from_date_and_time(2001, 2, 3, 4, 5, 6).unwrap();
    writer
        .start_file("dir/file", options(true).last_modified_time(time))
        .unwrap();
    writer.write_all(b"x").unwrap();
    let archive = open(writer.finish().unwrap().into_inner());
    assert_eq!(
        archive.entries().map(|e| e.name()).collect::<Vec<_>>(),
        ["dir/file"]
    );
    let modified = archive.entry("dir/file").unwrap().modified();
    assert_eq!(
        modified,
        SystemTime::UNIX_EPOCH + Duration::from_secs(981_173_106)
    );
}

#[test]
fn the_last_of_two_entries_with_one_name_wins() {
    let mut bytes = archive_of(&[
        ("aa", b"first", false),
        ("other", b"", false),
        ("ab", b"last", true),
    ]);
    for at in util::zips::positions(&bytes, b"ab") {
        bytes[at + 1] = b'a';
    }
    let archive = open(bytes);
    assert_eq!(
        archive.entries().map(|e| e.name()).collect::<Vec<_>>(),
        ["other", "aa"]
    );
    assert_reads(&archive, "aa", b"last");
    assert_reads(&archive, "other", b"");
}

#[test]
fn bytes_before_the_archive_and_a_comment_after() {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    writer
        .set_comment("PK\x05\x06 is not the end of a comment")
        .unwrap();
    writer.start_file("a", options(true)).unwrap();
    writer.write_all(b"content").unwrap();
    let mut bytes = b"#!/bin/sh\nexit 0\n".repeat(1000);
    bytes.extend_from_slice(&writer.finish().unwrap().into_inner());
    assert_reads(&open(bytes), "a", b"content");
}

#[test]
fn entries_with_data_descriptors() {
    let text = text(70_000);
    let mut bytes = Vec::new();
    let mut writer = ZipWriter::new_stream(&mut bytes);
    writer.start_file("streamed", options(true)).unwrap();
    writer.write_all(&text).unwrap();
    writer.finish().unwrap();
    assert_reads(&open(bytes), "streamed", &text);
}

#[test]
fn zip64_sizes_and_zip64_counts() {
    let text = text(10_000);
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    writer
        .start_file("large", options(true).large_file(true))
        .unwrap();
    writer.write_all(&text).unwrap();
    for n in 0..66_000 {
        writer
            .start_file(format!("many/{n}"), options(false))
            .unwrap();
    }
    writer
        .start_file("last", options(false).large_file(true))
        .unwrap();
    writer.write_all(&text).unwrap();
    let archive = open(writer.finish().unwrap().into_inner());
    assert_eq!(archive.len(), 66_002);
    assert_reads(&archive, "large", &text);
    assert_reads(&archive, "many/65999", &[]);
    assert_reads(&archive, "last", &text);
}

#[test]
fn an_entry_past_4_gib() {
    // A sparse file: the archive proper lies at its end, its offsets made absolute by zip64.
    let path = tempfile::NamedTempFile::new().unwrap();
    let mut file = path.as_file().try_clone().unwrap();
    let start = 5_u64 << 30;
    std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(start)).unwrap();
    let mut writer = ZipWriter::new(file);
    writer
        .start_file("far", options(true).large_file(true))
        .unwrap();
    writer.write_all(b"far away").unwrap();
    writer.finish().unwrap();
    let reader = NativeFileBlobRandomReader::open(path.path()).unwrap();
    let archive = Archive::open(reader, "far.zip").unwrap();
    let entry = archive.entry("far").unwrap();
    assert!(entry.header_offset() >= start);
    assert_eq!(archive.read(entry).unwrap(), b"far away");
}

#[test]
fn the_asynchronous_form_finds_the_same() {
    let text = text(10_000);
    let entries: Vec<_> = (0..3000)
        .map(|n| format!("some/long/name/of/an/entry/{n}"))
        .collect();
    let list = entries.iter().enumerate();
    let list: Vec<_> = list
        .map(|(n, name)| (name.as_str(), &text[..n], n % 2 == 0))
        .collect();
    let bytes = archive_of(&list);
    let blocking = open(bytes.clone());
    block_on(async {
        let blob = Slow(MemoryBlob::new(bytes), 2);
        let archive = Archive::open_async(blob, "test.zip").await.unwrap();
        assert_eq!(archive.len(), 3000);
        for (a, b) in archive.entries().zip(blocking.entries()) {
            assert_eq!(format!("{a:?}"), format!("{b:?}"));
            assert_eq!(
                archive.locate_async(a).await.unwrap(),
                blocking.locate(b).unwrap()
            );
        }
    });
}
