//! Archives that lie are refused with an error that says what and where.

mod util;

use std::io;
use std::io::{Cursor, Read, Write};

use blobio::error::{ArchiveError, ArchiveErrorKind as Kind};
use blobio::pack::zip::{Archive, EntryData, Limits};
use blobio::{BlobMetadata, MemoryBlob, RandomReadBlob};
use proptest::prelude::*;

use util::zips::{Field, archive_of, get, options, positions, set};

type Memory = MemoryBlob<Vec<u8>>;

const TEXT: &[u8] = b"the quick brown fox jumps over the lazy dog, the quick brown fox jumps again";

fn stored() -> Vec<u8> {
    archive_of(&[("first", b"1", false), ("e", TEXT, false)])
}

fn deflated() -> Vec<u8> {
    archive_of(&[("first", b"1", false), ("e", TEXT, true)])
}

fn open(bytes: Vec<u8>) -> Result<Archive<Memory>, ArchiveError> {
    Archive::open(MemoryBlob::new(bytes), "bad.zip")
}

/// Reads entry `e` of the archive in every way; all must fail alike.
fn error_of(bytes: Vec<u8>) -> Kind {
    let archive = open(bytes).unwrap();
    let entry = archive.entry("e").unwrap();
    let error = archive.read(entry).unwrap_err();
    assert_eq!(error.archive(), "bad.zip");
    assert_eq!(error.entry(), Some("e"));
    assert!(
        error.to_string().starts_with("bad.zip: entry \"e\": "),
        "{error}"
    );
    let text = error.to_string();
    assert_eq!(archive.verify(entry).unwrap_err().to_string(), text);
    if let Ok(EntryData::Deflated(mut reader)) = archive.data(entry) {
        let error = io::copy(&mut reader, &mut io::sink()).unwrap_err();
        assert_eq!(error.to_string(), text);
        reader.read_exact(&mut [0]).expect_err("an error stays one");
    }
    error.into_kind()
}

#[test]
fn offsets_outside_of_the_archive() {
    for make in [stored, deflated] {
        let mut bytes = make();
        let len = u32::try_from(bytes.len()).unwrap();
        for offset in [len, len - 29, u32::MAX - 1] {
            set(&mut bytes, 1, Field::HeaderOffset, offset);
            assert!(
                matches!(error_of(bytes.clone()), Kind::OutOfBounds { .. }),
                "{offset}"
            );
        }
        set(&mut bytes, 1, Field::HeaderOffset, 1);
        assert!(matches!(error_of(bytes.clone()), Kind::LocalHeader(_)));
        set(&mut bytes, 1, Field::HeaderOffset, len - 30);
        assert!(matches!(error_of(bytes), Kind::LocalHeader(_)));
    }
}

#[test]
fn a_local_header_that_leads_outside() {
    for make in [stored, deflated] {
        let mut bytes = make();
        let header = get(&bytes, 1, Field::HeaderOffset) as usize;
        bytes[header + 28..header + 30].copy_from_slice(&u16::MAX.to_le_bytes());
        assert!(matches!(error_of(bytes), Kind::OutOfBounds { .. }));
    }
}

#[test]
fn a_local_header_of_another_method_or_encrypted() {
    let mut bytes = stored();
    let header = get(&bytes, 1, Field::HeaderOffset) as usize;
    bytes[header + 8] = 8;
    assert!(matches!(error_of(bytes.clone()), Kind::LocalHeader(_)));
    bytes[header + 8] = 0;
    bytes[header + 6] |= 1;
    assert!(matches!(error_of(bytes), Kind::Encrypted));
}

#[test]
fn encrypted_entries_and_unknown_methods() {
    for flag in [1, 1 << 6, 1 << 13] {
        let mut bytes = deflated();
        let flags = get(&bytes, 1, Field::Flags) | flag;
        set(&mut bytes, 1, Field::Flags, flags);
        assert!(matches!(error_of(bytes), Kind::Encrypted));
    }
    for method in [1, 9, 12, 14, 93, 99, 0xffff] {
        let mut bytes = deflated();
        set(&mut bytes, 1, Field::Method, method);
        let kind = error_of(bytes);
        assert!(
            matches!(kind, Kind::UnsupportedMethod(m) if u32::from(m) == method),
            "{kind}"
        );
    }
}

