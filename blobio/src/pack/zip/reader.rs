//! A deflated entry as a stream.

use std::io;
use std::io::Read;
use std::sync::Arc;

use super::Entry;
use super::inflate::Inflater;
use crate::error::{ArchiveError, ArchiveErrorKind};
use crate::slice::BlobSlice;
use crate::traits::RandomReadBlob;
use crate::uninit;

/// The compressed bytes read from the archive at a time.
pub(super) const INPUT_LEN: usize = 32 << 10;

/// The content of a deflated entry, inflated as it is read.
///
/// The read that gives the last bytes fails instead if the content is not as long as the
/// catalogue declares, or has another checksum. After an error every read fails.
#[derive(Debug)]
pub struct InflateReader<B> {
    archive: Arc<str>,
    entry: Arc<str>,
    data: BlobSlice<B>,
    data_len: u64,
    pos: u64,
    input: Vec<u8>,
    taken: usize,
    inflater: Inflater,
    failed: bool,
}

impl<B> InflateReader<B> {
    pub(super) fn new(archive: Arc<str>, entry: &Entry, data: BlobSlice<B>) -> Self {
        Self {
            archive,
            entry: entry.shared_name(),
            data,
            data_len: entry.compressed_len(),
            pos: 0,
            input: Vec::new(),
            taken: 0,
            inflater: Inflater::new(entry),
            failed: false,
        }
    }

    /// Gives the compressed bytes, as a blob.
    pub fn compressed(&self) -> &BlobSlice<B> {
        &self.data
    }
}

impl<B: RandomReadBlob> InflateReader<B> {
    /// Reads the next bytes of the content; 0 is its end, by then checked.
    ///
    /// # Errors
    ///
    /// When the archive cannot be read, or the content is not as declared.
    pub fn next_bytes(&mut self, buf: &mut [u8]) -> Result<usize, ArchiveError> {
        if self.failed {
            return Err(self.error(ArchiveErrorKind::Corrupt));
        }
        let result = self.inflate(buf);
        self.failed = result.is_err();
        result.map_err(|kind| self.error(kind))
    }

    fn inflate(&mut self, buf: &mut [u8]) -> Result<usize, ArchiveErrorKind> {
        let mut produced = 0;
        while !self.inflater.is_done() {
            let input = &self.input[self.taken..];
            let input_ends = self.pos >= self.data_len;
            let progress = self
                .inflater
                .step(input, input_ends, &mut buf[produced..])?;
            self.taken += progress.consumed;
            produced += progress.produced;
            if self.inflater.is_done() || self.taken < self.input.len() {
                break;
            }
            if !input_ends {
                self.refill()?;
            } else if progress.consumed == 0 && progress.produced == 0 {
                break;
            }
        }
        if produced == 0 && !buf.is_empty() && !self.inflater.is_done() {
            return Err(ArchiveErrorKind::Corrupt);
        }
        Ok(produced)
    }

    fn refill(&mut self) -> Result<(), ArchiveErrorKind> {
        self.input
            .resize(uninit::clamp(INPUT_LEN, self.data_len - self.pos), 0);
        let got = self.data.read_slice(self.pos, &mut self.input)?;
        self.input.truncate(got);
        self.taken = 0;
        // An archive that became shorter has no more input, whatever the catalogue says.
        self.pos = if got == 0 {
            self.data_len
        } else {
            self.pos + got as u64
        };
        Ok(())
    }

    fn error(&self, kind: ArchiveErrorKind) -> ArchiveError {
        ArchiveError::of_entry(&self.archive, &self.entry, kind)
    }
}

impl<B: RandomReadBlob> Read for InflateReader<B> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        Ok(self.next_bytes(buf)?)
    }
}
