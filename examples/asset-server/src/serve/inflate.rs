//! Deflated entries of archives, inflated off the I/O core.
//!
//! An entry that is not too long is inflated whole and kept for a while, so that many ranges of it
//! cost one pass. A longer one is inflated as it is sent, from its beginning up to the range; a
//! request for several ranges of it is answered with all of it (RFC 9110, 14.2 leaves that to the
//! server), or a short request would cost many passes.

use std::io;
use std::rc::Rc;

use blobio::async_reader::{AsyncEntryData, AsyncInflateReader};
use blobio::error::ArchiveErrorKind;
use blobio::pack::zip::{Archive, Entry, Method};
use blobio::queue::Class;

use super::catalogue::Zipped;
use super::held::reserve;
use super::mounting::PackRoot;
use super::queued::QueuedFile;
use super::source::{Content, Failure};
use super::whole::{Flaw, Key, whole};
use super::worker::Worker;
use crate::http::range::ByteRange;
use crate::limits::Permit;

/// What a long entry is inflated by at a time.
const CHUNK_LEN: usize = 256 * 1024;

/// Returns whether an entry of this length is inflated as it is sent: then each range costs a pass
/// from its beginning, and several of them in one answer are not given.
pub(super) fn is_streamed(worker: &Worker, entry: &Entry) -> bool {
    entry.method() == Method::Deflated && !worker.cache.keeps(entry.len())
}

/// Makes a deflated entry's bytes ready to be sent.
pub(super) async fn open(
    worker: &Rc<Worker>,
    pack: &PackRoot,
    zipped: &Zipped,
    class: Class,
) -> Result<Content, Failure> {
    let entry = &zipped.entry;
    let len = entry.len();
    let archive = worker.packs[pack.index].zip(class)?;
    if !is_streamed(worker, entry) {
        let key = Key::Zipped(pack.index, zipped.number);
        let unpack = async {
            let read = archive.read_async(entry).await;
            read.map_err(|error| {
                let failure = Failure::of(worker, &error);
                match error.kind() {
                    ArchiveErrorKind::Io(_) => Flaw::Passing(failure),
                    _ => Flaw::Lasting(failure),
                }
            })
        };
        return whole(worker, key, len, unpack).await.map(Content::Memory);
    }
    let permit = reserve(worker, CHUNK_LEN)
        .await
        .ok_or(Failure::Overloaded)?;
    let chunk_len = usize::try_from(permit.credits()).expect("at most CHUNK_LEN");
    let reader = open_reader(&archive, entry).await;
    Ok(Content::Stream(InflateStream {
        archive,
        entry: entry.clone(),
        reader: reader.map_err(|error| Failure::of(worker, &error))?,
        position: 0,
        range: ByteRange { start: 0, end: len },
        chunk_len,
        spare: Vec::new(),
        _permit: permit,
    }))
}

/// A long entry, inflated as it is sent.
pub(super) struct InflateStream {
    archive: Archive<QueuedFile>,
    entry: Entry,
    reader: AsyncInflateReader<QueuedFile>,
    position: u64,
    range: ByteRange,
    chunk_len: usize,
    spare: Vec<u8>,
    _permit: Permit,
}

impl InflateStream {
    /// Goes to a range: on from where the stream is, or from the beginning.
    ///
    /// # Errors
    /// When the entry is not as the archive declares.
    pub(super) async fn seek(&mut self, range: ByteRange) -> io::Result<()> {
        if range.start < self.position {
            self.reader = open_reader(&self.archive, &self.entry).await?;
            self.position = 0;
        }
        self.range = range;
        while self.position < range.start {
            let skipped = self.inflate(range.start - self.position).await?;
            self.reuse(skipped);
        }
        Ok(())
    }

    /// Gives the next bytes of the range; `None` at its end.
    ///
    /// # Errors
    /// When the entry is not as the archive declares.
    pub(super) async fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        match self.range.end - self.position {
            0 => Ok(None),
            left => self.inflate(left).await.map(Some),
        }
    }

    /// Takes back a chunk's memory for the next one.
    pub(super) fn reuse(&mut self, chunk: Vec<u8>) {
        self.spare = chunk;
    }

    async fn inflate(&mut self, left: u64) -> io::Result<Vec<u8>> {
        let wanted = usize::try_from(left)
            .unwrap_or(usize::MAX)
            .min(self.chunk_len);
        let spare = std::mem::take(&mut self.spare);
        let chunk = self.reader.next_chunk(spare, wanted).await?;
        if chunk.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.position += u64::try_from(chunk.len()).expect("a length");
        Ok(chunk)
    }
}

async fn open_reader(
    archive: &Archive<QueuedFile>,
    entry: &Entry,
) -> io::Result<AsyncInflateReader<QueuedFile>> {
    match archive.data_async(entry).await? {
        AsyncEntryData::Deflated(reader) => Ok(reader),
        AsyncEntryData::Stored(_) => Err(io::ErrorKind::InvalidData.into()),
    }
}
