//! An opened archive: its entries by name, and their data.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use super::catalogue::{Catalogue, Step};
use super::inflate::check_crc;
use super::reader::InflateReader;
use super::{Entry, Extent, Limits, Method, local};
use crate::error::{ArchiveError, ArchiveErrorKind};
use crate::slice::BlobSlice;
use crate::traits::{RandomReadBlob, RandomReadBlobAsync};
use crate::uninit;

/// The bytes of an entry that are looked at together when it is verified or read as a whole.
const CHUNK_LEN: usize = 64 << 10;

/// A zip archive whose entries are blobs.
///
/// Where two entries have one name, the last one counts and the others are left out.
/// Directories are left out as well.
///
/// ```no_run
/// use blobio::NativeFileBlobRandomReader;
/// use blobio::pack::zip::Archive;
///
/// let file = NativeFileBlobRandomReader::open("baseoa/pak0.pk3")?;
/// let pack = Archive::open(file, "pak0.pk3")?;
/// let shader = pack.read(pack.entry("scripts/base.shader")?)?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Archive<B> {
    blob: B,
    name: Arc<str>,
    archive_len: u64,
    entries: Arc<[Entry]>,
    index: Arc<HashMap<Arc<str>, usize>>,
}

/// The data of an entry.
#[derive(Debug)]
pub enum EntryData<B> {
    /// The content as it is: a range of the archive. Its checksum has not been checked.
    Stored(BlobSlice<B>),
    /// The content to be inflated as it is read, and checked at its end.
    Deflated(InflateReader<B>),
}

impl<B> Archive<B> {
    /// Gives the name the archive was opened under.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Gives the archive as the blob it is.
    pub fn blob(&self) -> &B {
        &self.blob
    }

    /// Gives this archive on another blob that has the same bytes: a reader of another core, for
    /// example. The catalogue is shared, not read again.
    pub fn on<C>(&self, blob: C) -> Archive<C> {
        Archive {
            blob,
            name: Arc::clone(&self.name),
            archive_len: self.archive_len,
            entries: Arc::clone(&self.entries),
            index: Arc::clone(&self.index),
        }
    }

    /// Gives the number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Says whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Gives the entries in the order of the catalogue.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = &Entry> {
        self.entries.iter()
    }

    /// Gives the entry of this name, if there is one.
    pub fn get(&self, name: &str) -> Option<&Entry> {
        self.index.get(name).map(|&index| &self.entries[index])
    }

    /// Gives the entry of this name.
    ///
    /// # Errors
    ///
    /// `NotFound` when there is none.
    pub fn entry(&self, name: &str) -> Result<&Entry, ArchiveError> {
        self.get(name)
            .ok_or_else(|| ArchiveError::of_entry(&self.name, name, ArchiveErrorKind::NotFound))
    }

    fn new(blob: B, name: Arc<str>, archive_len: u64, all: Vec<Entry>) -> Self {
        let mut index = HashMap::with_capacity(all.len());
        for (position, entry) in all.iter().enumerate() {
            index.insert(entry.shared_name(), position);
        }
        let mut entries = Vec::with_capacity(index.len());
        for (position, entry) in all.into_iter().enumerate() {
            if let Some(last) = index
                .get_mut(entry.name())
                .filter(|last| **last == position)
            {
                *last = entries.len();
                entries.push(entry);
            }
        }
        Self {
            blob,
            name,
            archive_len,
            entries: entries.into(),
            index: Arc::new(index),
        }
    }

    pub(crate) fn slice_of<C>(
        &self,
        blob: C,
        entry: &Entry,
        extent: Extent,
    ) -> Result<BlobSlice<C>, ArchiveError> {
        BlobSlice::new(blob, extent.offset, extent.len).map_err(|e| self.error(entry, e))
    }

    fn data_in<C>(
        &self,
        blob: C,
        entry: &Entry,
        extent: Extent,
    ) -> Result<EntryData<C>, ArchiveError> {
        let slice = self.slice_of(blob, entry, extent)?;
        Ok(match entry.method() {
            Method::Stored => EntryData::Stored(slice),
            _ => EntryData::Deflated(InflateReader::new(Arc::clone(&self.name), entry, slice)),
        })
    }

    pub(crate) fn check_stored(
        &self,
        entry: &Entry,
        actual: u64,
        crc: &crc32fast::Hasher,
    ) -> Result<(), ArchiveError> {
        let declared = entry.len();
        if actual != declared {
            return Err(self.error(entry, ArchiveErrorKind::TooShort { declared, actual }));
        }
        check_crc(entry.crc32(), crc).map_err(|kind| self.error(entry, kind))
    }

    pub(crate) fn error(&self, entry: &Entry, kind: impl Into<ArchiveErrorKind>) -> ArchiveError {
        ArchiveError::of_entry(&self.name, entry.name(), kind)
    }
}

