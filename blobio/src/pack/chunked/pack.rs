//! An opened pack: what is shared by its blocking and its asynchronous form.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::cache::PageCache;
use super::data::EntryBlob;
use super::directory::Directory;
use super::entry::{Content, Entry};
use super::error::{PackError, PackErrorKind};
use super::format::PageRef;
use super::page::{Expected, Page};
use crate::decode::DecodePool;
use crate::queue::Class;

/// A pack whose entries are blobs.
///
/// On a blob that is read by blocking the methods without suffix work, on an asynchronous one those
/// that end in `_async`.
///
/// ```
/// use blobio::pack::chunked::{BuildOptions, Pack, PackWriter};
/// use blobio::{MemoryBlob, RandomReadBlob};
///
/// let memory = std::io::Cursor::new(Vec::new());
/// let mut writer = PackWriter::new(memory, "hello.clpk", BuildOptions::default())?;
/// writer.add("greetings/world", &b"hello, world"[..])?;
/// let (memory, _) = writer.finish()?;
///
/// let pack = Pack::open(MemoryBlob::new(memory.into_inner()), "hello.clpk")?;
/// let entry = pack.entry("greetings/world")?;
/// assert_eq!(pack.data(&entry).read_vec(7, 100)?, b"world");
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Pack<B> {
    blob: B,
    shared: Arc<Shared>,
    decoder: Option<Decoder>,
}

/// How a pack is read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PackOptions {
    /// The most pages of the directory that are kept besides the roots, of at most 16 KiB each.
    pub pages_max: usize,
    /// Whether reading a content that is stored as it is checks it, for which whole blocks are
    /// read. Otherwise just what is asked for is read, and nothing is checked.
    pub check_plain: bool,
}

/// What was read of a pack, by all that share it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct PackStats {
    /// Pages of the directory that were read; those found in the cache are not counted.
    pub pages_read: u64,
    /// Blocks that were read, checked and decompressed.
    pub blocks_decoded: u64,
    /// Stored bytes of blocks that were read.
    pub stored_len: u64,
    /// Bytes that these blocks gave.
    pub raw_len: u64,
    /// Bytes of contents that were read straight, without a check.
    pub straight_len: u64,
}

/// Where blocks are decompressed.
#[derive(Clone, Debug)]
pub(super) struct Decoder {
    pub(super) pool: DecodePool,
    pub(super) class: Class,
}

/// What a pack on any blob shares.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) name: Arc<str>,
    pub(super) directory: Directory,
    pub(super) options: PackOptions,
    pages: PageCache,
    pub(super) counters: Counters,
}

/// Counts for [`PackStats`]: they order nothing.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) pages_read: AtomicU64,
    pub(super) blocks_decoded: AtomicU64,
    pub(super) stored_len: AtomicU64,
    pub(super) raw_len: AtomicU64,
    pub(super) straight_len: AtomicU64,
}

impl PackOptions {
    /// The default for [`pages_max`](Self::pages_max): 1 MiB of pages.
    pub const PAGES_MAX: usize = 64;
}

impl Default for PackOptions {
    fn default() -> Self {
        Self {
            pages_max: Self::PAGES_MAX,
            check_plain: true,
        }
    }
}

impl<B> Pack<B> {
    pub(super) fn new(
        blob: B,
        name: &str,
        options: PackOptions,
        head: &[u8],
        blob_len: u64,
    ) -> Result<Self, PackError> {
        let name: Arc<str> = name.into();
        let directory = Directory::decode(head, blob_len)
            .map_err(|(at, kind)| PackError::new(&name, kind).at(at))?;
        let shared = Shared {
            name,
            directory,
            options,
            pages: PageCache::new(options.pages_max),
            counters: Counters::default(),
        };
        Ok(Self {
            blob,
            shared: Arc::new(shared),
            decoder: None,
        })
    }

    /// Decompresses blocks for asynchronous reads on `pool`, in this class, instead of where
    /// they are read.
    #[must_use]
    pub fn decode_on(mut self, pool: DecodePool, class: Class) -> Self {
        self.decoder = Some(Decoder { pool, class });
        self
    }

