//! The pieces of `docs/pack-format.md` as values, and their bytes. Pure.

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::error::PackErrorKind;
use crate::decode::Codec;

/// The first bytes of a pack.
pub(super) const MAGIC: [u8; 8] = *b"\x89CLPK\r\n\x1a";
/// The version of the format that is written, and the only major one that is read.
pub(super) const VERSION: (u16, u16) = (1, 0);
/// The length of the header.
pub(super) const HEADER_LEN: usize = 128;
/// The header and the root pages; what opening a pack reads.
pub(super) const HEAD_LEN: usize = 16 << 10;
/// The longest page.
pub(super) const PAGE_LEN_MAX: usize = 16 << 10;
/// What a page begins with.
pub(super) const PAGE_HEADER_LEN: usize = 32;
/// The highest level of a tree's page.
pub(super) const LEVEL_MAX: u8 = 7;
/// The length of a row.
pub(super) const ROW_LEN: usize = 24;
/// The rows of every table page but the last.
pub(super) const ROWS_PER_PAGE: usize = (PAGE_LEN_MAX - PAGE_HEADER_LEN) / ROW_LEN;
/// The longest path.
pub(super) const PATH_LEN_MAX: usize = 1024;
/// The longest content.
pub(super) const CONTENT_LEN_MAX: u64 = (1 << 48) - 1;
/// The most entries.
pub(super) const ENTRIES_MAX: u64 = u32::MAX as u64;
/// The most rows.
pub(super) const ROWS_MAX: u64 = (1 << 40) - 1;
/// The longest pack.
const FILE_LEN_MAX: u64 = (1 << 62) - 1;
/// The least that an entry takes in a page.
const ENTRY_LEN_MIN: u64 = 53;

/// The bits of `features_required` that are known.
pub(super) const FEATURE_LZ4: u32 = 1;
pub(super) const FEATURE_ZSTD: u32 = 2;

const _: () = {
    assert!(ROWS_PER_PAGE == 681);
    assert!(HEADER_LEN + 2 * PAGE_HEADER_LEN < HEAD_LEN);
    // A page holds many records, so that every level is far smaller than the one below.
    assert!(PAGE_LEN_MAX / (PATH_LEN_MAX + 128) >= 8);
};

/// The checksum of blocks and of the header.
pub(super) fn checksum(bytes: &[u8]) -> u64 {
    xxh3_64(bytes)
}

/// The checksum of a page: its own field counts as zero.
pub(super) fn page_checksum(page: &[u8]) -> u64 {
    let mut hasher = Xxh3::new();
    hasher.update(&page[..8]);
    hasher.update(&[0; 8]);
    hasher.update(&page[16..]);
    hasher.digest()
}

/// Where a page is.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct PageRef {
    pub(super) position: u64,
    pub(super) len: u32,
}

/// The header, checked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Header {
    pub(super) features_required: u32,
    pub(super) block_len_log2: u8,
    pub(super) align_log2: u8,
    pub(super) file_len: u64,
    pub(super) data_end: u64,
    pub(super) entry_count: u64,
    pub(super) content_count: u64,
    pub(super) row_count: u64,
    pub(super) table_position: u64,
    pub(super) path_root: PageRef,
    pub(super) hash_root: PageRef,
    pub(super) content_len: u64,
}

impl Header {
    pub(super) fn block_len(&self) -> u64 {
        1 << self.block_len_log2
    }