impl<B: RandomReadBlob> Archive<B> {
    /// Reads the catalogue of the archive that `blob` is; errors will call it `name`.
    ///
    /// # Errors
    ///
    /// When `blob` cannot be read, is not a zip archive or exceeds the default [`Limits`].
    pub fn open(blob: B, name: &str) -> Result<Self, ArchiveError> {
        Self::open_with(blob, name, Limits::default())
    }

    /// Reads the catalogue of the archive that `blob` is, within `limits`.
    ///
    /// # Errors
    ///
    /// When `blob` cannot be read, is not a zip archive or exceeds the limits.
    pub fn open_with(blob: B, name: &str, limits: Limits) -> Result<Self, ArchiveError> {
        let (archive_len, entries) =
            read_catalogue(&blob, limits).map_err(|kind| ArchiveError::of_archive(name, kind))?;
        Ok(Self::new(blob, name.into(), archive_len, entries))
    }

    /// Finds the data of `entry` through its local header.
    ///
    /// # Errors
    ///
    /// When the archive cannot be read, the entry cannot be decoded, or catalogue, local header
    /// and archive contradict each other.
    pub fn locate(&self, entry: &Entry) -> Result<Extent, ArchiveError> {
        let find = || {
            local::check(entry, self.archive_len)?;
            let header = self
                .blob
                .read_vec(entry.header_offset(), local::HEADER_LEN)?;
            local::locate(entry, &header, self.archive_len)
        };
        find().map_err(|kind| self.error(entry, kind))
    }

    /// Opens `entry`, borrowing the archive.
    ///
    /// # Errors
    ///
    /// As [`locate`](Self::locate).
    pub fn data(&self, entry: &Entry) -> Result<EntryData<&B>, ArchiveError> {
        self.data_in(&self.blob, entry, self.locate(entry)?)
    }

    /// Opens `entry` on a clone of the archive's blob, so that the data may outlive the archive.
    ///
    /// # Errors
    ///
    /// As [`locate`](Self::locate).
    pub fn data_owned(&self, entry: &Entry) -> Result<EntryData<B>, ArchiveError>
    where
        B: Clone,
    {
        self.data_in(self.blob.clone(), entry, self.locate(entry)?)
    }

    /// Reads the content of `entry` and checks its checksum.
    ///
    /// # Errors
    ///
    /// As [`locate`](Self::locate), and when the content is not as declared or does not fit into
    /// memory.
    pub fn read(&self, entry: &Entry) -> Result<Vec<u8>, ArchiveError> {
        let data = self.data(entry)?;
        let len = usize::try_from(entry.len()).map_err(|_| {
            self.error(entry, std::io::Error::from(std::io::ErrorKind::OutOfMemory))
        })?;
        let mut reader = match data {
            EntryData::Stored(slice) => {
                let bytes = slice.read_vec(0, len).map_err(|e| self.error(entry, e))?;
                let mut crc = crc32fast::Hasher::new();
                crc.update(&bytes);
                self.check_stored(entry, bytes.len() as u64, &crc)?;
                return Ok(bytes);
            }
            EntryData::Deflated(reader) => reader,
        };
        let mut bytes = uninit::vec_with_room(len).map_err(|e| self.error(entry, e))?;
        loop {
            // Memory is touched as it is filled: the declared length may be a lie.
            let done = bytes.len();
            bytes.resize(len.min(done + CHUNK_LEN.max(done)), 0);
            let got = reader.next_bytes(&mut bytes[done..])?;
            bytes.truncate(done + got);
            if got == 0 {
                return Ok(bytes);
            }
        }
    }

