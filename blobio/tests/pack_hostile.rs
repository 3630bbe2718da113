//! Broken and hostile packs: a clear error or the right bytes, never anything else.
#![cfg(feature = "pack")]

mod util;

use std::io;
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};

use blobio::pack::chunked::{Compression, Pack, PackError, PackErrorKind as Kind};
use blobio::{BlobMetadata, MemoryBlob, RandomReadBlob};
use xxhash_rust::xxh3::xxh3_64;

use util::content;
use util::packs::{index, open, options, pack_of, paths, read, text};

/// A pack of every layout: empty, single, plain, blocks.
fn sample() -> (Vec<u8>, Vec<(String, Vec<u8>)>) {
    let entries = vec![
        ("blocks".to_owned(), text(1000).repeat(66)),
        ("empty".to_owned(), Vec::new()),
        ("folder/plain".to_owned(), content(70_000)),
        ("folder/same".to_owned(), text(900)),
        ("single".to_owned(), text(900)),
        ("small".to_owned(), content(100)),
    ];
    let mut options = options(Compression::Zstd(3));
    options.align = 512;
    (pack_of(&entries, options).0, entries)
}

/// Reads all of a pack; every answer is right or an error.
fn read_all(pack: &Pack<impl RandomReadBlob>, entries: &[(String, Vec<u8>)]) -> usize {
    let mut errors = 0;
    for (path, content) in entries {
        match read(pack, path) {
            Ok(bytes) => assert_eq!(bytes, *content, "{path}"),
            Err(e) => {
                assert!(e.to_string().contains("test.clpk"), "{e}");
                errors += 1;
            }
        }
    }
    match paths(pack, 3) {
        Ok(listed) => assert!(listed.iter().eq(entries.iter().map(|(path, _)| path))),
        Err(_) => errors += 1,
    }
    errors
}

#[test]
fn any_byte_changed() {
    let (mut bytes, entries) = sample();
    assert_eq!(read_all(&open(&bytes).unwrap(), &entries), 0);
    let data_end = index(u64::from_le_bytes(bytes[32..40].try_into().unwrap()));
    let plain = open(&bytes).unwrap().entry("folder/plain").unwrap();
    let plain = index(plain.content().plain_position().unwrap());
    let mut found = 0;
    let mut at = 0;
    while at < bytes.len() {
        bytes[at] ^= 1 << (at % 8);
        match Pack::open(MemoryBlob::new(&bytes[..]), "test.clpk") {
            Err(_) => found += 1,
            Ok(pack) => found += usize::from(read_all(&pack, &entries) > 0),
        }
        bytes[at] ^= 1 << (at % 8);
        // Of the long content and of the gap in the head, some bytes stand for all.
        let is_long = (plain..plain + 70_000).contains(&at) || (2048..16_384).contains(&at);
        at += if is_long { 499 } else { 1 };
    }
    assert!(found > 128 + (bytes.len() - data_end) * 9 / 10, "{found}");
}

#[test]
fn any_length_but_the_right_one() {
    let (mut bytes, _) = sample();
    // In the head and in the directory every length, in between some.
    let lens =
        (0..bytes.len()).filter(|len| !(200..bytes.len() - 200).contains(len) || len % 61 == 0);
    for len in lens {
        let error = Pack::open(MemoryBlob::new(&bytes[..len]), "test.clpk").unwrap_err();
        let expected = matches!(
            error.kind(),
            Kind::Truncated { actual, .. } if *actual == len as u64
        );
        assert!(
            expected || (len == 0 && matches!(error.kind(), Kind::NotAPack)),
            "{len}: {error}"
        );
    }
    bytes.push(0);
    let error = open(&bytes).unwrap_err();
    assert!(matches!(error.kind(), Kind::Truncated { .. }), "{error}");
}

/// A blob that has become shorter since its length was asked.
struct Shrunk {
    bytes: Vec<u8>,
    len: AtomicU64,
}

impl BlobMetadata for Shrunk {
    fn byte_length(&self) -> io::Result<u64> {
        Ok(self.bytes.len() as u64)
    }
}

impl RandomReadBlob for Shrunk {
    fn read_slice(&self, pos: u64, buf: &mut [u8]) -> io::Result<usize> {
        let len = index(self.len.load(Ordering::Relaxed));
        MemoryBlob::new(&self.bytes[..len]).read_slice(pos, buf)
    }
}

