//! Reads the catalogue: rc-zip's state machine, fed from positional reads, within limits.
//!
//! Pure: it says what to read and is given the bytes, so that blocking and asynchronous reading
//! share it.

use rc_zip::fsm::{ArchiveFsm, FsmResult};

use super::{Entry, Limits};
use crate::error::ArchiveErrorKind;
use crate::uninit;

/// The longest read.
const READ_MAX: usize = 256 << 10;
/// The signature that begins each header of the catalogue.
const HEADER_SIGNATURE: &[u8] = b"PK\x01\x02";
/// The signature of the zip64 end record, and where in the record the catalogue's offset is.
const END64_SIGNATURE: &[u8] = b"PK\x06\x06";
const END64_OFFSET_FIELD: std::ops::Range<usize> = 48..56;
/// Bytes that may be read besides the catalogue: the search for its end, and the end records.
const TAIL_READS_LEN: u64 = 4 * (66 << 10);
/// Headers that the search for the end may come across, at 46 bytes each.
const TAIL_HEADERS: usize = 2 * (66 << 10) / 46;

/// What the reader of a catalogue has to do next.
pub(super) enum Step {
    /// Read up to `len` bytes at `pos`, fewer only at the end, and feed them.
    Read {
        catalogue: Box<Catalogue>,
        pos: u64,
        len: usize,
    },
    /// Nothing: here are the entries, in the catalogue's order, directories left out.
    Done(Vec<Entry>),
}

/// The catalogue as far as it has been read.
pub(super) struct Catalogue {
    fsm: ArchiveFsm,
    archive_len: u64,
    limits: Limits,
    bytes_read: u64,
    headers_seen: usize,
    // The end of the last read, for a signature that two reads share.
    carry: ([u8; HEADER_SIGNATURE.len() - 1], u64),
}

impl Catalogue {
    /// Begins with an archive of `archive_len` bytes.
    pub(super) fn start(archive_len: u64, limits: Limits) -> Result<Step, ArchiveErrorKind> {
        if i64::try_from(archive_len).is_err() {
            return Err(malformed("longer than a file can be"));
        }
        let catalogue = Self {
            fsm: ArchiveFsm::new(archive_len),
            archive_len,
            limits,
            bytes_read: 0,
            headers_seen: 0,
            carry: ([0; HEADER_SIGNATURE.len() - 1], u64::MAX),
        };
        catalogue.next_read()
    }

    /// Takes the bytes that were read at `pos` and says what to do next.
    pub(super) fn feed(mut self, pos: u64, bytes: &[u8]) -> Result<Step, ArchiveErrorKind> {
        if bytes.is_empty() {
            return Err(malformed("it ends inside of the catalogue"));
        }
        self.check(pos, bytes)?;
        self.fsm.space()[..bytes.len()].copy_from_slice(bytes);
        self.fsm.fill(bytes.len());
        match self.fsm.process().map_err(|e| malformed(&e.to_string()))? {
            FsmResult::Continue(fsm) => Self { fsm, ..self }.next_read(),
            FsmResult::Done(archive) => {
                if archive.entries().count() > self.limits.entries_max {
                    return Err(too_many(self.limits));
                }
                Ok(Step::Done(
                    archive.entries().filter_map(Entry::from_parsed).collect(),
                ))
            }
        }
    }

    fn next_read(mut self) -> Result<Step, ArchiveErrorKind> {
        let pos = self
            .fsm
            .wants_read()
            .ok_or_else(|| malformed("its catalogue makes no sense"))?;
        let room = self.fsm.space().len().min(READ_MAX);
        let len = uninit::clamp(room, self.archive_len.saturating_sub(pos));
        if len == 0 {
            return Err(malformed("it ends inside of the catalogue"));
        }
        Ok(Step::Read {
            catalogue: Box::new(self),
            pos,
            len,
        })
    }

    /// Holds the bytes against the limits before the state machine spends memory on them.
    fn check(&mut self, pos: u64, bytes: &[u8]) -> Result<(), ArchiveErrorKind> {
        self.bytes_read += bytes.len() as u64;
        if self.bytes_read
            > self
                .limits
                .catalogue_bytes_max
                .saturating_add(TAIL_READS_LEN)
        {
            let bytes_max = self.limits.catalogue_bytes_max;
            return Err(ArchiveErrorKind::CatalogueTooLong { bytes_max });
        }
        // Every header holds the signature, so the headers parsed are never more than these.
        self.headers_seen += self.count_headers(pos, bytes);
        if self.headers_seen > self.limits.entries_max.saturating_add(TAIL_HEADERS) {
            return Err(too_many(self.limits));
        }
        // The state machine subtracts this offset as a signed number, unchecked.
        if bytes.starts_with(END64_SIGNATURE) {
            let field = bytes
                .get(END64_OFFSET_FIELD)
                .and_then(|field| field.try_into().ok());
            if field
                .map(u64::from_le_bytes)
                .is_some_and(|offset| offset > self.archive_len)
            {
                return Err(malformed("its catalogue is said to be outside of it"));
            }
        }
        Ok(())
    }

    fn count_headers(&mut self, pos: u64, bytes: &[u8]) -> usize {
        let (carry, carry_end) = self.carry;
        let mut seam = Vec::with_capacity(2 * carry.len());
        if carry_end == pos {
            seam.extend_from_slice(&carry);
        }
        seam.extend_from_slice(&bytes[..bytes.len().min(carry.len())]);
        let width = HEADER_SIGNATURE.len();
        let whole = bytes
            .windows(width)
            .filter(|window| *window == HEADER_SIGNATURE)
            .count();
        let split = seam
            .windows(width)
            .filter(|window| *window == HEADER_SIGNATURE)
            .count();
        if let Some(last) = bytes.last_chunk() {
            self.carry = (*last, pos + bytes.len() as u64);
        }
        whole + split
    }
}

fn malformed(what: &str) -> ArchiveErrorKind {
    ArchiveErrorKind::Catalogue(what.into())
}

fn too_many(limits: Limits) -> ArchiveErrorKind {
    ArchiveErrorKind::TooManyEntries {
        entries_max: limits.entries_max,
    }
}
