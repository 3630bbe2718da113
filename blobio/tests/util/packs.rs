//! Packs in memory for the tests.

use std::io::Cursor;
use std::ops::Bound;
use std::sync::Arc;

use blobio::pack::chunked::{BuildOptions, Compression, Pack, PackError, PackWriter, Summary};
use blobio::{BlobMetadata, MemoryBlob, RandomReadBlob};

pub(crate) type Memory = MemoryBlob<Arc<[u8]>>;

/// Options that use one thread, so that small tests start none.
pub(crate) fn options(compression: Compression) -> BuildOptions {
    BuildOptions {
        compression,
        threads: 1.try_into().unwrap(),
        ..BuildOptions::default()
    }
}

/// Builds a pack of these entries.
pub(crate) fn pack_of<P: AsRef<str>, C: AsRef<[u8]>>(
    entries: &[(P, C)],
    options: BuildOptions,
) -> (Vec<u8>, Summary) {
    let mut writer = PackWriter::new(Cursor::new(Vec::new()), "test.clpk", options).unwrap();
    for (path, content) in entries {
        writer.add(path.as_ref(), content.as_ref()).unwrap();
    }
    let (out, summary) = writer.finish().unwrap();
    (out.into_inner(), summary)
}

pub(crate) fn open(bytes: &[u8]) -> Result<Pack<Memory>, PackError> {
    Pack::open(MemoryBlob::new(Arc::from(bytes)), "test.clpk")
}

/// Reads all of an entry by its path.
pub(crate) fn read<B: RandomReadBlob>(pack: &Pack<B>, path: &str) -> std::io::Result<Vec<u8>> {
    let entry = pack.entry(path)?;
    pack.data(&entry).read_to_end(0)
}

/// Lists the paths of a pack, `batch` at a time.
pub(crate) fn paths<B: RandomReadBlob>(
    pack: &Pack<B>,
    batch: usize,
) -> Result<Vec<String>, PackError> {
    let mut paths: Vec<String> = Vec::new();
    loop {
        let last = paths.last().cloned();
        let start = last.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let entries = pack.list(start, batch)?;
        assert!(entries.len() <= batch);
        if entries.is_empty() {
            return Ok(paths);
        }
        paths.extend(entries.iter().map(|entry| entry.path().to_owned()));
    }
}

/// Text that compresses.
pub(crate) fn text(len: usize) -> Vec<u8> {
    let lines = (0_u32..).flat_map(|n| format!("line {n} of the text\n").into_bytes());
    lines.take(len).collect()
}

/// A blob that counts what is read of it.
#[derive(Debug)]
pub(crate) struct Counting<B> {
    pub(crate) inner: B,
    pub(crate) reads: std::sync::atomic::AtomicUsize,
}

impl<B> Counting<B> {
    pub(crate) fn new(inner: B) -> Self {
        let reads = std::sync::atomic::AtomicUsize::new(0);
        Self { inner, reads }
    }

    /// Gives the reads since the last call.
    pub(crate) fn take(&self) -> usize {
        self.reads.swap(0, std::sync::atomic::Ordering::Relaxed)
    }
}

impl<B: BlobMetadata> BlobMetadata for Counting<B> {
    fn byte_length(&self) -> std::io::Result<u64> {
        self.inner.byte_length()
    }
}

impl<B: RandomReadBlob> RandomReadBlob for Counting<B> {
    fn read_slice(&self, pos: u64, buf: &mut [u8]) -> std::io::Result<usize> {
        self.reads
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.inner.read_slice(pos, buf)
    }
}

/// A position as an index.
pub(crate) fn index(position: u64) -> usize {
    usize::try_from(position).unwrap()
}