#[test]
fn a_file_that_shrinks_under_the_reader() {
    let (bytes, entries) = sample();
    for len in (0..bytes.len() as u64).step_by(1777) {
        let full = bytes.len() as u64;
        let blob = Shrunk {
            bytes: bytes.clone(),
            len: AtomicU64::new(full),
        };
        let pack = Pack::open(&blob, "test.clpk").unwrap();
        blob.len.store(len, Ordering::Relaxed);
        read_all(&pack, &entries);
        blob.len.store(len.min(16_000), Ordering::Relaxed);
        assert!(Pack::open(&blob, "test.clpk").is_err());
    }
}

/// Changes the header and gives it its checksum.
fn with_header(at: usize, field: &[u8]) -> Result<Pack<util::packs::Memory>, PackError> {
    let (mut bytes, _) = sample();
    bytes[at..at + field.len()].copy_from_slice(field);
    let sum = xxh3_64(&bytes[..120]);
    bytes[120..128].copy_from_slice(&sum.to_le_bytes());
    open(&bytes)
}

#[track_caller]
fn refused(at: usize, field: &[u8], text: &str) {
    let error = with_header(at, field).unwrap_err().to_string();
    assert!(error.starts_with("test.clpk: at byte "), "{error}");
    assert!(error.contains(text), "{error}");
}

#[test]
fn headers() {
    assert!(
        with_header(96, &[7; 24]).is_ok(),
        "left to optional features"
    );
    assert!(with_header(16, &[255; 4]).is_ok(), "optional features");
    assert!(with_header(10, &[9, 0]).is_ok(), "a later minor version");
    refused(0, b"\x89CLPL", "not a pack");
    refused(8, &[2, 0], "version 2.0");
    refused(12, &[4, 0, 0, 0], "features 0x4");
    refused(12, &[0, 0, 0, 128], "features 0x80000000");
    refused(20, &[15], "block length");
    refused(20, &[19], "block length");
    refused(21, &[17], "alignment");
    refused(22, &[1], "reserved");
    refused(24, &[255; 8], "bytes long");
    refused(32, &0_u64.to_le_bytes(), "blocks end");
    refused(32, &u64::MAX.to_le_bytes(), "blocks end");
    refused(40, &u64::MAX.to_le_bytes(), "more entries");
    refused(40, &5000_u64.to_le_bytes(), "more entries");
    refused(48, &7_u64.to_le_bytes(), "more contents");
    refused(56, &u64::MAX.to_le_bytes(), "more rows");
    refused(56, &((1_u64 << 40) - 1).to_le_bytes(), "more rows");
    refused(64, &0_u64.to_le_bytes(), "table begins");
    refused(64, &u64::MAX.to_le_bytes(), "table begins");
    refused(72, &0_u32.to_le_bytes(), "root page");
    refused(72, &16_384_u32.to_le_bytes(), "root page");
    refused(76, &u32::MAX.to_le_bytes(), "root page");
    refused(84, &0_u32.to_le_bytes(), "root page");
    let (mut bytes, _) = sample();
    bytes[40] ^= 1;
    let error = open(&bytes).unwrap_err();
    assert!(matches!(error.kind(), Kind::Checksum { .. }), "{error}");
}

/// Changes a root page, or a page's header, and gives the page its checksum.
fn with_page(position: usize, change: impl FnOnce(&mut [u8])) -> (Vec<u8>, usize) {
    let (mut bytes, _) = sample();
    let len = u32::from_le_bytes(bytes[position + 4..position + 8].try_into().unwrap()) as usize;
    let page = &mut bytes[position..position + len];
    change(page);
    page[8..16].fill(0);
    let sum = xxh3_64(page);
    page[8..16].copy_from_slice(&sum.to_le_bytes());
    (bytes, len)
}