#[test]
fn a_wrong_checksum() {
    for make in [stored, deflated] {
        let mut bytes = make();
        let declared = get(&bytes, 1, Field::Crc) ^ 0x10;
        set(&mut bytes, 1, Field::Crc, declared);
        assert!(matches!(error_of(bytes), Kind::Crc { declared: d, .. } if d == declared));
    }
    let mut bytes = stored();
    let at = positions(&bytes, b"quick")[0];
    bytes[at] ^= 1;
    assert!(matches!(error_of(bytes), Kind::Crc { .. }));
}

#[test]
fn a_deflated_stream_of_another_length_than_declared() {
    let len = u32::try_from(TEXT.len()).unwrap();
    for wrong in [0, 1, len - 1] {
        let mut bytes = deflated();
        set(&mut bytes, 1, Field::Len, wrong);
        let kind = error_of(bytes);
        assert!(matches!(kind, Kind::TooLong { declared } if declared == u64::from(wrong)));
    }
    let mut bytes = deflated();
    set(&mut bytes, 1, Field::Len, len + 1);
    let kind = error_of(bytes);
    assert!(
        matches!(kind, Kind::TooShort { actual, .. } if actual == u64::from(len)),
        "{kind}"
    );
    let mut bytes = deflated();
    let compressed = get(&bytes, 1, Field::CompressedLen);
    set(&mut bytes, 1, Field::CompressedLen, compressed - 3);
    assert!(matches!(error_of(bytes), Kind::TooShort { .. }));
}

#[test]
fn sizes_that_cannot_be() {
    let mut bytes = stored();
    set(&mut bytes, 1, Field::Len, 10);
    assert!(matches!(
        error_of(bytes),
        Kind::ImpossibleSize {
            uncompressed: 10,
            ..
        }
    ));
    let mut bytes = deflated();
    set(&mut bytes, 1, Field::Len, u32::MAX - 1);
    assert!(matches!(error_of(bytes), Kind::ImpossibleSize { .. }));
    let mut bytes = deflated();
    set(&mut bytes, 1, Field::CompressedLen, u32::MAX - 1);
    assert!(matches!(error_of(bytes), Kind::OutOfBounds { .. }));
}

#[test]
fn a_bomb_stops_at_its_declared_size() {
    let zeros = vec![0; 64 << 20];
    let mut bytes = archive_of(&[("first", b"1", false), ("e", &zeros, true)]);
    assert!(bytes.len() < 100_000);
    set(&mut bytes, 1, Field::Len, 1000);
    let archive = open(bytes).unwrap();
    let EntryData::Deflated(mut reader) = archive.data(archive.entry("e").unwrap()).unwrap() else {
        panic!("not deflated")
    };
    let mut buf = vec![7; 1 << 20];
    let error = reader.read(&mut buf).unwrap_err();
    assert!(
        error.to_string().ends_with("past the declared 1000 bytes"),
        "{error}"
    );
    assert!(
        buf[1000..].iter().all(|b| *b == 7),
        "nothing is inflated past the declared size"
    );
}

#[test]
fn corrupt_deflate_data() {
    let mut bytes = deflated();
    let data = get(&bytes, 1, Field::HeaderOffset) as usize + 30 + 1;
    // Block type 3 does not exist.
    bytes[data] = 0xff;
    assert!(matches!(error_of(bytes), Kind::Corrupt));
}

#[test]
fn limits_on_the_catalogue() {
    let names: Vec<_> = (0..20_000).map(|n| format!("entry/number/{n}")).collect();
    let entries: Vec<_> = names
        .iter()
        .map(|name| (name.as_str(), &b""[..], false))
        .collect();
    let bytes = archive_of(&entries);
    let open = |limits| Archive::open_with(MemoryBlob::new(&bytes), "big.zip", limits);
    open(Limits {
        entries_max: 20_000,
        catalogue_bytes_max: 1_500_000,
    })
    .unwrap();

    let few = Limits {
        entries_max: 19_999,
        ..Limits::default()
    };
    let error = open(few).unwrap_err();
    assert!(
        matches!(
            error.kind(),
            Kind::TooManyEntries {
                entries_max: 19_999
            }
        ),
        "{error}"
    );
    let fewer = Limits {
        entries_max: 10,
        ..Limits::default()
    };
    assert!(matches!(
        open(fewer).unwrap_err().kind(),
        Kind::TooManyEntries { .. }
    ));
    let short = Limits {
        catalogue_bytes_max: 500_000,
        ..Limits::default()
    };
    let error = open(short).unwrap_err();
    assert!(
        matches!(error.kind(), Kind::CatalogueTooLong { bytes_max: 500_000 }),
        "{error}"
    );
    assert_eq!(
        error.to_string(),
        "big.zip: catalogue is longer than the limit of 500000 bytes"
    );
}

