//! Opening, finding and listing, blocking and not: the same steps over two kinds of reads.

use std::ops::Bound;
use std::sync::Arc;

use super::directory::{Descent, Step, Walk};
use super::entry::{Content, ContentHash, Entry};
use super::error::PackError;
use super::format::{HEAD_LEN, PageRef};
use super::pack::{Pack, PackOptions, Shared};
use super::page::{Expected, Page, PageKind};
use crate::traits::{RandomReadBlob, RandomReadBlobAsync, unexpected_eof};
use crate::uninit;

impl<B: RandomReadBlob> Pack<B> {
    /// Opens the pack that `blob` is, with one read; errors will call it `name`.
    ///
    /// # Errors
    ///
    /// When `blob` cannot be read, or its header or the roots of its directory are malformed.
    pub fn open(blob: B, name: &str) -> Result<Self, PackError> {
        Self::open_with(blob, name, PackOptions::default())
    }

    /// Opens the pack that `blob` is, with one read.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_with(blob: B, name: &str, options: PackOptions) -> Result<Self, PackError> {
        let fail = |e| PackError::new(&name.into(), e).at(0);
        let blob_len = blob.byte_length().map_err(fail)?;
        let head = blob.read_vec(0, uninit::clamp(HEAD_LEN, blob_len));
        Self::new(blob, name, options, &head.map_err(fail)?, blob_len)
    }

    /// Finds the entry of this path.
    ///
    /// # Errors
    ///
    /// `NotFound` when there is none; otherwise when the directory cannot be read or is malformed.
    pub fn entry(&self, path: &str) -> Result<Entry, PackError> {
        self.get(path)?.ok_or_else(|| self.not_found(path))
    }

    /// Finds the entry of this path, if there is one.
    ///
    /// # Errors
    ///
    /// When the directory cannot be read or is malformed.
    pub fn get(&self, path: &str) -> Result<Option<Entry>, PackError> {
        let mut descent = Descent::new(PageKind::Paths, path.as_bytes());
        let leaf = self.descend(&mut descent)?;
        self.shared().found_entry(path, &descent, &leaf)
    }

    /// Finds the content of this hash, if there is one.
    ///
    /// # Errors
    ///
    /// When the directory cannot be read or is malformed.
    pub fn content(&self, hash: &ContentHash) -> Result<Option<Content>, PackError> {
        let mut descent = Descent::new(PageKind::Hashes, hash.as_bytes());
        let leaf = self.descend(&mut descent)?;
        self.shared().found_content(hash, &descent, &leaf)
    }

    /// Lists up to `max` entries from `start` on, ordered by the bytes of their paths.
    ///
    /// To go on, start behind the last one's path.
    ///
    /// # Errors
    ///
    /// When the directory cannot be read or is malformed.
    pub fn list(&self, start: Bound<&str>, max: usize) -> Result<Vec<Entry>, PackError> {
        let mut walk = Walk::new(PageKind::Paths, start.map(str::as_bytes), max);
        let mut entries = Vec::new();
        while let Some(mut descent) = walk.descent() {
            let leaf = self.descend(&mut descent)?;
            let shared = self.shared();
            shared.list_entries(&mut walk, &descent, &leaf, &mut entries)?;
        }
        Ok(entries)
    }

    /// Lists up to `max` contents from `start` on, ordered by hash.
    ///
    /// # Errors
    ///
    /// When the directory cannot be read or is malformed.
    pub fn list_contents(
        &self,
        start: Bound<&ContentHash>,
        max: usize,
    ) -> Result<Vec<Content>, PackError> {
        let start = start.map(|hash| &hash.as_bytes()[..]);
        let mut walk = Walk::new(PageKind::Hashes, start, max);
        let mut contents = Vec::new();
        while let Some(mut descent) = walk.descent() {
            let leaf = self.descend(&mut descent)?;
            let shared = self.shared();
            shared.list_contents(&mut walk, &descent, &leaf, &mut contents)?;
        }
        Ok(contents)
    }

    fn descend(&self, descent: &mut Descent) -> Result<Arc<Page>, PackError> {
        let shared = self.shared();
        let mut page = shared.directory.root(descent.kind());
        loop {
            match shared.step(descent, page)? {
                Step::Leaf(leaf) => return Ok(leaf),
                Step::Page(at, expected) => page = read_page(self.blob(), shared, at, expected)?,
            }
        }
    }
}

impl<B: RandomReadBlobAsync> Pack<B> {
    /// Opens the pack that `blob` is, with one read; errors will call it `name`.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the blob; nothing else is lost.
    pub async fn open_async(blob: B, name: &str) -> Result<Self, PackError> {
        Self::open_with_async(blob, name, PackOptions::default()).await
    }

    /// Opens the pack that `blob` is, with one read.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    ///
    /// # Cancel safety
    ///
    /// As [`open_async`](Self::open_async).
    pub async fn open_with_async(
        blob: B,
        name: &str,
        options: PackOptions,
    ) -> Result<Self, PackError> {
        let fail = |e| PackError::new(&name.into(), e).at(0);
        let blob_len = blob.byte_length_async().await.map_err(fail)?;
        let len = uninit::clamp(HEAD_LEN, blob_len);
        let (result, head) = blob.read_owned_async(0, len, Vec::new()).await;
        result.map_err(fail)?;
        Self::new(blob, name, options, &head, blob_len)
    }

