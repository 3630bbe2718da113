//! The defects of the reader that this crate re-does, by their number, one test or more each.
//!
//! Here are those of the blocking readers and of the adapters: 10, 11, 12, 14, 15 and parts of 16.

mod util;

use std::io::{IoSliceMut, Read, Seek, SeekFrom, Write};
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;

use blobio::adapters::{AsyncReadSeek, BufferedBlobReader, ReadSeek};
use blobio::{
    BlobMetadata, BlobSlice, MemoryBlob, MemoryMapBlob, NativeFileBlobRandomReader, RandomReadBlob,
};
use futures_executor::block_on;
use futures_util::{AsyncReadExt, AsyncSeekExt};

use util::blobs::{Counting, Minimal, Pattern, Slow};
use util::sync_suite::assert_names;
use util::{content, file_of, pattern_at, slices};

/// Exact reads never came back at the end of a blob.
#[test]
fn defect_10_exact_reads_end_where_the_blob_does() {
    let file = file_of(&content(10));
    let reader = NativeFileBlobRandomReader::open(file.path()).unwrap();
    // A shader of 10 bytes, asked for as whole words.
    let mut words = [MaybeUninit::uninit(); 12];
    assert_names(&reader.read_exact(0, &mut words).unwrap_err(), 0, 12, 10);
    let mut parts = [vec![0; 4], vec![0; 4], vec![0; 4]];
    assert_names(
        &reader.readv_all(0, &mut slices(&mut parts)).unwrap_err(),
        0,
        12,
        10,
    );
    assert_names(
        &Minimal(content(10)).read_exact(4, &mut words).unwrap_err(),
        4,
        12,
        6,
    );
}

/// Lengths and positions were cut to 32 bits.
#[test]
fn defect_11_positions_past_4_gib_are_not_cut() {
    let mut file = tempfile::tempfile().unwrap();
    let far = (5_u64 << 30) + 3;
    file.write_all(b"near").unwrap();
    file.seek(SeekFrom::Start(far)).unwrap();
    file.write_all(b"far away").unwrap();
    let reader = NativeFileBlobRandomReader::from(file);
    assert_eq!(reader.byte_length().unwrap(), far + 8);
    assert_eq!(reader.read_vec(far, 100).unwrap(), b"far away");
    assert_eq!(reader.read_vec(far & 0xffff_ffff, 4).unwrap(), [0; 4]);
    let mut parts = [vec![0; 3], vec![0; 5]];
    reader.readv_all(far, &mut slices(&mut parts)).unwrap();
    assert_eq!(parts.concat(), b"far away");
    assert_eq!(&*reader.mmap(far, 8).unwrap(), b"far away");
}

/// As above, for lengths: 6 GiB as the length of a range. Lengths of single calls are covered by
/// `calls_are_capped_and_interruptions_repeated` beside the system calls.
#[test]
fn defect_11_lengths_past_4_gib_are_not_cut() {
    let blob = Pattern { len: u64::MAX };
    let slice = BlobSlice::new(blob, 1 << 40, 6 << 30).unwrap();
    assert_eq!(slice.byte_length().unwrap(), 6 << 30);
    let end = slice.read_vec((6 << 30) - 3, 10).unwrap();
    let start = (1_u64 << 40) + (6 << 30) - 3;
    assert_eq!(
        end,
        [
            pattern_at(start),
            pattern_at(start + 1),
            pattern_at(start + 2)
        ]
    );
    // A range that ends where numbers do.
    let last = BlobSlice::new(blob, u64::MAX - 10, 10).unwrap();
    assert_eq!(last.read_vec(4, 100).unwrap().len(), 6);
    BlobSlice::new(blob, u64::MAX, 1).expect_err("its end is not a number");
}

/// A mapping at an unaligned offset lacked its last bytes.
#[test]
fn defect_12_every_byte_of_an_unaligned_mapping_is_there() {
    let content = content(5 * 4096 + 100);
    let file = file_of(&content);
    let reader = NativeFileBlobRandomReader::open(file.path()).unwrap();
    for offset in [
        0,
        1,
        21,
        4095,
        4096,
        4097,
        8191,
        content.len() - 1,
        content.len(),
    ] {
        for len in [0, 1, 4075, 4095, 4096, 4097, 8192, content.len()] {
            let view = reader.mmap(offset as u64, len);
            if offset + len > content.len() {
                assert_names(
                    &view.unwrap_err(),
                    offset as u64,
                    len,
                    content.len() - offset,
                );
            } else {
                assert_eq!(&*view.unwrap(), &content[offset..offset + len]);
            }
        }
    }
}

