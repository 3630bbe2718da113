//! The data of an entry, as a blob.

use std::fmt;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::sync::Arc;

use super::block;
use super::entry::{Content, ContentHash};
use super::error::{PackError, PackErrorKind};
use super::lookup::read_page;
use super::pack::{Decoder, Shared, count};
use super::range::{RangeRead, RangeStep, Run, RunBlock};
use crate::queue::Class;
use crate::slice::BlobSlice;
use crate::traits::{BlobMetadata, RandomReadBlob, unexpected_eof};
use crate::uninit;

/// The data of an entry, or of a content: a blob of which any range is read by reading, checking
/// and decompressing the blocks it touches.
///
/// Nothing is kept from one read to the next, so that many small reads in a row are better made
/// through a buffer, or as one.
#[derive(Clone)]
pub struct EntryBlob<B> {
    blob: B,
    shared: Arc<Shared>,
    /// What errors call it.
    name: Arc<str>,
    content: Content,
    decoder: Option<Decoder>,
}

impl<B> EntryBlob<B> {
    pub(super) fn new(
        blob: B,
        shared: Arc<Shared>,
        name: Arc<str>,
        content: Content,
        decoder: Option<Decoder>,
    ) -> Self {
        Self {
            blob,
            shared,
            name,
            content,
            decoder,
        }
    }

    /// Gives the length of the content in bytes.
    #[allow(
        clippy::len_without_is_empty,
        reason = "what is empty is the content, and it says so by its length"
    )]
    pub fn len(&self) -> u64 {
        self.content.len()
    }

    /// Gives the hash of the content.
    pub fn hash(&self) -> ContentHash {
        self.content.hash()
    }

    /// Sets the class in which asynchronous reads decompress, if that is done by a pool.
    #[must_use]
    pub fn class(mut self, class: Class) -> Self {
        if let Some(decoder) = &mut self.decoder {
            decoder.class = class;
        }
        self
    }

    /// Gives the content as a range of the pack, if it lies there as it is: to be read, mapped or
    /// sent without any copy in between. Nothing checks what is read through it.
    pub fn plain(&self) -> Option<BlobSlice<&B>> {
        BlobSlice::new(&self.blob, self.content.plain_position()?, self.len()).ok()
    }

    /// Gives the content as a range of the pack, if it lies there as it is, on the blob itself.
    ///
    /// # Errors
    ///
    /// Gives the blob back when the content is compressed.
    pub fn into_plain(self) -> Result<BlobSlice<B>, Self> {
        match self.content.plain_position() {
            // The range is inside of the pack: that was checked when the entry was found.
            Some(at) if at.checked_add(self.len()).is_some() => {
                Ok(BlobSlice::new(self.blob, at, self.content.len())
                    .unwrap_or_else(|_| unreachable!("the range has an end")))
            }
            _ => Err(self),
        }
    }

    pub(super) fn blob(&self) -> &B {
        &self.blob
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(super) fn name(&self) -> &Arc<str> {
        &self.name
    }

    pub(super) fn decoder(&self) -> Option<&Decoder> {
        self.decoder.as_ref()
    }

    /// Gives where a read of up to `len` bytes at `pos` goes straight to: position and length.
    pub(super) fn straight(&self, pos: u64, len: usize) -> Option<(u64, usize)> {
        let at = self.content.plain_position()?;
        if self.shared.options.check_plain {
            return None;
        }
        let pos = pos.min(self.len());
        Some((at + pos, uninit::clamp(len, self.len() - pos)))
    }

    pub(super) fn range(&self, pos: u64, len: usize) -> RangeRead {
        RangeRead::new(&self.content, pos, len, &self.shared.directory.header)
    }
}

/// Where the bytes of a blocking read go.
trait Sink {
    /// Gives the memory of a part, if it may be used as such.
    fn part(&mut self, to: usize, len: usize) -> Option<&mut [u8]>;
    fn put(&mut self, to: usize, bytes: &[u8]);
}

impl Sink for &mut [u8] {
    fn part(&mut self, to: usize, len: usize) -> Option<&mut [u8]> {
        Some(&mut self[to..to + len])
    }

    fn put(&mut self, to: usize, bytes: &[u8]) {
        self[to..to + bytes.len()].copy_from_slice(bytes);
    }
}

impl Sink for &mut [IoSliceMut<'_>] {
    fn part(&mut self, _to: usize, _len: usize) -> Option<&mut [u8]> {
        None
    }

    fn put(&mut self, to: usize, bytes: &[u8]) {
        put_into_slices(self, to, bytes);
    }
}

/// Memory is touched as it is filled: the declared length may be a lie.
impl Sink for Vec<u8> {
    fn part(&mut self, to: usize, len: usize) -> Option<&mut [u8]> {
        self.resize(to + len, 0);
        Some(&mut self[to..])
    }

    fn put(&mut self, to: usize, bytes: &[u8]) {
        debug_assert_eq!(to, self.len(), "bytes come in order");
        self.extend_from_slice(bytes);
    }
}

impl Sink for &mut [MaybeUninit<u8>] {
    fn part(&mut self, _to: usize, _len: usize) -> Option<&mut [u8]> {
        None
    }

    fn put(&mut self, to: usize, bytes: &[u8]) {
        uninit::copy_into(&mut self[to..], bytes);
    }
}

impl<B: RandomReadBlob> EntryBlob<B> {
    /// Reads by blocks, whatever the options say.
    pub(super) fn read_checked(&self, pos: u64, mut buf: &mut [u8]) -> Result<usize, PackError> {
        self.read_into(pos, buf.len(), &mut buf)
    }

