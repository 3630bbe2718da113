//! What is in an archive or a pack, read once at the start; and both as a worker reads them.

use std::collections::HashMap;
use std::io;
use std::ops::Bound;
use std::sync::OnceLock;

use blobio::NativeFileBlobRandomReader;
use blobio::decode::DecodePool;
use blobio::pack::chunked::{self, ContentHash, EntryBlob, Pack, PackError, PackErrorKind};
use blobio::pack::zip::{Archive, Entry, Extent, Method};
use blobio::queue::Class;

use super::queued::QueuedFile;
use super::source::Failure;
use crate::etag::{ETag, EntryIdentity, FileIdentity};
use crate::mounts::ArchiveIndex;

/// How many records of a pack are looked at together.
const BATCH_COUNT: usize = 1024;

/// A zip archive or a pack, with its catalogue.
#[derive(Debug)]
pub(super) enum Catalogue {
    Zip(Archive<NativeFileBlobRandomReader>),
    Chunked(Pack<NativeFileBlobRandomReader>),
}

/// The same as a worker reads it, on its own ring and through its own queue.
pub(super) enum WorkerPack {
    Zip(Archive<QueuedFile>),
    Chunked(Pack<QueuedFile>),
}

/// A file in an archive or a pack.
#[derive(Debug)]
pub(super) struct PackEntry {
    pub(super) item: Item,
    pub(super) etag: ETag,
}

/// What a file in an archive or a pack is read by.
#[derive(Debug)]
pub(super) enum Item {
    Zipped(Zipped),
    Packed(Packed),
}

/// An entry of a zip archive.
#[derive(Debug)]
pub(super) struct Zipped {
    pub(super) entry: Entry,
    /// Its place in the central directory. What that says of it may be said of no other, though
    /// another may lie in the same place.
    pub(super) number: usize,
    /// Where its data lies: in its local header, which is read when it is first asked for.
    pub(super) extent: OnceLock<Extent>,
}

/// A content of a pack, asked for by path or by hash.
#[derive(Debug)]
pub(super) enum Packed {
    Entry(chunked::Entry),
    Content(chunked::Content),
}

/// The contents of all packs by hash, with the number of the mount that has them.
pub(super) type Contents = HashMap<ContentHash, (usize, PackEntry)>;

impl Catalogue {
    /// Gives the archive or the pack on the current worker's file.
    pub(super) fn on(&self, file: QueuedFile) -> WorkerPack {
        match self {
            Self::Zip(archive) => WorkerPack::Zip(archive.on(file)),
            Self::Chunked(pack) => WorkerPack::Chunked(pack.on(file)),
        }
    }
}

impl WorkerPack {
    /// Gives the file.
    pub(super) fn file(&self) -> &QueuedFile {
        match self {
            Self::Zip(archive) => archive.blob(),
            Self::Chunked(pack) => pack.blob(),
        }
    }

    /// Gives the archive with reads of a class.
    ///
    /// # Errors
    /// When it is a pack, which its entries tell.
    pub(super) fn zip(&self, class: Class) -> Result<Archive<QueuedFile>, Failure> {
        match self {
            Self::Zip(archive) => Ok(archive.on(archive.blob().of_class(class))),
            Self::Chunked(_) => Err(Failure::Broken),
        }
    }

    /// Gives the pack with reads of a class.
    ///
    /// # Errors
    /// When it is a zip archive, which its entries tell.
    pub(super) fn chunked(&self, class: Class) -> Result<Pack<QueuedFile>, Failure> {
        match self {
            Self::Chunked(pack) => Ok(pack.on(pack.blob().of_class(class))),
            Self::Zip(_) => Err(Failure::Broken),
        }
    }
}

impl PackEntry {
    /// Returns the length in bytes, unpacked.
    pub(super) fn len(&self) -> u64 {
        match &self.item {
            Item::Zipped(zipped) => zipped.entry.len(),
            Item::Packed(packed) => packed.content().len(),
        }
    }

    fn packed(packed: Packed) -> Self {
        Self {
            etag: ETag::of_hash(packed.content().hash().as_bytes()),
            item: Item::Packed(packed),
        }
    }
}