    /// Reads the content of `entry` to check its length and checksum.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn verify(&self, entry: &Entry) -> Result<(), ArchiveError> {
        let mut chunk = vec![0; CHUNK_LEN];
        match self.data(entry)? {
            EntryData::Deflated(mut reader) => while reader.next_bytes(&mut chunk)? > 0 {},
            EntryData::Stored(slice) => {
                let mut crc = crc32fast::Hasher::new();
                let mut pos = 0;
                loop {
                    let got = slice
                        .read_slice(pos, &mut chunk)
                        .map_err(|e| self.error(entry, e))?;
                    if got == 0 {
                        break;
                    }
                    crc.update(&chunk[..got]);
                    pos += got as u64;
                }
                self.check_stored(entry, pos, &crc)?;
            }
        }
        Ok(())
    }
}

impl<B: RandomReadBlobAsync> Archive<B> {
    /// Reads the catalogue of the archive that `blob` is; errors will call it `name`.
    ///
    /// # Errors
    ///
    /// When `blob` cannot be read, is not a zip archive or exceeds the default [`Limits`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the blob; nothing else is lost.
    pub async fn open_async(blob: B, name: &str) -> Result<Self, ArchiveError> {
        Self::open_with_async(blob, name, Limits::default()).await
    }

    /// Reads the catalogue of the archive that `blob` is, within `limits`.
    ///
    /// # Errors
    ///
    /// When `blob` cannot be read, is not a zip archive or exceeds the limits.
    ///
    /// # Cancel safety
    ///
    /// As [`open_async`](Self::open_async).
    pub async fn open_with_async(
        blob: B,
        name: &str,
        limits: Limits,
    ) -> Result<Self, ArchiveError> {
        let (archive_len, entries) = read_catalogue_async(&blob, limits)
            .await
            .map_err(|kind| ArchiveError::of_archive(name, kind))?;
        Ok(Self::new(blob, name.into(), archive_len, entries))
    }

    /// Finds the data of `entry` through its local header.
    ///
    /// # Errors
    ///
    /// As [`locate`](Self::locate).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing behind.
    pub async fn locate_async(&self, entry: &Entry) -> Result<Extent, ArchiveError> {
        let find = async {
            local::check(entry, self.archive_len)?;
            let at = entry.header_offset();
            let read = self
                .blob
                .read_owned_async(at, local::HEADER_LEN, Vec::new());
            let (result, header) = read.await;
            result?;
            local::locate(entry, &header, self.archive_len)
        };
        find.await.map_err(|kind| self.error(entry, kind))
    }
}

/// Reads the length of an archive and its entries.
fn read_catalogue<B: RandomReadBlob>(
    blob: &B,
    limits: Limits,
) -> Result<(u64, Vec<Entry>), ArchiveErrorKind> {
    let archive_len = blob.byte_length()?;
    let mut step = Catalogue::start(archive_len, limits)?;
    loop {
        step = match step {
            Step::Done(entries) => return Ok((archive_len, entries)),
            Step::Read {
                catalogue,
                pos,
                len,
            } => catalogue.feed(pos, &blob.read_vec(pos, len)?)?,
        };
    }
}

/// Reads the length of an archive and its entries.
async fn read_catalogue_async<B: RandomReadBlobAsync>(
    blob: &B,
    limits: Limits,
) -> Result<(u64, Vec<Entry>), ArchiveErrorKind> {
    let archive_len = blob.byte_length_async().await?;
    let mut step = Catalogue::start(archive_len, limits)?;
    let mut buf = Vec::new();
    loop {
        step = match step {
            Step::Done(entries) => return Ok((archive_len, entries)),
            Step::Read {
                catalogue,
                pos,
                len,
            } => {
                let (result, bytes) = blob.read_owned_async(pos, len, buf).await;
                result?;
                let next = catalogue.feed(pos, &bytes)?;
                buf = bytes;
                next
            }
        };
    }
}

impl<B> fmt::Debug for Archive<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Archive")
            .field("name", &self.name)
            .field("archive_len", &self.archive_len)
            .field("entries", &self.entries.len())
            .finish_non_exhaustive()
    }
}
