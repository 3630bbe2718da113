//! Finding and listing in the trees, as steps that say which page they need next. Pure.

use std::ops::Bound;
use std::sync::Arc;

use super::entry::{Content, ContentHash, Entry};
use super::error::PackErrorKind;
use super::format::{HEAD_LEN, Header, PageRef, check_path};
use super::page::{Expected, Page, PageKind};

/// What opening a pack finds in its head.
#[derive(Debug)]
pub(super) struct Directory {
    pub(super) header: Header,
    paths: Arc<Page>,
    hashes: Arc<Page>,
}

/// A descent from a root to the leaf where a key is.
#[derive(Debug)]
pub(super) struct Descent {
    kind: PageKind,
    key: Vec<u8>,
    /// The least key that is in no page under the current one but to the right of it.
    upper: Option<Vec<u8>>,
}

/// What a descent comes to.
#[derive(Debug)]
pub(super) enum Step {
    /// The page to go on with.
    Page(PageRef, Expected),
    /// The leaf where the key is, or nowhere.
    Leaf(Arc<Page>),
}

/// A listing of keys from one on, in order.
#[derive(Debug)]
pub(super) struct Walk {
    kind: PageKind,
    key: Vec<u8>,
    inclusive: bool,
    left: usize,
    over: bool,
}

impl Directory {
    /// Reads the head of a pack of `blob_len` bytes; an error comes with its position.
    pub(super) fn decode(head: &[u8], blob_len: u64) -> Result<Self, (u64, PackErrorKind)> {
        let header = Header::decode(head, blob_len).map_err(|kind| (0, kind))?;
        if head.len() < HEAD_LEN {
            let (declared, actual) = (HEAD_LEN as u64, head.len() as u64);
            return Err((0, PackErrorKind::Truncated { declared, actual }));
        }
        let root = |at: PageRef, kind| {
            let begin = usize::try_from(at.position).unwrap_or(HEAD_LEN);
            let bytes = head[begin..].iter().take(at.len as usize);
            let expected = Expected {
                kind,
                level: None,
                first_row: 0,
            };
            let page = Page::decode(bytes.copied().collect(), at, expected);
            page.map(Arc::new).map_err(|kind| (at.position, kind))
        };
        Ok(Self {
            header,
            paths: root(header.path_root, PageKind::Paths)?,
            hashes: root(header.hash_root, PageKind::Hashes)?,
        })
    }

    /// Gives the root of a tree, which a descent begins with.
    pub(super) fn root(&self, kind: PageKind) -> Arc<Page> {
        Arc::clone(if kind == PageKind::Paths {
            &self.paths
        } else {
            &self.hashes
        })
    }

    /// Reads the record of an entry.
    pub(super) fn entry(&self, key: &[u8], value: &[u8]) -> Result<Entry, PackErrorKind> {
        let bad = PackErrorKind::Directory;
        let path = std::str::from_utf8(key).map_err(|_| bad("path is not UTF-8"))?;
        check_path(path).map_err(|_| bad("path of a form that entries do not have"))?;
        let (hash, value) = value
            .split_first_chunk::<32>()
            .ok_or_else(|| bad("record of an entry is too short"))?;
        let hash = ContentHash::from_bytes(*hash);
        Ok(Entry::new(
            path,
            Content::decode(hash, value, &self.header)?,
        ))
    }

    /// Reads the record of a content.
    pub(super) fn content(&self, key: &[u8], value: &[u8]) -> Result<Content, PackErrorKind> {
        let hash = key
            .try_into()
            .map_err(|_| PackErrorKind::Directory("hash is not 32 bytes long"))?;
        Content::decode(ContentHash::from_bytes(hash), value, &self.header)
    }
}

impl Descent {
    pub(super) fn new(kind: PageKind, key: &[u8]) -> Self {
        Self {
            kind,
            key: key.to_vec(),
            upper: None,
        }
    }

    pub(super) fn kind(&self) -> PageKind {
        self.kind
    }

    /// Goes on with the page that was asked for; with the root at first.
    pub(super) fn step(&mut self, page: Arc<Page>, header: &Header) -> Result<Step, PackErrorKind> {
        let Some(below) = page.level().checked_sub(1) else {
            return Ok(Step::Leaf(page));
        };
        let index = page.child_of(&self.key);
        if index + 1 < page.count() {
            let next = page.record(index + 1).0;
            if self.upper.as_deref().is_none_or(|upper| next < upper) {
                self.upper = Some(next.to_vec());
            }
        }
        let expected = Expected {
            kind: self.kind,
            level: Some(below),
            first_row: 0,
        };
        Ok(Step::Page(page.child(index, header)?, expected))
    }

    /// Gives the value of the key, which is in `leaf` if it is anywhere.
    pub(super) fn find<'a>(&self, leaf: &'a Page) -> Option<&'a [u8]> {
        let index = leaf.lower_bound(&self.key);
        let (key, value) = (index < leaf.count()).then(|| leaf.record(index))?;
        (key == self.key).then_some(value)
    }
}

impl Walk {
    pub(super) fn new(kind: PageKind, start: Bound<&[u8]>, max: usize) -> Self {
        let (key, inclusive) = match start {
            Bound::Included(key) => (key, true),
            Bound::Excluded(key) => (key, false),
            Bound::Unbounded => (&[][..], true),
        };
        Self {
            kind,
            key: key.to_vec(),
            inclusive,
            left: max,
            over: max == 0,
        }
    }

    /// Gives the descent to go on with, if there is more to list.
    pub(super) fn descent(&self) -> Option<Descent> {
        (!self.over).then(|| Descent::new(self.kind, &self.key))
    }

    /// Lists what is in the leaf that the descent came to.
    ///
    /// Keys grow with every record and every page, so that a listing ends whatever the pages say.
    pub(super) fn leaf(
        &mut self,
        leaf: &Page,
        descent: &Descent,
        mut each: impl FnMut(&[u8], &[u8]) -> Result<(), PackErrorKind>,
    ) -> Result<(), PackErrorKind> {
        let upper = descent.upper.as_deref();
        let mut index = leaf.lower_bound(&self.key);
        while index < leaf.count() {
            let (key, value) = leaf.record(index);
            index += 1;
            if !self.inclusive && key == self.key {
                continue;
            }
            if upper.is_some_and(|upper| key >= upper) {
                return Err(PackErrorKind::Directory("key is in the wrong page"));
            }
            each(key, value)?;
            self.left -= 1;
            if self.left == 0 {
                self.over = true;
                return Ok(());
            }
        }
        match upper {
            None => self.over = true,
            Some(upper) if upper > self.key.as_slice() => {
                self.key = upper.to_vec();
                self.inclusive = true;
            }
            Some(_) => return Err(PackErrorKind::Directory("pages are not in order")),
        }
        Ok(())
    }
}