impl Packed {
    pub(super) fn content(&self) -> &chunked::Content {
        match self {
            Self::Entry(entry) => entry.content(),
            Self::Content(content) => content,
        }
    }

    /// Gives the content as a blob; its errors name what was asked for.
    pub(super) fn data(&self, pack: &Pack<QueuedFile>) -> EntryBlob<QueuedFile> {
        match self {
            Self::Entry(entry) => pack.data_owned(entry),
            Self::Content(content) => pack.content_data_owned(content),
        }
    }
}

/// Reads the catalogue of a pack, whose blocks `pool` is to decompress; `None` when the file is
/// none.
///
/// # Errors
/// A line that names the file, when its directory cannot be read.
pub(super) fn open_chunked(
    file: NativeFileBlobRandomReader,
    name: &str,
    pool: impl FnOnce() -> io::Result<DecodePool>,
) -> Result<Option<(Catalogue, ArchiveIndex<PackEntry>)>, String> {
    let pack = match Pack::open(file, name) {
        Ok(pack) => pack,
        Err(error) if matches!(error.kind(), PackErrorKind::NotAPack) => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let mut entries = Vec::new();
    loop {
        let last = entries.last().map(chunked::Entry::path);
        let start = last.map_or(Bound::Unbounded, Bound::Excluded);
        let more = pack.list(start, BATCH_COUNT);
        let more = more.map_err(|error| error.to_string())?;
        if more.is_empty() {
            break;
        }
        entries.extend(more);
    }
    let named = entries.into_iter().map(|entry| {
        let name = entry.path().as_bytes().to_vec();
        (name, PackEntry::packed(Packed::Entry(entry)))
    });
    let index = ArchiveIndex::build(named);
    let pool = pool().map_err(|error| format!("cannot start threads to decompress: {error}"))?;
    let pack = pack.decode_on(pool, Class::default());
    Ok(Some((Catalogue::Chunked(pack), index)))
}

/// Reads the catalogue of a zip archive of this state.
///
/// # Errors
/// A line that names the file.
pub(super) fn open_zip(
    file: NativeFileBlobRandomReader,
    name: &str,
    identity: FileIdentity,
) -> Result<(Catalogue, ArchiveIndex<PackEntry>), String> {
    let archive = Archive::open(file, name).map_err(|error| error.to_string())?;
    let entries = archive
        .entries()
        .enumerate()
        .filter(|(_, entry)| is_servable(entry))
        .map(|(number, entry)| (entry.name().as_bytes(), zipped(identity, number, entry)));
    let index = ArchiveIndex::build(entries);
    Ok((Catalogue::Zip(archive), index))
}

/// Adds the contents of a pack, which is a mount of this number; those that are there stay.
///
/// # Errors
/// When the directory cannot be read.
pub(super) fn add_contents(
    catalogue: &Catalogue,
    mount: usize,
    contents: &mut Contents,
) -> Result<(), PackError> {
    let Catalogue::Chunked(pack) = catalogue else {
        return Ok(());
    };
    let mut last = None;
    loop {
        let start = last.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let more = pack.list_contents(start, BATCH_COUNT)?;
        let Some(content) = more.last() else {
            return Ok(());
        };
        last = Some(content.hash());
        for content in more {
            let entry = || (mount, PackEntry::packed(Packed::Content(content)));
            contents.entry(content.hash()).or_insert_with(entry);
        }
    }
}

/// Only what is a file and can be decoded is served; the rest does not shadow anything either.
fn is_servable(entry: &Entry) -> bool {
    let is_decodable = matches!(entry.method(), Method::Stored | Method::Deflated);
    is_decodable && !entry.is_encrypted() && !entry.is_symlink()
}

fn zipped(archive: FileIdentity, number: usize, entry: &Entry) -> PackEntry {
    let identity = EntryIdentity {
        archive,
        crc32: entry.crc32(),
        offset: entry.header_offset(),
        size: entry.len(),
    };
    PackEntry {
        etag: ETag::of_entry(&identity),
        item: Item::Zipped(Zipped {
            entry: entry.clone(),
            number,
            extent: OnceLock::new(),
        }),
    }
}
