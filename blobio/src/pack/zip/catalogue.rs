//! Reads the catalogue: rc-zip's state machine, fed from positional reads, within limits.
//!
//! Pure: it says what to read and is given the bytes, so that blocking and asynchronous reading
//! share it.

use rc_zip::fsm::{ArchiveFsm, FsmResult};

use super::headers::Headers;
use super::{Entry, Limits};
use crate::error::ArchiveErrorKind;
use crate::uninit;

/// The longest read.
const READ_MAX: usize = 256 << 10;
/// The signature that begins each header of the catalogue.
const HEADER_SIGNATURE: u32 = u32::from_be_bytes(*b"PK\x01\x02");
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
    headers: Headers,
    archive_len: u64,
    limits: Limits,
    bytes_read: u64,
    headers_seen: usize,
    // The end of the last read and the four bytes before it, for a signature that reads share.
    seen_end: u64,
    last_four: u32,
}

impl Catalogue {
    /// Begins with an archive of `archive_len` bytes.
    pub(super) fn start(archive_len: u64, limits: Limits) -> Result<Step, ArchiveErrorKind> {
        if i64::try_from(archive_len).is_err() {
            return Err(malformed("longer than a file can be"));
        }
        let catalogue = Self {
            fsm: ArchiveFsm::new(archive_len),
            headers: Headers::new(),
            archive_len,
            limits,
            bytes_read: 0,
            headers_seen: 0,
            seen_end: 0,
            last_four: 0,
        };
        catalogue.next_read()
    }

    /// Takes the bytes that were read at `pos` and says what to do next.
    pub(super) fn feed(mut self, pos: u64, bytes: &[u8]) -> Result<Step, ArchiveErrorKind> {
        if bytes.is_empty() {
            return Err(malformed("it ends inside of the catalogue"));
        }
        self.check(pos, bytes)?;
        let is_end = pos.saturating_add(bytes.len() as u64) >= self.archive_len;
        let ready = self.headers.take(pos, bytes, is_end);
        let mut left = ready.as_slice();
        while !left.is_empty() {
            let space = self.fsm.space();
            let len = space.len().min(left.len());
            if len == 0 {
                return Err(malformed("its catalogue makes no sense"));
            }
            space[..len].copy_from_slice(&left[..len]);
            self.fsm.fill(len);
            left = &left[len..];
            match self.fsm.process().map_err(|e| malformed(&e.to_string()))? {
                FsmResult::Continue(fsm) => self.fsm = fsm,
                FsmResult::Done(archive) => return finish(&archive, self.headers, self.limits),
            }
        }
        self.next_read()
    }

    fn next_read(mut self) -> Result<Step, ArchiveErrorKind> {
        let pending = self.headers.pending_len();
        let pos = self
            .fsm
            .wants_read()
            .and_then(|pos| pos.checked_add(pending as u64))
            .ok_or_else(|| malformed("its catalogue makes no sense"))?;
        // With a header pending, the catalogue is being read, which is fed in any portions.
        let room = if pending == 0 {
            self.fsm.space().len().min(READ_MAX)
        } else {
            READ_MAX
        };
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

    /// Counts the header signatures that end in `bytes`, also those that reads share.
    fn count_headers(&mut self, pos: u64, bytes: &[u8]) -> usize {
        if pos != self.seen_end {
            self.last_four = 0;
        }
        self.seen_end = pos + bytes.len() as u64;
        let mut count = 0;
        for byte in bytes {
            self.last_four = self.last_four << 8 | u32::from(*byte);
            count += usize::from(self.last_four == HEADER_SIGNATURE);
        }
        count
    }
}

/// Gives the entries with their names.
fn finish(
    archive: &rc_zip::Archive,
    headers: Headers,
    limits: Limits,
) -> Result<Step, ArchiveErrorKind> {
    let names = headers.into_names();
    let count = archive.entries().count();
    if count > limits.entries_max {
        return Err(too_many(limits));
    }
    if names.len() != count {
        return Err(malformed("its catalogue makes no sense"));
    }
    let entries = archive.entries().zip(names);
    Ok(Step::Done(
        entries
            .filter_map(|(parsed, name)| Entry::from_parsed(parsed, &name))
            .collect(),
    ))
}

fn malformed(what: &str) -> ArchiveErrorKind {
    ArchiveErrorKind::Catalogue(what.into())
}

fn too_many(limits: Limits) -> ArchiveErrorKind {
    ArchiveErrorKind::TooManyEntries {
        entries_max: limits.entries_max,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalogue() -> Catalogue {
        match Catalogue::start(1 << 20, Limits::default()) {
            Ok(Step::Read { catalogue, .. }) => *catalogue,
            _ => panic!("there is something to read"),
        }
    }

    #[test]
    fn headers_are_counted_across_the_seams_of_reads() {
        let bytes = b"PK\x01\x02aPK\x01\x02PK\x01PK\x01\x02";
        for len in 1..=bytes.len() {
            let mut catalogue = catalogue();
            let mut pos = 100;
            for read in bytes.chunks(len) {
                catalogue.headers_seen += catalogue.count_headers(pos, read);
                pos += read.len() as u64;
            }
            assert_eq!(catalogue.headers_seen, 3, "reads of {len}");
        }
        let mut catalogue = catalogue();
        assert_eq!(catalogue.count_headers(0, b"..PK\x01"), 0);
        assert_eq!(catalogue.count_headers(100, b"\x02.."), 0, "not a seam");
    }

    #[test]
    fn an_archive_longer_than_files_can_be_is_refused() {
        for len in [1 << 63, u64::MAX] {
            Catalogue::start(len, Limits::default())
                .err()
                .expect("no file is that long");
        }
    }
}