#[test]
fn roots() {
    type Change = fn(&mut [u8]);
    let changes: [(Change, &str); 9] = [
        (|page| page[0] = 2, "another one"),
        (|page| page[1] = 8, "wrong level"),
        (|page| page[2] = 0, "past its records"),
        (|page| page[3] = 255, "more records than room"),
        (|page| page[4] ^= 1, "another one"),
        (|page| page[16] ^= 1, "another one"),
        (|page| page[24] = 1, "other rows"),
        (|page| page[32] ^= 1, "not in order"),
        (|page| page[45] = 200, "key is cut off"),
    ];
    for (change, text) in changes {
        let (bytes, _) = with_page(128, change);
        let error = open(&bytes).unwrap_err().to_string();
        assert!(error.contains("at byte 128: bad directory:"), "{error}");
        assert!(error.contains(text), "{error}, not {text}");
    }
}

/// Finds the record of a path in the root and changes its value.
fn with_value(path: &str, change: impl FnOnce(&mut [u8])) -> Result<Vec<u8>, PackError> {
    let (bytes, _) = with_page(128, |page| {
        let name = path.as_bytes();
        let at = page
            .windows(name.len())
            .position(|key| key == name)
            .unwrap();
        change(&mut page[at + name.len()..]);
    });
    let pack = open(&bytes)?;
    let entry = pack.entry(path)?;
    let read = pack.data(&entry).read_to_end(0);
    read.map_err(|e| e.downcast::<PackError>().unwrap())
}

#[test]
fn records_of_contents() {
    // A value is the hash (32), the length (8), the layout and reserved bytes (8), and a row or
    // positions.
    let huge = u64::MAX.to_le_bytes();
    let cases: [(&str, usize, &[u8], &str); 14] = [
        ("single", 40, &[4], "unknown layout"),
        ("single", 41, &[1], "reserved"),
        ("single", 40, &[3], "wrong length"),
        ("single", 32, &[0, 0], "impossible length of a content"),
        ("single", 32, &huge, "impossible length of a content"),
        ("single", 48, &huge, "not between"),
        ("single", 48, &100_u64.to_le_bytes(), "not between"),
        ("single", 64, &[0; 4], "impossible length of a block"),
        ("single", 64, &[255; 4], "impossible length of a block"),
        ("single", 68, &[9], "codec 9"),
        ("single", 69, &[1], "reserved"),
        ("blocks", 48, &[200], "not in the table"),
        ("folder/plain", 48, &[1], "not aligned"),
        ("folder/plain", 49, &[1], "not between"),
    ];
    for (path, at, value, text) in cases {
        let result = with_value(path, |bytes| {
            bytes[at..at + value.len()].copy_from_slice(value)
        });
        let error = result.unwrap_err();
        assert_eq!(error.entry(), Some(path));
        assert!(error.to_string().contains(text), "{error}, not {text}");
    }
}

#[test]
fn blocks_that_lie_about_their_length() {
    // One byte more or less than the block gives, with room for it in the block's length.
    for by in [-1_i64, 1] {
        let result = with_value("single", |value| {
            let len = i64::from_le_bytes(value[32..40].try_into().unwrap()) + by;
            value[32..40].copy_from_slice(&len.to_le_bytes());
        });
        let error = result.unwrap_err();
        assert!(matches!(error.kind(), Kind::Decode(_)), "{error}");
        assert!(error.position().is_some_and(|at| at >= 16_384));
    }
    // A row of another content: the checksum holds, so only the hash tells.
    let (bytes, _) = with_page(128, |page| {
        let at = page.windows(6).position(|key| key == b"single").unwrap();
        page[at + 6] ^= 1;
    });
    let mut errors = Vec::new();
    let pack = open(&bytes).unwrap();
    pack.verify(|e| errors.push(e.to_string()), |_| ());
    assert_eq!(
        errors,
        ["test.clpk: entry \"single\": bad directory: the two trees contradict each other"]
    );
}

#[test]
fn paths_that_are_no_keys() {
    for (path, by) in [
        ("folder/same", "folder/../e"),
        ("empty", "\u{0}mpty"),
        ("small", "/mall"),
    ] {
        let (bytes, _) = with_page(128, |page| {
            let at = page
                .windows(path.len())
                .position(|key| key == path.as_bytes());
            let at = at.unwrap();
            page[at..at + path.len()].copy_from_slice(by.as_bytes());
        });
        // The order of keys is broken as well by some; what counts is that none is listed.
        let listed = open(&bytes).and_then(|pack| pack.list(Bound::Unbounded, 100));
        let error = listed.unwrap_err();
        assert!(error.to_string().contains("bad directory"), "{error}");
    }
}
