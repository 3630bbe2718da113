//! A tree of pages from sorted records.

use super::super::error::PackErrorKind;
use super::super::format::{LEVEL_MAX, PAGE_HEADER_LEN, PAGE_LEN_MAX, PageRef, page_checksum};
use super::super::page::PageKind;

/// Builds a page of a tree.
struct PageBuilder {
    kind: PageKind,
    level: u8,
    offsets: Vec<u16>,
    records: Vec<u8>,
}

/// A page that has been written, and the least key that may be under it.
struct Child {
    key: Vec<u8>,
    page: PageRef,
}

/// Puts a page, whose bytes are made once its position is known, behind what has been written.
type WritePage<'a> =
    dyn FnMut(&mut dyn FnMut(u64) -> Vec<u8>) -> Result<PageRef, PackErrorKind> + 'a;

/// Writes a tree of `records`, sorted by key, and gives the bytes of its root, at most `root_max`.
pub(super) fn build<'a>(
    kind: PageKind,
    records: impl Iterator<Item = (&'a [u8], Vec<u8>)>,
    root_max: usize,
    root_position: u64,
    write: &mut WritePage<'_>,
) -> Result<Vec<u8>, PackErrorKind> {
    let mut page = PageBuilder::new(kind, 0);
    let mut children = Vec::new();
    let (mut first, mut last) = (Vec::new(), Vec::new());
    for (key, value) in records {
        if !page.has_room(key, &value) {
            let full = std::mem::replace(&mut page, PageBuilder::new(kind, 0));
            let written = write(&mut |position| full.encode(position))?;
            children.push(Child {
                key: std::mem::replace(&mut first, separator(&last, key)),
                page: written,
            });
        }
        page.push(key, &value);
        last.clear();
        last.extend_from_slice(key);
    }
    for level in 0..=LEVEL_MAX {
        if children.is_empty() && page.len() <= root_max {
            return Ok(page.encode(root_position));
        }
        let written = write(&mut |position| page.encode(position))?;
        children.push(Child {
            key: first,
            page: written,
        });
        first = Vec::new();
        page = PageBuilder::new(kind, level + 1);
        for child in std::mem::take(&mut children) {
            let mut value = child.page.position.to_le_bytes().to_vec();
            value.extend_from_slice(&child.page.len.to_le_bytes());
            let mut key = child.key;
            if !page.has_room(&key, &value) {
                let full = std::mem::replace(&mut page, PageBuilder::new(kind, level + 1));
                let written = write(&mut |position| full.encode(position))?;
                children.push(Child {
                    key: std::mem::replace(&mut first, std::mem::take(&mut key)),
                    page: written,
                });
            }
            page.push(&key, &value);
        }
    }
    Err(PackErrorKind::Limit("the directory has too many levels"))
}

/// Gives the shortest prefix of `right` that is greater than `left`.
fn separator(left: &[u8], right: &[u8]) -> Vec<u8> {
    let common = left.iter().zip(right).take_while(|(a, b)| a == b).count();
    right[..common + 1].to_vec()
}

impl PageBuilder {
    fn new(kind: PageKind, level: u8) -> Self {
        Self {
            kind,
            level,
            offsets: Vec::new(),
            records: Vec::new(),
        }
    }

    fn len(&self) -> usize {
        PAGE_HEADER_LEN + 2 * self.offsets.len() + self.records.len()
    }

    fn has_room(&self, key: &[u8], value: &[u8]) -> bool {
        self.len() + 2 + 2 + key.len() + value.len() <= PAGE_LEN_MAX
    }

    fn push(&mut self, key: &[u8], value: &[u8]) {
        let offset = u16::try_from(self.records.len()).expect("a page is short");
        let key_len = u16::try_from(key.len()).expect("a key is short");
        self.offsets.push(offset);
        self.records.extend_from_slice(&key_len.to_le_bytes());
        self.records.extend_from_slice(key);
        self.records.extend_from_slice(value);
    }

    fn encode(&self, position: u64) -> Vec<u8> {
        let begin = PAGE_HEADER_LEN + 2 * self.offsets.len();
        let mut body = Vec::with_capacity(self.len() - PAGE_HEADER_LEN);
        for offset in &self.offsets {
            let offset = usize::from(*offset) + begin;
            let offset = u16::try_from(offset).expect("a page is short");
            body.extend_from_slice(&offset.to_le_bytes());
        }
        body.extend_from_slice(&self.records);
        encode_page(
            self.kind,
            self.level,
            self.offsets.len(),
            0,
            position,
            &body,
        )
    }
}

/// Gives the bytes of a page of `count` records.
pub(super) fn encode_page(
    kind: PageKind,
    level: u8,
    count: usize,
    first_row: u64,
    position: u64,
    body: &[u8],
) -> Vec<u8> {
    let len = u32::try_from(PAGE_HEADER_LEN + body.len()).expect("a page is short");
    let count = u16::try_from(count).expect("a page is short");
    let mut page = vec![kind as u8, level];
    page.extend_from_slice(&count.to_le_bytes());
    page.extend_from_slice(&len.to_le_bytes());
    page.extend_from_slice(&0_u64.to_le_bytes());
    page.extend_from_slice(&position.to_le_bytes());
    page.extend_from_slice(&first_row.to_le_bytes());
    page.extend_from_slice(body);
    let sum = page_checksum(&page);
    page[8..16].copy_from_slice(&sum.to_le_bytes());
    page
}
