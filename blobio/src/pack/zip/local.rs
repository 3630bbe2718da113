//! Finds an entry's data through its local header. Pure.

use super::{Entry, Method};
use crate::error::ArchiveErrorKind;

/// Encrypted, strongly encrypted, or with its header hidden.
pub(super) const ENCRYPTION_FLAGS: u16 = 1 | 1 << 6 | 1 << 13;
/// The length of a local header without its name and extra field.
pub(super) const HEADER_LEN: usize = 30;
/// The most that deflate can make of one byte: a repeat of 258 bytes takes two bits.
const DEFLATE_RATIO_MAX: u64 = 1032;

const SIGNATURE: &[u8] = b"PK\x03\x04";
const FLAGS_FIELD: usize = 6;
const METHOD_FIELD: usize = 8;
const NAME_LEN_FIELD: usize = 26;
const EXTRA_LEN_FIELD: usize = 28;

/// Where the data of an entry is in its archive; it has been checked to be inside.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Extent {
    /// The position of the first byte.
    pub offset: u64,
    /// The number of bytes.
    pub len: u64,
}

/// Checks what the catalogue says of `entry`, before anything of the entry is read.
pub(super) fn check(entry: &Entry, archive_len: u64) -> Result<(), ArchiveErrorKind> {
    if entry.is_encrypted() {
        return Err(ArchiveErrorKind::Encrypted);
    }
    let (compressed, uncompressed) = (entry.compressed_len(), entry.len());
    let possible = match entry.method() {
        Method::Stored => compressed == uncompressed,
        Method::Deflated => uncompressed <= compressed.saturating_mul(DEFLATE_RATIO_MAX),
        Method::Other(number) => return Err(ArchiveErrorKind::UnsupportedMethod(number)),
    };
    inside(entry.header_offset(), HEADER_LEN as u64, archive_len)?;
    if !possible {
        return Err(ArchiveErrorKind::ImpossibleSize {
            compressed,
            uncompressed,
        });
    }
    Ok(())
}

/// Gives where the data of `entry` is, from the bytes at its header's offset.
pub(super) fn locate(
    entry: &Entry,
    header: &[u8],
    archive_len: u64,
) -> Result<Extent, ArchiveErrorKind> {
    let Some(header) = header.first_chunk::<HEADER_LEN>() else {
        return Err(ArchiveErrorKind::LocalHeader(
            "the archive ends inside of it",
        ));
    };
    if !header.starts_with(SIGNATURE) {
        return Err(ArchiveErrorKind::LocalHeader(
            "no signature where the catalogue says",
        ));
    }
    let field = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
    if field(FLAGS_FIELD) & ENCRYPTION_FLAGS != 0 {
        return Err(ArchiveErrorKind::Encrypted);
    }
    if Method::from_number(field(METHOD_FIELD)) != entry.method() {
        return Err(ArchiveErrorKind::LocalHeader(
            "its method is not the catalogue's",
        ));
    }
    let header_len =
        HEADER_LEN as u64 + u64::from(field(NAME_LEN_FIELD)) + u64::from(field(EXTRA_LEN_FIELD));
    // Inside of the archive by `check`, and the header is at most 128 KiB and a bit.
    let offset = entry.header_offset().saturating_add(header_len);
    inside(offset, entry.compressed_len(), archive_len)?;
    Ok(Extent {
        offset,
        len: entry.compressed_len(),
    })
}

fn inside(offset: u64, len: u64, archive_len: u64) -> Result<(), ArchiveErrorKind> {
    match offset.checked_add(len) {
        Some(end) if end <= archive_len => Ok(()),
        _ => Err(ArchiveErrorKind::OutOfBounds {
            offset,
            len,
            archive_len,
        }),
    }
}
