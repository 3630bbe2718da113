//! Where an answer's bytes come from, and which way they go.
//!
//! Everything else asks a [`Content`] for ranges.
//!
//! | what | how it is read |
//! |---|---|
//! | parts of files up to 16 KiB | straight behind the head, on the ring |
//! | longer parts of files | `sendfile`, from the page cache to the socket |
//! | stored entries of archives, and contents that lie in their pack as they are | as files |
//! | local headers and deflated entries of archives | through the queue, inflated off the core |
//! | compressed contents of packs | through the queue, decompressed by the pool |
//!
//! Files of folders come open from [`super::open_files`]. A head goes out in one segment with the
//! beginning of its file: by `MSG_MORE`, or, with longer parts, under `TCP_CORK`.
//!
//! What is a file goes past the queue on purpose: it is sent without being read into memory, and
//! a hot one costs no more for there being a queue. [`crate::priority`] chooses the class of what
//! is queued.

use std::io;
use std::rc::Rc;

use blobio::NativeFileAsyncBlobRandomReader as Reader;
use blobio::pack::zip::{Extent, Method};
use blobio::queue::Class;
use bytes::Bytes;
use corelane::buf::IoBuf as _;

use super::blocks::{self, BlockStream};
use super::catalogue::{Item, PackEntry, Zipped};
use super::inflate::{self, InflateStream};
use super::mounting::PackRoot;
use super::wire::Wire;
use super::worker::Worker;
use crate::http::range::ByteRange;
use crate::plan::{Body, Resource};

/// Parts of files up to this length are read behind the head and sent with it; longer ones go
/// from the page cache to the socket.
const READ_MAX: u64 = 16 * 1024;

/// Parts of files up to this length go out as their pages come. Longer ones under `TCP_CORK`, in full
/// segments: the kernel takes a sixth less time for 1 MiB then, but a quarter more for 64 KiB.
const UNCORKED_MAX: u64 = 256 * 1024;

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
pub(super) enum Content {
    /// From this position of a file on.
    File(Reader, u64),
    /// At hand.
    Memory(Bytes),
    /// Inflated as they are sent.
    Stream(InflateStream),
    /// Decompressed block by block as they are sent.
    Blocks(BlockStream),
}

/// Why something that is there cannot be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// Not now: memory or descriptors are short, somebody has a lease on the file, or an archive was
    /// changed and is not read anew.
    Overloaded,
    /// It cannot be read.
    Broken,
}

impl Source<'_> {
    /// Makes the bytes that `body` asks for ready to be sent, read in this class where they are
    /// queued.
    pub(super) async fn open(
        self,
        worker: &Rc<Worker>,
        body: &Body,
        class: Class,
    ) -> Result<Content, Failure> {
        let (pack, entry) = match self {
            Self::File(file) => return Ok(Content::File(file, 0)),
            Self::Memory(bytes) => return Ok(Content::Memory(bytes)),
            Self::Entry(pack, entry) => (pack, entry),
        };
        match &entry.item {
            Item::Zipped(zipped) if zipped.entry.method() == Method::Stored => {
                let extent = locate(worker, pack, zipped, class).await?;
                let file = worker.packs[pack.index].file().reader().clone();
                Ok(Content::File(file, extent.offset))
            }
            Item::Zipped(zipped) => inflate::open(worker, pack, zipped, class).await,
            Item::Packed(packed) => blocks::open(worker, pack, packed, body, class).await,
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
            Self::Memory(_) | Self::Blocks(_) => COPY_MAX,
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
            Self::Blocks(stream) if gathers => {
                stream.seek(range);
                while let Some(chunk) = wire.bound(stream.next()).await? {
                    out.extend_from_slice(&chunk);
                    stream.reuse(chunk);
                }
                Ok(out)
            }
            Self::File(file, start) if range.len() <= UNCORKED_MAX => {
                let out = wire.send_head(out).await?;
                let (begin, end) = (*start + range.start, *start + range.end);
                wire.send_file(file.file(), begin..end).await?;
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
            Self::Blocks(stream) => {
                stream.seek(range);
                while let Some(chunk) = wire.bound(stream.next()).await? {
                    stream.reuse(wire.send(chunk).await?);
                }
                Ok(())
            }
        }
    }
}

/// Returns where an entry's data lies, reading its local header the first time.
async fn locate(
    worker: &Rc<Worker>,
    pack: &PackRoot,
    zipped: &Zipped,
    class: Class,
) -> Result<Extent, Failure> {
    if let Some(extent) = zipped.extent.get() {
        return Ok(*extent);
    }
    let archive = worker.packs[pack.index].zip(class)?;
    let located = archive.locate_async(&zipped.entry).await;
    let extent = located.map_err(|error| Failure::of(worker, &error))?;
    Ok(*zipped.extent.get_or_init(|| extent))
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
