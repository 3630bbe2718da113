//! Archives made by the `zip` crate, and ways to spoil them.

use std::io::{Cursor, Write};
use std::ops::Range;

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// Makes an archive of entries by name, content and whether they are deflated.
pub(crate) fn archive_of(entries: &[(&str, &[u8], bool)]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content, deflated) in entries {
        writer.start_file(*name, options(*deflated)).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// The options for an entry.
pub(crate) fn options(deflated: bool) -> SimpleFileOptions {
    let method = if deflated {
        CompressionMethod::Deflated
    } else {
        CompressionMethod::Stored
    };
    SimpleFileOptions::default().compression_method(method)
}

/// A field of a header in the catalogue.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Field {
    Flags,
    Method,
    Crc,
    CompressedLen,
    Len,
    HeaderOffset,
}

impl Field {
    fn range(self) -> Range<usize> {
        match self {
            Self::Flags => 8..10,
            Self::Method => 10..12,
            Self::Crc => 16..20,
            Self::CompressedLen => 20..24,
            Self::Len => 24..28,
            Self::HeaderOffset => 42..46,
        }
    }
}

/// Gives the positions of `signature`.
pub(crate) fn positions(archive: &[u8], signature: &[u8]) -> Vec<usize> {
    let found = archive.windows(signature.len()).enumerate();
    found
        .filter(|(_, window)| *window == signature)
        .map(|(at, _)| at)
        .collect()
}

/// Writes a field of the catalogue's header of the entry of this index.
pub(crate) fn set(archive: &mut [u8], index: usize, field: Field, value: u32) {
    let header = positions(archive, b"PK\x01\x02")[index];
    let range = field.range();
    let len = range.len();
    archive[header..][range].copy_from_slice(&value.to_le_bytes()[..len]);
}

/// Reads a field of the catalogue's header of the entry of this index.
pub(crate) fn get(archive: &[u8], index: usize, field: Field) -> u32 {
    let header = positions(archive, b"PK\x01\x02")[index];
    let bytes = &archive[header..][field.range()];
    let mut value = [0; 4];
    value[..bytes.len()].copy_from_slice(bytes);
    u32::from_le_bytes(value)
}

/// Makes an archive of one entry, `e`, deflated as `content` in stored blocks, `blocks` empty ones,
/// and a last one of `rest`, which the declared length and checksum leave out.
pub(crate) fn archive_with_a_long_tail(content: &[u8], blocks: usize, rest: &[u8]) -> Vec<u8> {
    let block = |last: bool, bytes: &[u8]| {
        let len = u16::try_from(bytes.len()).unwrap();
        let mut block = vec![u8::from(last)];
        block.extend(len.to_le_bytes());
        block.extend((!len).to_le_bytes());
        block.extend(bytes);
        block
    };
    let chunks = content.chunks(usize::from(u16::MAX));
    let mut stream: Vec<u8> = chunks.flat_map(|chunk| block(false, chunk)).collect();
    stream.extend(block(false, b"").repeat(blocks));
    stream.extend(block(true, rest));
    let mut archive = archive_of(&[("e", &stream, false)]);
    archive[8] = 8;
    set(&mut archive, 0, Field::Method, 8);
    set(
        &mut archive,
        0,
        Field::Len,
        content.len().try_into().unwrap(),
    );
    set(&mut archive, 0, Field::Crc, crc32fast::hash(content));
    archive
}

/// A header of the catalogue, and what is behind it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Header {
    pub(crate) flags: u16,
    pub(crate) name: Vec<u8>,
    pub(crate) extra: Vec<u8>,
    pub(crate) comment: Vec<u8>,
    /// Says that the sizes are in a zip64 field.
    pub(crate) is_zip64: bool,
}

/// Makes an archive of stored entries of these headers, each with its index as its content.
pub(crate) fn archive_of_headers(headers: &[Header], comment: &[u8]) -> Vec<u8> {
    let short = |len: usize| u16::try_from(len).unwrap().to_le_bytes();
    let mut archive = Vec::new();
    let mut catalogue = Vec::new();
    for (index, header) in headers.iter().enumerate() {
        let content = index.to_string().into_bytes();
        let offset = u32::try_from(archive.len()).unwrap();
        let len = u32::try_from(content.len()).unwrap();
        let mut common = [20_u16, header.flags, 0, 0, 0x21]
            .map(u16::to_le_bytes)
            .concat();
        common.extend(crc32fast::hash(&content).to_le_bytes());
        let mut central = common.clone();
        common.extend([len.to_le_bytes(); 2].concat());
        let said = if header.is_zip64 { u32::MAX } else { len };
        central.extend([said.to_le_bytes(); 2].concat());
        common.extend(short(header.name.len()));
        archive.extend([b"PK\x03\x04", &common[..], &[0; 2], &header.name, &content].concat());
        catalogue.extend([b"PK\x01\x02\x14\x00", &central[..]].concat());
        for part in [&header.name, &header.extra, &header.comment] {
            catalogue.extend(short(part.len()));
        }
        catalogue.extend([0; 8]);
        catalogue.extend(offset.to_le_bytes());
        catalogue.extend([&header.name[..], &header.extra, &header.comment].concat());
    }
    let start = u32::try_from(archive.len()).unwrap();
    let len = u32::try_from(catalogue.len()).unwrap();
    archive.extend(catalogue);
    archive.extend(b"PK\x05\x06\0\0\0\0");
    archive.extend([short(headers.len()); 2].concat());
    archive.extend([len.to_le_bytes(), start.to_le_bytes()].concat());
    archive.extend(short(comment.len()));
    archive.extend(comment);
    archive
}