    pub(super) fn encode(&self) -> [u8; HEADER_LEN] {
        let mut bytes = Vec::with_capacity(HEADER_LEN);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.0.to_le_bytes());
        bytes.extend_from_slice(&VERSION.1.to_le_bytes());
        bytes.extend_from_slice(&self.features_required.to_le_bytes());
        bytes.extend_from_slice(&0_u32.to_le_bytes());
        bytes.extend_from_slice(&[self.block_len_log2, self.align_log2, 0, 0]);
        for field in [
            self.file_len,
            self.data_end,
            self.entry_count,
            self.content_count,
            self.row_count,
            self.table_position,
        ] {
            bytes.extend_from_slice(&field.to_le_bytes());
        }
        for root in [self.path_root, self.hash_root] {
            let position = u32::try_from(root.position).expect("a root is in the head");
            bytes.extend_from_slice(&position.to_le_bytes());
            bytes.extend_from_slice(&root.len.to_le_bytes());
        }
        bytes.extend_from_slice(&self.content_len.to_le_bytes());
        bytes.resize(HEADER_LEN - 8, 0);
        let sum = checksum(&bytes);
        bytes.extend_from_slice(&sum.to_le_bytes());
        bytes.try_into().expect("the fields make up the header")
    }

    /// Reads the header of a blob of `blob_len` bytes from its first bytes.
    pub(super) fn decode(head: &[u8], blob_len: u64) -> Result<Self, PackErrorKind> {
        let known = head.len().min(MAGIC.len());
        if head.is_empty() || head[..known] != MAGIC[..known] {
            return Err(PackErrorKind::NotAPack);
        }
        if head.len() < HEADER_LEN {
            return Err(PackErrorKind::Truncated {
                declared: HEAD_LEN as u64,
                actual: blob_len,
            });
        }
        let mut fields = Fields::new(&head[8..HEADER_LEN]);
        let version = (fields.u16(), fields.u16());
        if version.0 != VERSION.0 {
            return Err(PackErrorKind::Version {
                major: version.0,
                minor: version.1,
            });
        }
        let stored = Fields::new(&head[HEADER_LEN - 8..]).u64();
        let actual = checksum(&head[..HEADER_LEN - 8]);
        if stored != actual {
            let declared = stored;
            return Err(PackErrorKind::Checksum { declared, actual });
        }
        let features_required = fields.u32();
        let unknown = features_required & !(FEATURE_LZ4 | FEATURE_ZSTD);
        if unknown != 0 {
            return Err(PackErrorKind::Features(unknown));
        }
        let _optional = fields.u32();
        let (block_len_log2, align_log2) = (fields.u8(), fields.u8());
        let reserved = fields.u16();
        let header = Self {
            features_required,
            block_len_log2,
            align_log2,
            file_len: fields.u64(),
            data_end: fields.u64(),
            entry_count: fields.u64(),
            content_count: fields.u64(),
            row_count: fields.u64(),
            table_position: fields.u64(),
            path_root: fields.root(),
            hash_root: fields.root(),
            content_len: fields.u64(),
        };
        if reserved != 0 {
            return Err(PackErrorKind::Header("reserved bytes are not zero"));
        }
        if header.file_len != blob_len {
            return Err(PackErrorKind::Truncated {
                declared: header.file_len,
                actual: blob_len,
            });
        }
        header.check().map_err(PackErrorKind::Header)?;
        Ok(header)
    }

    fn check(&self) -> Result<(), &'static str> {
        let head_len = HEAD_LEN as u64;
        let is = |good: bool, what| if good { Ok(()) } else { Err(what) };
        is((16..=18).contains(&self.block_len_log2), "bad block length")?;
        is(self.align_log2 <= 16, "bad alignment")?;
        is(
            (head_len..=FILE_LEN_MAX).contains(&self.file_len),
            "bad length of the pack",
        )?;
        is(
            (head_len..=self.file_len).contains(&self.data_end),
            "blocks end outside of the pack",
        )?;
        is(
            self.entry_count <= ENTRIES_MAX.min(self.file_len / ENTRY_LEN_MIN),
            "more entries than the pack has room for",
        )?;
        is(
            self.content_count <= self.entry_count,
            "more contents than entries",
        )?;
        is(
            (self.data_end..=self.file_len).contains(&self.table_position),
            "table begins outside of the directory",
        )?;
        is(
            self.row_count <= ROWS_MAX && self.table_position + self.table_len() <= self.file_len,
            "more rows than the pack has room for",
        )?;
        for root in [self.path_root, self.hash_root] {
            is(
                root.position >= HEADER_LEN as u64
                    && root.len as usize >= PAGE_HEADER_LEN
                    && root.position + u64::from(root.len) <= head_len,
                "root page is not in the head",
            )?;
        }
        Ok(())
    }

    /// The length of the table from its first page's start to its last page's end.
    fn table_len(&self) -> u64 {
        let Some(last) = self.row_count.checked_sub(1) else {
            return 0;
        };
        let page = self.table_page(last / ROWS_PER_PAGE as u64);
        page.position - self.table_position + u64::from(page.len)
    }

    /// Where the table's page of this number is.
    pub(super) fn table_page(&self, number: u64) -> PageRef {
        let rows_before = number * ROWS_PER_PAGE as u64;
        let count = (self.row_count - rows_before).min(ROWS_PER_PAGE as u64);
        let len = PAGE_HEADER_LEN as u64 + count * ROW_LEN as u64;
        PageRef {
            position: self.table_position + number * PAGE_LEN_MAX as u64,
            len: u32::try_from(len).expect("at most a page"),
        }
    }
}

