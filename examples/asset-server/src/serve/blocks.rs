//! Contents of packs, of which any range is had by decompressing the blocks it touches.
//!
//! A content that lies in its pack as it is goes the way of a file. One of a single block, or one
//! that is asked for whole and is not too long, is unpacked whole and kept for a while. Of all
//! others only the blocks that a range touches are read and decompressed, as they are sent. HEAD
//! tries the first ones.

use std::io;
use std::rc::Rc;

use blobio::pack::chunked::{EntryBlob, PackError, PackErrorKind};
use blobio::queue::Class;
use blobio::traits::RandomReadBlobAsync as _;

use super::catalogue::Packed;
use super::held::reserve;
use super::mounting::PackRoot;
use super::queued::QueuedFile;
use super::source::{Content, Failure};
use super::whole::{Flaw, Key, whole};
use super::worker::Worker;
use crate::http::range::ByteRange;
use crate::limits::Permit;
use crate::plan::Body;

/// What is read at a time: the longest block, or several shorter ones.
const CHUNK_LEN: u64 = 256 * 1024;

/// A chunk takes its memory three times: as it is stored, by blocks, and in one piece.
const COPIES: u64 = 3;

/// Makes a content's bytes ready to be sent, as far as `body` asks for them.
pub(super) async fn open(
    worker: &Rc<Worker>,
    pack: &PackRoot,
    packed: &Packed,
    body: &Body,
    class: Class,
) -> Result<Content, Failure> {
    let content = packed.content();
    let opened = worker.packs[pack.index].chunked(class)?;
    if let Some(position) = content.plain_position() {
        return Ok(Content::File(opened.blob().reader().clone(), position));
    }
    let (len, block_len) = (content.len(), opened.block_len());
    let data = packed.data(&opened).class(class);
    let first = first_range(body, len);
    let key = Key::Content(pack.index, *content);
    let takes_all = matches!(body, Body::Range(_)) && first.len() == len;
    if len <= block_len || worker.cache.has(key) || (takes_all && worker.cache.keeps(len)) {
        let unpack = async { unpack(worker, &data).await };
        return whole(worker, key, len, unpack).await.map(Content::Memory);
    }
    let wanted = usize::try_from(CHUNK_LEN * COPIES).expect("a small number");
    let permit = reserve(worker, wanted).await.ok_or(Failure::Overloaded)?;
    let mut stream = BlockStream {
        data,
        position: first.start,
        range: first,
        block_len,
        chunk_len: (permit.credits() / COPIES).max(1),
        ahead: None,
        spare: Vec::new(),
        _permit: permit,
    };
    // Before anything is answered: what is corrupt from the first block on is no 200.
    let ahead = stream.read().await;
    stream.ahead = Some(ahead.map_err(|error| Failure::of(worker, &error))?);
    Ok(Content::Blocks(stream))
}

async fn unpack(worker: &Rc<Worker>, data: &EntryBlob<QueuedFile>) -> Result<Vec<u8>, Flaw> {
    let len = usize::try_from(data.len()).map_err(|_| Flaw::Passing(Failure::Overloaded))?;
    let (result, bytes) = data.read_owned_async(0, len, Vec::new()).await;
    match result {
        Ok(got) if got == len => Ok(bytes),
        Ok(_) => Err(Flaw::Lasting(Failure::of(
            worker,
            &"a content is too short",
        ))),
        Err(error) => {
            let failure = Failure::of(worker, &error);
            Err(if is_lasting(&error) {
                Flaw::Lasting(failure)
            } else {
                Flaw::Passing(failure)
            })
        }
    }
}

/// Returns whether what is wrong is the pack, and not the reading of it.
fn is_lasting(error: &io::Error) -> bool {
    let inner = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<PackError>());
    inner.is_some_and(|error| !matches!(error.kind(), PackErrorKind::Io(_) | PackErrorKind::Job(_)))
}

/// Returns what of a content of `len` bytes goes out first; all of it where nothing does.
fn first_range(body: &Body, len: u64) -> ByteRange {
    match body {
        Body::Range(range) => *range,
        Body::Parts(parts) => parts.ranges.as_slice()[0],
        Body::Nothing | Body::Text(_) => ByteRange { start: 0, end: len },
    }
}

/// A content, decompressed as it is sent.
pub(super) struct BlockStream {
    data: EntryBlob<QueuedFile>,
    /// Where the next read begins; what is in `ahead` lies before it.
    position: u64,
    range: ByteRange,
    block_len: u64,
    chunk_len: u64,
    /// The beginning of the range, where that has been read.
    ahead: Option<Vec<u8>>,
    spare: Vec<u8>,
    _permit: Permit,
}

impl BlockStream {
    /// Goes to a range.
    pub(super) fn seek(&mut self, range: ByteRange) {
        let at = self.position - self.ahead.as_deref().map_or(0, length);
        if at == range.start && self.position <= range.end {
            self.range = range;
            return;
        }
        self.ahead = None;
        self.position = range.start;
        self.range = range;
    }

    /// Gives the next bytes of the range; `None` at its end.
    ///
    /// # Errors
    /// When the content is not as the pack declares.
    pub(super) async fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        if let Some(ahead) = self.ahead.take() {
            return Ok(Some(ahead));
        }
        if self.position >= self.range.end {
            return Ok(None);
        }
        self.read().await.map(Some)
    }

    /// Takes back a chunk's memory for the next one.
    pub(super) fn reuse(&mut self, chunk: Vec<u8>) {
        self.spare = chunk;
    }

    async fn read(&mut self) -> io::Result<Vec<u8>> {
        let end = chunk_end(self.position, self.chunk_len, self.block_len).min(self.range.end);
        let len = usize::try_from(end - self.position).expect("at most a chunk");
        let spare = std::mem::take(&mut self.spare);
        let read = self.data.read_owned_async(self.position, len, spare);
        let (result, bytes) = read.await;
        if result? < len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.position = end;
        Ok(bytes)
    }
}

/// Returns where a chunk ends that begins at `position`: where a block does, so that none is
/// decompressed for two chunks, unless chunks are shorter than blocks.
fn chunk_end(position: u64, chunk_len: u64, block_len: u64) -> u64 {
    let end = position.saturating_add(chunk_len);
    let at_block = end - end % block_len;
    if at_block > position { at_block } else { end }
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).expect("a length")
}

#[cfg(test)]
mod tests {
    use super::chunk_end;

    #[test]
    fn chunks_end_where_blocks_do() {
        for (position, chunk_len, end) in [
            (0, 256, 256),
            (0, 255, 192),
            (10, 256, 256),
            (63, 256, 256),
            (64, 64, 128),
            (100, 64, 128),
            (130, 30, 160),
            (0, 1, 1),
        ] {
            assert_eq!(
                chunk_end(position, chunk_len, 64),
                end,
                "{position} {chunk_len}"
            );
        }
    }
}
