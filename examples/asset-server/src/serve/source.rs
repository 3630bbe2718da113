//! Where an answer's bytes come from.
//!
//! The only module that reads: everything else asks a [`Content`] for ranges.

use std::io;
use std::rc::Rc;

use blobio::NativeFileAsyncBlobRandomReader as Reader;
use blobio::pack::zip::{Extent, Method};
use bytes::Bytes;
use corelane::buf::IoBuf as _;

use super::inflate::{self, InflateStream};
use super::mounting::{PackEntry, PackRoot};
use super::wire::Wire;
use super::worker::Worker;
use crate::http::range::ByteRange;
use crate::plan::Resource;

/// Parts of files up to this length are read behind the head and sent with it; longer ones go
/// from the page cache to the socket.
const READ_MAX: u64 = 16 * 1024;

/// Parts of bytes in memory up to this length are copied behind the head, to be sent with it.
const COPY_MAX: u64 = 64 * 1024;

/// Most bytes that are gathered before they are sent.
pub(super) const GATHER_MAX: u64 = 64 * 1024;

/// What a request found, before any of its bytes is read.
pub(super) struct Found<'s> {
    pub(super) resource: Resource,
    pub(super) source: Source<'s>,
}

/// Where a resource's bytes are.
pub(super) enum Source<'s> {
    /// In a file of a folder.
    File(Reader),
    /// In an entry of an archive.
    Entry(&'s PackRoot, &'s PackEntry),
    /// At hand.
    Memory(Bytes),
}

/// A resource's bytes, ready to be sent.
#[expect(
    clippy::large_enum_variant,
    reason = "one per request, on the stack; no allocation"
)]
pub(super) enum Content {
    /// From this position of a file on.
    File(Reader, u64),
    /// At hand.
    Memory(Bytes),
    /// Inflated as they are sent.
    Stream(InflateStream),
}

/// Why something that is there cannot be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// Not now: memory or descriptors are short, or an archive was changed and is not read anew.
    Overloaded,
    /// It cannot be read.
    Broken,
}

impl Source<'_> {
    /// Makes the bytes ready to be sent.
    pub(super) async fn open(self, worker: &Rc<Worker>) -> Result<Content, Failure> {
        match self {
            Self::File(file) => Ok(Content::File(file, 0)),
            Self::Memory(bytes) => Ok(Content::Memory(bytes)),
            Self::Entry(pack, entry) if entry.entry.method() == Method::Stored => {
                let extent = locate(worker, pack, entry).await?;
                Ok(Content::File(
                    worker.packs[pack.index].blob().clone(),
                    extent.offset,
                ))
            }
            Self::Entry(pack, entry) => inflate::open(worker, pack, entry).await,
        }
    }
}

impl Content {
    /// Sends a range of the bytes behind what `out` holds, and leaves in `out` what may go with
    /// what follows; nothing is copied there unless `may_gather`.
    ///
    /// # Errors
    /// What ends the connection: the head has gone out already, or would not fit what follows.
    pub(super) async fn send(
        &mut self,
        wire: &mut Wire,
        mut out: Vec<u8>,
        range: ByteRange,
        may_gather: bool,
    ) -> io::Result<Vec<u8>> {
        let gather_max = match self {
            _ if !may_gather => 0,
            Self::File(..) => READ_MAX,
            Self::Memory(_) => COPY_MAX,
            Self::Stream(_) => 0,
        };
        let gathers = range.len() <= gather_max;
        if gathers && out.len() as u64 + range.len() > GATHER_MAX {
            out = wire.send(out).await?;
        }
        match self {
            Self::File(file, start) if gathers => {
                read_behind(file, *start + range.start, out, range.len()).await
            }
            Self::Memory(bytes) if gathers => {
                out.extend_from_slice(&bytes[index(range.start)?..index(range.end)?]);
                Ok(out)
            }
            content => {
                wire.hold_back(true);
                let out = wire.send(out).await?;
                content.send_alone(wire, range).await?;
                wire.hold_back(false);
                Ok(out)
            }
        }
    }

    async fn send_alone(&mut self, wire: &mut Wire, range: ByteRange) -> io::Result<()> {
        match self {
            Self::File(file, start) => {
                let (begin, end) = (*start + range.start, *start + range.end);
                wire.send_file(file.file(), begin..end).await
            }
            Self::Memory(bytes) => {
                let part = Bytes::slice(bytes, index(range.start)?..index(range.end)?);
                wire.send_bytes(part).await
            }
            Self::Stream(stream) => {
                // Inflating up to the range may take as long as sending a piece, not more.
                wire.bound(stream.seek(range)).await?;
                while let Some(chunk) = wire.bound(stream.next()).await? {
                    stream.reuse(wire.send(chunk).await?);
                }
                Ok(())
            }
        }
    }
}

/// Returns where an entry's data lies, reading its local header the first time.
pub(super) async fn locate(
    worker: &Rc<Worker>,
    pack: &PackRoot,
    entry: &PackEntry,
) -> Result<Extent, Failure> {
    if let Some(extent) = entry.extent.get() {
        return Ok(*extent);
    }
    let located = worker.packs[pack.index].locate_async(&entry.entry).await;
    let extent = located.map_err(|error| Failure::of(worker, &error))?;
    Ok(*entry.extent.get_or_init(|| extent))
}

impl Failure {
    /// Says that something is broken, and to whom it may concern.
    pub(super) fn of(worker: &Worker, error: &dyn std::fmt::Display) -> Self {
        worker.complain(&error.to_string());
        Self::Broken
    }
}

/// Reads `len` bytes of a file behind what a buffer holds.
async fn read_behind(file: &Reader, at: u64, mut out: Vec<u8>, len: u64) -> io::Result<Vec<u8>> {
    let (filled, len) = (out.len(), index(len)?);
    out.reserve(len);
    let (count, part) = file.read_at(out.slice(filled..filled + len), at).await;
    if count? < len {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(part.into_inner())
}

fn index(position: u64) -> io::Result<usize> {
    usize::try_from(position).map_err(|_| io::ErrorKind::FileTooLarge.into())
}
