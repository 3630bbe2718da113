//! Pages: their bytes checked once, then searched. Pure.

use std::fmt;

use super::error::PackErrorKind;
use super::format::{
    Fields, Header, LEVEL_MAX, PAGE_HEADER_LEN, PAGE_LEN_MAX, PageRef, ROW_LEN, Row, page_checksum,
};

/// What a page is of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum PageKind {
    Paths = 1,
    Hashes = 2,
    Table = 3,
}

/// A page whose form has been checked; what its values say has not.
pub(super) struct Page {
    bytes: Box<[u8]>,
    position: u64,
    level: u8,
    count: usize,
}

/// What is expected of a page by whoever points to it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Expected {
    pub(super) kind: PageKind,
    /// `None` for a root: any level is fine, and no records are.
    pub(super) level: Option<u8>,
    pub(super) first_row: u64,
}

impl Page {
    /// Checks the bytes that were read for the page at `at`.
    pub(super) fn decode(
        bytes: Vec<u8>,
        at: PageRef,
        expected: Expected,
    ) -> Result<Self, PackErrorKind> {
        let bad = PackErrorKind::Directory;
        if bytes.len() != at.len as usize || !is_page_len(at.len) {
            return Err(bad("page is cut off"));
        }
        let mut fields = Fields::new(&bytes);
        let (kind, level) = (fields.u8(), fields.u8());
        let (count, len) = (fields.u16(), fields.u32());
        let (declared, position, first_row) = (fields.u64(), fields.u64(), fields.u64());
        let actual = page_checksum(&bytes);
        if declared != actual {
            return Err(PackErrorKind::Checksum { declared, actual });
        }
        if kind != expected.kind as u8 || len != at.len || position != at.position {
            return Err(bad("page is another one than expected"));
        }
        if level > LEVEL_MAX || expected.level.is_some_and(|expected| expected != level) {
            return Err(bad("page of a wrong level"));
        }
        if first_row != expected.first_row {
            return Err(bad("page of other rows"));
        }
        let page = Self {
            bytes: bytes.into(),
            position,
            level,
            count: count.into(),
        };
        let empty_leaf = expected.level.is_none() && level == 0;
        if page.count == 0 && !empty_leaf {
            return Err(bad("page is empty"));
        }
        let form = match expected.kind {
            PageKind::Table => page.check_table(),
            PageKind::Paths | PageKind::Hashes => page.check_tree(),
        };
        form.map_err(bad)?;
        Ok(page)
    }

    fn check_table(&self) -> Result<(), &'static str> {
        if self.bytes.len() != PAGE_HEADER_LEN + self.count * ROW_LEN {
            return Err("table page of a wrong length");
        }
        Ok(())
    }

    fn check_tree(&self) -> Result<(), &'static str> {
        let records = PAGE_HEADER_LEN + 2 * self.count;
        if records > self.bytes.len() {
            return Err("page has more records than room");
        }
        let mut end = records;
        let mut last: Option<&[u8]> = None;
        for index in 0..self.count {
            if self.offset(index) != end {
                return Err("records of a page are not in order");
            }
            end = self.end(index);
            let record = self.bytes.get(self.offset(index)..end);
            let Some((key_len, rest)) = record.and_then(|r| r.split_first_chunk::<2>()) else {
                return Err("record is cut off");
            };
            let Some((key, value)) = rest.split_at_checked(u16::from_le_bytes(*key_len).into())
            else {
                return Err("key is cut off");
            };
            if last.is_some_and(|last| last >= key) {
                return Err("keys of a page are not in order");
            }
            if self.level > 0 && (value.len() != 12 || (index == 0) != key.is_empty()) {
                return Err("bad record of an inner page");
            }
            last = Some(key);
        }
        if end != self.bytes.len() {
            return Err("page goes on past its records");
        }
        Ok(())
    }

    pub(super) fn position(&self) -> u64 {
        self.position
    }

    pub(super) fn level(&self) -> u8 {
        self.level
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    fn offset(&self, index: usize) -> usize {
        let at = PAGE_HEADER_LEN + 2 * index;
        u16::from_le_bytes([self.bytes[at], self.bytes[at + 1]]).into()
    }

    fn end(&self, index: usize) -> usize {
        if index + 1 < self.count {
            self.offset(index + 1)
        } else {
            self.bytes.len()
        }
    }

    /// Gives a record of a tree's page: its key and its value.
    pub(super) fn record(&self, index: usize) -> (&[u8], &[u8]) {
        let record = &self.bytes[self.offset(index)..self.end(index)];
        let key_len = usize::from(u16::from_le_bytes([record[0], record[1]]));
        record[2..].split_at(key_len)
    }

    /// Finds the number of records whose key is less than `key`.
    pub(super) fn lower_bound(&self, key: &[u8]) -> usize {
        self.partition(|other| other < key)
    }

    /// Finds the child under which `key` is.
    pub(super) fn child_of(&self, key: &[u8]) -> usize {
        // The first key is empty, and not greater than any.
        self.partition(|other| other <= key).saturating_sub(1)
    }

    fn partition(&self, is_before: impl Fn(&[u8]) -> bool) -> usize {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            if is_before(self.record(middle).0) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// Gives where a child of an inner page is.
    pub(super) fn child(&self, index: usize, header: &Header) -> Result<PageRef, PackErrorKind> {
        let mut fields = Fields::new(self.record(index).1);
        let child = PageRef {
            position: fields.u64(),
            len: fields.u32(),
        };
        let end = child.position.checked_add(child.len.into());
        let inside =
            child.position >= header.data_end && end.is_some_and(|end| end <= header.file_len);
        if !inside || !is_page_len(child.len) {
            return Err(PackErrorKind::Directory(
                "child page is outside of the directory",
            ));
        }
        Ok(child)
    }

    /// Gives a row of a table's page, of a block of `raw_len` bytes.
    pub(super) fn row(
        &self,
        index: usize,
        header: &Header,
        raw_len: u64,
    ) -> Result<Row, PackErrorKind> {
        let at = PAGE_HEADER_LEN + index * ROW_LEN;
        let row = self.bytes.get(at..at + ROW_LEN);
        let row = row.ok_or(PackErrorKind::Directory("table page has too few rows"))?;
        Row::decode(row, header, raw_len)
    }
}

fn is_page_len(len: u32) -> bool {
    (PAGE_HEADER_LEN..=PAGE_LEN_MAX).contains(&(len as usize))
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Page")
            .field("level", &self.level)
            .field("count", &self.count)
            .finish_non_exhaustive()
    }
}