    /// Gives this pack on another blob that has the same bytes: a reader of another core, for
    /// example. The directory and what is kept of it are shared, not read again.
    pub fn on<C>(&self, blob: C) -> Pack<C> {
        Pack {
            blob,
            shared: Arc::clone(&self.shared),
            decoder: self.decoder.clone(),
        }
    }

    /// Gives the name that the pack was opened under.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Gives the pack as the blob it is.
    pub fn blob(&self) -> &B {
        &self.blob
    }

    /// Gives the number of entries.
    pub fn len(&self) -> u64 {
        self.shared.directory.header.entry_count
    }

    /// Says whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Gives the number of different contents.
    pub fn content_count(&self) -> u64 {
        self.shared.directory.header.content_count
    }

    /// Gives the length of a block in bytes.
    pub fn block_len(&self) -> u64 {
        self.shared.directory.header.block_len()
    }

    /// Gives what contents of more than one block that lie as they are, are aligned to, in bytes.
    pub fn align(&self) -> u64 {
        1 << self.shared.directory.header.align_log2
    }

    /// Says what was read of the pack so far, on whichever blob.
    pub fn stats(&self) -> PackStats {
        let counters = &self.shared.counters;
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        PackStats {
            pages_read: get(&counters.pages_read),
            blocks_decoded: get(&counters.blocks_decoded),
            stored_len: get(&counters.stored_len),
            raw_len: get(&counters.raw_len),
            straight_len: get(&counters.straight_len),
        }
    }

    /// Gives the data of `entry` as a blob that borrows this pack's.
    pub fn data(&self, entry: &Entry) -> EntryBlob<&B> {
        self.data_of(&self.blob, entry.shared_path(), entry.content())
    }

    /// Gives the data of `entry` on a clone of the pack's blob, so that it may outlive the pack.
    pub fn data_owned(&self, entry: &Entry) -> EntryBlob<B>
    where
        B: Clone,
    {
        self.data_of(self.blob.clone(), entry.shared_path(), entry.content())
    }

    /// Gives the data of `content` as a blob that borrows this pack's.
    pub fn content_data(&self, content: &Content) -> EntryBlob<&B> {
        let name = content.hash().to_string().into();
        self.data_of(&self.blob, name, content)
    }

    /// Gives the data of `content` on a clone of the pack's blob.
    pub fn content_data_owned(&self, content: &Content) -> EntryBlob<B>
    where
        B: Clone,
    {
        let name = content.hash().to_string().into();
        self.data_of(self.blob.clone(), name, content)
    }

    fn data_of<C>(&self, blob: C, name: Arc<str>, content: &Content) -> EntryBlob<C> {
        let shared = Arc::clone(&self.shared);
        EntryBlob::new(blob, shared, name, *content, self.decoder.clone())
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    pub(super) fn not_found(&self, name: &str) -> PackError {
        PackError::new(&self.shared.name, PackErrorKind::NotFound).of_entry(name)
    }
}

impl Shared {
    pub(super) fn error(&self, kind: impl Into<PackErrorKind>) -> PackError {
        PackError::new(&self.name, kind)
    }

    /// Gives a page that was read lately.
    pub(super) fn known_page(&self, at: PageRef, expected: Expected) -> Option<Arc<Page>> {
        self.pages.get(at, expected)
    }

    /// Checks and keeps a page that was read.
    pub(super) fn new_page(
        &self,
        bytes: Vec<u8>,
        at: PageRef,
        expected: Expected,
    ) -> Result<Arc<Page>, PackError> {
        count(&self.counters.pages_read, 1);
        let page =
            Page::decode(bytes, at, expected).map_err(|kind| self.error(kind).at(at.position))?;
        let page = Arc::new(page);
        self.pages.put(at, expected, &page);
        Ok(page)
    }
}

pub(super) fn count(counter: &AtomicU64, by: usize) {
    counter.fetch_add(by as u64, Ordering::Relaxed);
}

impl<B: Clone> Clone for Pack<B> {
    fn clone(&self) -> Self {
        self.on(self.blob.clone())
    }
}

impl<B> fmt::Debug for Pack<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pack")
            .field("name", &self.shared.name)
            .field("entries", &self.len())
            .finish_non_exhaustive()
    }
}