/// A mapping was a raw pointer, to be unmapped by hand.
#[test]
fn defect_14_a_mapping_outlives_its_reader_and_is_unmapped_once() {
    let content = content(10_000);
    let file = file_of(&content);
    let name = file
        .path()
        .file_name()
        .unwrap()
        .to_str()
        .unwrap()
        .to_owned();
    let mapped = || {
        std::fs::read_to_string("/proc/self/maps")
            .unwrap()
            .contains(&name)
    };
    let reader = NativeFileBlobRandomReader::open(file.path()).unwrap();
    let slice = BlobSlice::new(&reader, 21, 9000).unwrap();
    let view = slice.mmap(100, 5000).unwrap();
    assert_names(&slice.mmap(100, 8901).unwrap_err(), 100, 8901, 8900);
    assert_names(&slice.mmap(u64::MAX, 1).unwrap_err(), u64::MAX, 1, 0);
    drop(reader);
    assert!(mapped());
    assert_eq!(&*view, &content[121..5121]);
    drop(view);
    assert!(!mapped());
}

/// The provided `readv` filled the first slice alone.
#[test]
fn defect_15_readv_fills_every_slice() {
    let blob = Minimal(content(100));
    let (mut a, mut b, mut c) = ([0; 10], [0; 20], [0; 30]);
    let mut bufs = [
        IoSliceMut::new(&mut a),
        IoSliceMut::new(&mut b),
        IoSliceMut::new(&mut c),
    ];
    assert_eq!(blob.readv(7, &mut bufs).unwrap(), 60);
    assert_eq!([&a[..], &b, &c].concat(), content(100)[7..67]);
}

/// The buffered reader kept an empty buffer, so that asking it for a byte panicked.
#[test]
fn defect_16_buffered_reader_gives_bytes() {
    let content = content(10_000);
    let mut reader = BufferedBlobReader::new(Counting::new(Minimal(content.clone())));
    for (pos, byte) in content.iter().enumerate() {
        assert_eq!(reader.read_byte_at(pos as u64).unwrap(), *byte);
    }
    assert_eq!(reader.inner().reads(), 3, "10,000 bytes are three windows");
    let error = reader.read_byte_at(10_000).unwrap_err();
    assert_names(&error, 10_000, 1, 0);
}

/// Seeking from the end counted from the current position.
#[test]
fn defect_16_seeks_from_the_end_count_from_the_end() {
    let blob = MemoryBlob::new(content(1000));
    let mut cursor = ReadSeek::new(&blob);
    cursor.seek(SeekFrom::Start(3)).unwrap();
    assert_eq!(cursor.seek(SeekFrom::End(-10)).unwrap(), 990);
    block_on(async {
        let mut cursor = AsyncReadSeek::new(Slow(blob.clone(), 2));
        cursor.seek(SeekFrom::Start(3)).await.unwrap();
        assert_eq!(cursor.seek(SeekFrom::End(-10)).await.unwrap(), 990);
        let mut tail = Vec::new();
        cursor.read_to_end(&mut tail).await.unwrap();
        assert_eq!(tail, content(1000)[990..]);
    });
}

/// A path that is not UTF-8 panicked.
#[test]
fn defect_16_paths_need_not_be_utf8() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir
        .path()
        .join(std::ffi::OsStr::from_bytes(b"\xff\xfe.pk3"));
    std::fs::write(&path, b"content").unwrap();
    let reader = NativeFileBlobRandomReader::open(&path).unwrap();
    assert_eq!(reader.read_to_end(0).unwrap(), b"content");
}

/// Reading to the end took 8 KiB at a time.
#[test]
fn defect_16_read_to_end_is_one_read_and_one_look_past_the_end() {
    let content = content(1 << 20);
    let blob = Counting::new(Minimal(content.clone()));
    assert_eq!(blob.read_to_end(0).unwrap(), content);
    assert_eq!(blob.reads(), 2);
    let mut all = Vec::new();
    ReadSeek::new(&blob).read_to_end(&mut all).unwrap();
    assert_eq!(all, content);
    assert_eq!(blob.reads(), 4);
}
