//! Names in mixed encodings, and headers that other readers put up with.

mod util;

use blobio::MemoryBlob;
use blobio::error::ArchiveErrorKind as Kind;
use blobio::pack::zip::Archive;

use util::zips::{Header, archive_of_headers};

const UTF8: u16 = 1 << 11;

fn open(headers: &[Header], comment: &[u8]) -> Archive<MemoryBlob<Vec<u8>>> {
    let bytes = archive_of_headers(headers, comment);
    Archive::open(MemoryBlob::new(bytes), "test.zip").unwrap()
}

fn named(flags: u16, name: &[u8]) -> Header {
    Header {
        flags,
        name: name.to_vec(),
        ..Header::default()
    }
}

fn with_extra(name: &str, extra: &[u8]) -> Header {
    Header {
        extra: extra.to_vec(),
        ..named(0, name.as_bytes())
    }
}

/// Reads the entries by these names, which are all there are, and in this order.
fn check(archive: &Archive<MemoryBlob<Vec<u8>>>, names: &[String]) {
    assert_eq!(archive.len(), names.len());
    for (index, name) in names.iter().enumerate() {
        let entry = archive.entry(name).unwrap();
        assert_eq!(entry.name(), name);
        assert_eq!(archive.read(entry).unwrap(), index.to_string().as_bytes());
    }
}

#[test]
fn each_name_is_in_the_encoding_that_its_flag_says() {
    let headers = [
        named(0, b"plain"),
        named(UTF8, "gr\u{fc}n/\u{65e5}\u{672c}".as_bytes()),
        named(0, b"gr\x81n"),
        named(0, "gr\u{fc}n".as_bytes()),
        named(UTF8, b"not UTF-8 \x81"),
        named(UTF8, b"plain too"),
        named(0, b"\x80\xb0\xdf\xe1\xff~\\"),
    ];
    let names = [
        "plain",
        "gr\u{fc}n/\u{65e5}\u{672c}",
        "gr\u{fc}n",
        "gr\u{251c}\u{255d}n",
        "not UTF-8 \u{fc}",
        "plain too",
        "\u{c7}\u{2591}\u{2580}\u{df}\u{a0}~\\",
    ]
    .map(str::to_owned);
    check(&open(&headers, b""), &names);
    check(&open(&headers, b"an archive f\x81r tests"), &names);
}

#[test]
fn comments_are_in_any_encoding() {
    let mut headers = [named(0, b"a"), named(0, b"b")];
    headers[0].comment = b"f\x81r".to_vec();
    headers[1].comment = vec![0xff; usize::from(u16::MAX)];
    check(&open(&headers, b"f\x81r"), &["a", "b"].map(str::to_owned));
}

#[test]
fn extra_fields_that_cannot_be_decoded_are_passed_over() {
    let extras: [&[u8]; 14] = [
        &[0; 1],
        &[0; 2],
        &[0; 3],
        &[0; 4],
        &[0; 7],
        b"\x34\x12\x02\x00ab\0\0\0",
        b"\x34\x12\xff\xff",
        b"\x34\x12\x09\x00short",
        b"\x01\x00\x00\x00",
        b"UT\x00\x00",
        b"UT\x02\x00\x01a",
        b"\x0a\x00\x06\x00\0\0\0\0\x01\0",
        b"\x0d\x00\x0e\x00\xff\xffaammmmuugg12",
        b"ux\x02\x00\x01\x04",
    ];
    let names: Vec<_> = (0..extras.len()).map(|index| index.to_string()).collect();
    let mut headers: Vec<_> = extras
        .iter()
        .zip(&names)
        .map(|(extra, name)| with_extra(name, extra))
        .collect();
    for header in &headers {
        let one = open(std::slice::from_ref(header), b"");
        assert_eq!(one.len(), 1, "{header:?}");
    }
    check(&open(&headers, b""), &names);
    for header in &mut headers {
        header.comment = b"f\x81r".to_vec();
    }
    check(&open(&headers, b""), &names);
}

#[test]
fn a_sound_field_counts_beside_one_that_is_not() {
    let time = 1_000_000_000_u32;
    let extra = [b"UT\x05\x00\x01", &time.to_le_bytes()[..], &[0; 3]].concat();
    let archive = open(&[with_extra("a", &extra)], b"");
    let modified = archive.entry("a").unwrap().modified();
    let since = modified.duration_since(std::time::UNIX_EPOCH).unwrap();
    assert_eq!(since.as_secs(), u64::from(time));
}

#[test]
fn only_the_entry_that_needs_a_bad_zip64_field_fails() {
    let zip64 = |len: u8| {
        let sizes = [1_u64.to_le_bytes(), 1_u64.to_le_bytes()].concat();
        let mut extra = vec![1, 0, len, 0];
        extra.extend(&sizes[..usize::from(len)]);
        extra.extend([0; 3]);
        extra
    };
    let mut headers = [
        with_extra("good", &zip64(16)),
        with_extra("bad", &zip64(15)),
        with_extra("none", b""),
    ];
    for header in &mut headers {
        header.is_zip64 = true;
    }
    let archive = open(&headers, b"");
    assert_eq!(archive.read(archive.entry("good").unwrap()).unwrap(), b"0");
    for name in ["bad", "none"] {
        let error = archive.read(archive.entry(name).unwrap()).unwrap_err();
        assert!(
            matches!(error.kind(), Kind::OutOfBounds { .. }),
            "{name}: {error}"
        );
    }
}

#[test]
fn headers_across_the_seams_of_reads() {
    // More than one read of the catalogue, with headers longer than what a read leaves of them.
    let count = 40;
    let headers: Vec<_> = (0..count)
        .map(|index| {
            let mut name = format!("{index:05}").into_bytes();
            name.resize(7001 + 311 * index, 0x81);
            Header {
                extra: [&b"\x34\x12\x10\x27"[..], &[7; 10_000], &[0; 3]].concat(),
                comment: vec![0xfc; 50_000],
                ..named(0, &name)
            }
        })
        .collect();
    let names: Vec<_> = (0..count)
        .map(|index| format!("{index:05}") + &"\u{fc}".repeat(6996 + 311 * index))
        .collect();
    check(&open(&headers, b""), &names);
}

#[test]
fn what_looks_like_a_header_where_the_search_for_the_end_begins() {
    // The search begins 65 KiB before the end: put there something that is no header.
    let mut header = named(0, b"a");
    let base = archive_of_headers(std::slice::from_ref(&header), b"").len();
    let window = 65 << 10;
    let tail = 30_000;
    header.comment = vec![b'.'; 65_000];
    let end_comment = vec![b'.'; window - tail - 22];
    let mut fake = b"PK\x01\x02".to_vec();
    fake.resize(46, 0xff);
    let at = 65_000 - tail;
    header.comment[at..at + 46].copy_from_slice(&fake);
    let bytes = archive_of_headers(&[header], &end_comment);
    assert_eq!(bytes.len(), base + 65_000 + end_comment.len());
    assert!(bytes[bytes.len() - window..].starts_with(&fake));
    let archive = Archive::open(MemoryBlob::new(bytes), "test.zip").unwrap();
    check(&archive, &["a".to_owned()]);
}