    fn read_into(&self, pos: u64, len: usize, sink: &mut impl Sink) -> Result<usize, PackError> {
        let header = &self.shared.directory.header;
        let mut range = self.range(pos, len);
        let mut page = None;
        loop {
            let step = range.step(header, page.take().as_deref());
            match step.map_err(|kind| self.shared.error(kind).of_entry(&self.name))? {
                RangeStep::Done => return Ok(range.len()),
                RangeStep::Page(at, expected) => {
                    let read = read_page(&self.blob, &self.shared, at, expected);
                    page = Some(read.map_err(|e| e.of_entry(&self.name))?);
                }
                RangeStep::Blocks(run) => self.read_run(&run, sink)?,
            }
        }
    }

    fn read_run(&self, run: &Run, sink: &mut impl Sink) -> Result<(), PackError> {
        let bytes = self.blob.read_vec(run.position, run.len);
        let bytes = self.shared.run_bytes(run, &self.name, bytes)?;
        for block in &run.blocks {
            let stored = &bytes[block.stored.clone()];
            let is_whole = block.wanted.len() == block.raw_len;
            let part = is_whole.then(|| sink.part(block.to, block.raw_len));
            let decoded = match part.flatten() {
                Some(part) => block::decode_into(block, stored, part),
                None => block::decode(block, stored)
                    .map(|raw| sink.put(block.to, &raw[block.wanted.clone()])),
            };
            decoded.map_err(|kind| self.shared.block_error(kind, &self.name, block))?;
            self.shared.count_block(block);
        }
        Ok(())
    }
}

impl Shared {
    /// Checks that the blocks of a run were read as a whole.
    pub(super) fn run_bytes(
        &self,
        run: &Run,
        name: &str,
        read: io::Result<Vec<u8>>,
    ) -> Result<Vec<u8>, PackError> {
        let read = read.and_then(|bytes| {
            if bytes.len() < run.len {
                let got = bytes.len() as u64;
                return Err(unexpected_eof(run.position, run.len as u64, got));
            }
            Ok(bytes)
        });
        read.map_err(|e| self.error(e).of_entry(name).at(run.position))
    }

    pub(super) fn block_error(
        &self,
        kind: impl Into<PackErrorKind>,
        name: &str,
        block: &RunBlock,
    ) -> PackError {
        self.error(kind).of_entry(name).at(block.row.position)
    }

    pub(super) fn count_block(&self, block: &RunBlock) {
        count(&self.counters.blocks_decoded, 1);
        count(&self.counters.stored_len, block.stored.len());
        count(&self.counters.raw_len, block.raw_len);
    }
}

impl<B> BlobMetadata for EntryBlob<B> {
    fn byte_length(&self) -> io::Result<u64> {
        Ok(self.len())
    }
}

impl<B: RandomReadBlob> RandomReadBlob for EntryBlob<B> {
    fn read_slice(&self, pos: u64, mut buf: &mut [u8]) -> io::Result<usize> {
        if let Some((at, len)) = self.straight(pos, buf.len()) {
            let got = self.blob.read_slice(at, &mut buf[..len])?;
            count(&self.shared.counters.straight_len, got);
            return Ok(got);
        }
        Ok(self.read_into(pos, buf.len(), &mut buf)?)
    }

    fn read(&self, pos: u64, mut buf: &mut [MaybeUninit<u8>]) -> io::Result<usize> {
        if let Some((at, len)) = self.straight(pos, buf.len()) {
            let got = self.blob.read(at, &mut buf[..len])?;
            count(&self.shared.counters.straight_len, got);
            return Ok(got);
        }
        Ok(self.read_into(pos, buf.len(), &mut buf)?)
    }

    /// Decompresses each block once, however many slices it goes to.
    fn readv(&self, pos: u64, mut bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let len = slices_len(bufs);
        if let Some((at, _)) = self.straight(pos, len) {
            let end = BlobSlice::new(&self.blob, at, self.len() - pos.min(self.len()))?;
            let got = end.readv(0, bufs)?;
            count(&self.shared.counters.straight_len, got);
            return Ok(got);
        }
        Ok(self.read_into(pos, len, &mut bufs)?)
    }

    fn read_vec(&self, pos: u64, len: usize) -> io::Result<Vec<u8>> {
        if let Some((at, len)) = self.straight(pos, len) {
            let bytes = self.blob.read_vec(at, len)?;
            count(&self.shared.counters.straight_len, bytes.len());
            return Ok(bytes);
        }
        let len = uninit::clamp(len, self.len().saturating_sub(pos));
        let mut bytes = uninit::vec_with_room(len)?;
        self.read_into(pos, len, &mut bytes)?;
        Ok(bytes)
    }
}

/// Copies `bytes` behind the first `at` bytes of the slices.
pub(super) fn put_into_slices(bufs: &mut [IoSliceMut<'_>], at: usize, mut bytes: &[u8]) {
    let mut skip = at;
    for buf in bufs {
        if bytes.is_empty() {
            break;
        }
        let skipped = skip.min(buf.len());
        skip -= skipped;
        let len = bytes.len().min(buf.len() - skipped);
        let (now, later) = bytes.split_at(len);
        buf[skipped..skipped + len].copy_from_slice(now);
        bytes = later;
    }
}

/// Sums the lengths of the slices.
pub(super) fn slices_len(bufs: &[IoSliceMut<'_>]) -> usize {
    bufs.iter()
        .fold(0, |len: usize, buf| len.saturating_add(buf.len()))
}

impl<B> fmt::Debug for EntryBlob<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EntryBlob")
            .field("pack", &self.shared.name)
            .field("name", &self.name)
            .field("content", &self.content)
            .finish_non_exhaustive()
    }
}