/// A row: one block, checked against the pack and its raw length.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct Row {
    pub(super) position: u64,
    pub(super) checksum: u64,
    pub(super) stored_len: u32,
    pub(super) codec: Codec,
}

impl Row {
    pub(super) fn encode(&self) -> [u8; ROW_LEN] {
        let mut bytes = [0; ROW_LEN];
        bytes[..8].copy_from_slice(&self.position.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.checksum.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.stored_len.to_le_bytes());
        bytes[20] = codec_number(self.codec);
        bytes
    }

    /// Reads the row of a block of `raw_len` bytes.
    pub(super) fn decode(
        bytes: &[u8],
        header: &Header,
        raw_len: u64,
    ) -> Result<Self, PackErrorKind> {
        if bytes.len() != ROW_LEN {
            return Err(PackErrorKind::Directory("row of a wrong length"));
        }
        let mut fields = Fields::new(bytes);
        let (position, checksum, stored_len) = (fields.u64(), fields.u64(), fields.u32());
        let codec = match fields.u8() {
            0 => Codec::None,
            1 => Codec::Lz4,
            2 => Codec::Zstd,
            other => return Err(PackErrorKind::UnknownCodec(other)),
        };
        if bytes[21..] != [0; 3] {
            return Err(PackErrorKind::Directory(
                "reserved bytes of a row are not zero",
            ));
        }
        let len = u64::from(stored_len);
        let fits = match codec {
            Codec::None => len == raw_len,
            _ => 0 < len && len < raw_len,
        };
        if !fits {
            return Err(PackErrorKind::Directory("impossible length of a block"));
        }
        check_data(header, position, len)?;
        Ok(Self {
            position,
            checksum,
            stored_len,
            codec,
        })
    }

    pub(super) fn end(&self) -> u64 {
        self.position + u64::from(self.stored_len)
    }
}

/// Holds a range of stored bytes against the place where blocks are.
pub(super) fn check_data(header: &Header, position: u64, len: u64) -> Result<(), PackErrorKind> {
    let end = position.checked_add(len);
    if position < HEAD_LEN as u64 || end.is_none_or(|end| end > header.data_end) {
        return Err(PackErrorKind::OutOfBounds {
            position,
            len,
            data_end: header.data_end,
        });
    }
    Ok(())
}

pub(super) fn codec_number(codec: Codec) -> u8 {
    match codec {
        Codec::None => 0,
        Codec::Lz4 => 1,
        Codec::Zstd => 2,
        Codec::Deflate => unreachable!("no pack has deflated blocks"),
    }
}

/// Says what is wrong with a path, if anything is.
pub(super) fn check_path(path: &str) -> Result<(), &'static str> {
    if path.is_empty() {
        return Err("it is empty");
    }
    if path.len() > PATH_LEN_MAX {
        return Err("it is longer than 1024 bytes");
    }
    if path.contains('\0') {
        return Err("it holds a NUL");
    }
    for component in path.split('/') {
        match component {
            "" => return Err("it has an empty component, or `/` at an end"),
            "." | ".." => return Err("it has a component `.` or `..`"),
            _ => {}
        }
    }
    Ok(())
}

/// Takes little-endian integers from bytes that are known to be long enough.
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (field, rest) = self
            .rest
            .split_first_chunk()
            .expect("the caller checked the length");
        self.rest = rest;
        *field
    }

    pub(super) fn u8(&mut self) -> u8 {
        u8::from_le_bytes(self.take())
    }

    pub(super) fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.take())
    }

    pub(super) fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    pub(super) fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }

    fn root(&mut self) -> PageRef {
        PageRef {
            position: self.u32().into(),
            len: self.u32(),
        }
    }
}