#[test]
fn what_is_not_an_archive() {
    for bytes in [
        vec![],
        vec![0],
        vec![0; 22],
        vec![b'P'; 100_000],
        b"PK\x05\x06".to_vec(),
    ] {
        let error = open(bytes).unwrap_err();
        assert!(matches!(error.kind(), Kind::Catalogue(_)), "{error}");
        assert_eq!(io::Error::from(error).kind(), io::ErrorKind::InvalidData);
    }
    let empty = archive_of(&[]);
    assert!(open(empty).is_ok_and(|archive| archive.is_empty()));
}

#[test]
fn zip64_offsets_at_the_edges_of_the_number_range() {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for n in 0..65_536 {
        writer.start_file(format!("{n}"), options(false)).unwrap();
    }
    let bytes = writer.finish().unwrap().into_inner();
    let end64 = positions(&bytes, b"PK\x06\x06")[0];
    let locator = positions(&bytes, b"PK\x06\x07")[0];
    for value in [
        u64::MAX,
        1 << 63,
        (1 << 63) - 1,
        (1 << 63) + 1,
        bytes.len() as u64 + 1,
    ] {
        // The catalogue's offset, its size, and the place of the record itself.
        for field in [end64 + 48, end64 + 40, locator + 8] {
            let mut bytes = bytes.clone();
            bytes[field..field + 8].copy_from_slice(&value.to_le_bytes());
            let error = open(bytes).unwrap_err();
            assert!(
                matches!(error.kind(), Kind::Catalogue(_)),
                "{value:x} at {field}: {error}"
            );
        }
    }
}

/// A blob that says it is longer than it is, as a file does that is truncated while it is read.
struct Truncated(Vec<u8>, u64);

impl BlobMetadata for Truncated {
    fn byte_length(&self) -> io::Result<u64> {
        Ok(self.1)
    }
}

impl RandomReadBlob for Truncated {
    fn read_slice(&self, pos: u64, buf: &mut [u8]) -> io::Result<usize> {
        MemoryBlob::new(&self.0).read_slice(pos, buf)
    }
}

#[test]
fn archives_cut_anywhere() {
    for make in [stored, deflated] {
        let bytes = make();
        for len in 0..bytes.len() {
            open(bytes[..len].to_vec()).expect_err("the end of the catalogue is missing");
            let lies = Truncated(bytes[..len].to_vec(), bytes.len() as u64);
            Archive::open(lies, "cut.zip").expect_err("the archive ends early");
        }
        Archive::open(Truncated(bytes.clone(), u64::MAX), "long.zip").expect_err("no such file");
    }
}

/// Opens and reads everything; whatever comes out was declared, and nothing panics.
fn exercise(bytes: Vec<u8>) {
    let Ok(archive) = open(bytes) else { return };
    for entry in archive.entries() {
        if let Ok(content) = archive.read(entry) {
            assert_eq!(content.len() as u64, entry.len());
            assert_eq!(crc32fast::hash(&content), entry.crc32());
        }
        let _ = archive.verify(entry);
    }
}

proptest! {
    #[test]
    fn flipped_bytes_never_panic(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        large in any::<bool>(),
    ) {
        let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for (name, deflate) in [("a", true), ("b/", false), ("c", false)] {
            writer.start_file(name, options(deflate).large_file(large)).unwrap();
            writer.write_all(TEXT).unwrap();
        }
        let mut bytes = writer.finish().unwrap().into_inner();
        for (index, value) in flips {
            let at = index.index(bytes.len());
            bytes[at] = value;
        }
        exercise(bytes);
    }

    #[test]
    fn fields_of_the_catalogue_never_panic(
        values in prop::collection::vec((0_usize..2, 0_usize..6, any::<u32>()), 1..4),
    ) {
        let fields = [
            Field::Flags,
            Field::Method,
            Field::Crc,
            Field::CompressedLen,
            Field::Len,
            Field::HeaderOffset,
        ];
        let mut bytes = deflated();
        for (entry, field, value) in values {
            set(&mut bytes, entry, fields[field], value);
        }
        exercise(bytes);
    }
}