    /// Finds the entry of this path.
    ///
    /// # Errors
    ///
    /// As [`entry`](Self::entry).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing behind.
    pub async fn entry_async(&self, path: &str) -> Result<Entry, PackError> {
        let found = self.get_async(path).await?;
        found.ok_or_else(|| self.not_found(path))
    }

    /// Finds the entry of this path, if there is one.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing behind.
    pub async fn get_async(&self, path: &str) -> Result<Option<Entry>, PackError> {
        let mut descent = Descent::new(PageKind::Paths, path.as_bytes());
        let leaf = self.descend_async(&mut descent).await?;
        self.shared().found_entry(path, &descent, &leaf)
    }

    /// Finds the content of this hash, if there is one.
    ///
    /// # Errors
    ///
    /// As [`content`](Self::content).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing behind.
    pub async fn content_async(&self, hash: &ContentHash) -> Result<Option<Content>, PackError> {
        let mut descent = Descent::new(PageKind::Hashes, hash.as_bytes());
        let leaf = self.descend_async(&mut descent).await?;
        self.shared().found_content(hash, &descent, &leaf)
    }

    /// Lists up to `max` entries from `start` on, ordered by the bytes of their paths.
    ///
    /// # Errors
    ///
    /// As [`list`](Self::list).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing behind.
    pub async fn list_async(
        &self,
        start: Bound<&str>,
        max: usize,
    ) -> Result<Vec<Entry>, PackError> {
        let mut walk = Walk::new(PageKind::Paths, start.map(str::as_bytes), max);
        let mut entries = Vec::new();
        while let Some(mut descent) = walk.descent() {
            let leaf = self.descend_async(&mut descent).await?;
            let shared = self.shared();
            shared.list_entries(&mut walk, &descent, &leaf, &mut entries)?;
        }
        Ok(entries)
    }

    async fn descend_async(&self, descent: &mut Descent) -> Result<Arc<Page>, PackError> {
        let shared = self.shared();
        let mut page = shared.directory.root(descent.kind());
        loop {
            let (at, expected) = match shared.step(descent, page)? {
                Step::Leaf(leaf) => return Ok(leaf),
                Step::Page(at, expected) => (at, expected),
            };
            if let Some(known) = shared.known_page(at, expected) {
                page = known;
                continue;
            }
            let read = self
                .blob()
                .read_owned_async(at.position, at.len as usize, Vec::new());
            let (result, bytes) = read.await;
            result.map_err(|e| shared.error(e).at(at.position))?;
            page = shared.new_page(bytes, at, expected)?;
        }
    }
}

/// Gives a page of the directory, from the cache or the blob.
pub(super) fn read_page(
    blob: &impl RandomReadBlob,
    shared: &Shared,
    at: PageRef,
    expected: Expected,
) -> Result<Arc<Page>, PackError> {
    if let Some(page) = shared.known_page(at, expected) {
        return Ok(page);
    }
    let len = at.len as usize;
    let bytes = blob.read_vec(at.position, len).and_then(|bytes| {
        if bytes.len() < len {
            return Err(unexpected_eof(at.position, len as u64, bytes.len() as u64));
        }
        Ok(bytes)
    });
    let bytes = bytes.map_err(|e| shared.error(e).at(at.position))?;
    shared.new_page(bytes, at, expected)
}

impl Shared {
    fn step(&self, descent: &mut Descent, page: Arc<Page>) -> Result<Step, PackError> {
        let at = page.position();
        let step = descent.step(page, &self.directory.header);
        step.map_err(|kind| self.error(kind).at(at))
    }

    fn found_entry(
        &self,
        path: &str,
        descent: &Descent,
        leaf: &Page,
    ) -> Result<Option<Entry>, PackError> {
        let found = descent.find(leaf);
        let entry = found.map(|value| self.directory.entry(path.as_bytes(), value));
        let entry = entry.transpose();
        entry.map_err(|kind| self.error(kind).of_entry(path).at(leaf.position()))
    }

    fn found_content(
        &self,
        hash: &ContentHash,
        descent: &Descent,
        leaf: &Page,
    ) -> Result<Option<Content>, PackError> {
        let found = descent.find(leaf);
        let content = found.map(|value| self.directory.content(hash.as_bytes(), value));
        let content = content.transpose();
        let name = || hash.to_string();
        content.map_err(|kind| self.error(kind).of_entry(&name()).at(leaf.position()))
    }

    fn list_entries(
        &self,
        walk: &mut Walk,
        descent: &Descent,
        leaf: &Page,
        entries: &mut Vec<Entry>,
    ) -> Result<(), PackError> {
        let listed = walk.leaf(leaf, descent, |key, value| {
            entries.push(self.directory.entry(key, value)?);
            Ok(())
        });
        listed.map_err(|kind| self.error(kind).at(leaf.position()))
    }

    fn list_contents(
        &self,
        walk: &mut Walk,
        descent: &Descent,
        leaf: &Page,
        contents: &mut Vec<Content>,
    ) -> Result<(), PackError> {
        let listed = walk.leaf(leaf, descent, |key, value| {
            contents.push(self.directory.content(key, value)?);
            Ok(())
        });
        listed.map_err(|kind| self.error(kind).at(leaf.position()))
    }
}
