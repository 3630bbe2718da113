//! Entries and contents: what the directory says of them. Pure.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::error::PackErrorKind;
use super::format::{CONTENT_LEN_MAX, Fields, Header, ROW_LEN, Row, check_data};
use crate::decode::Codec;

/// The BLAKE3 hash of a content; it is shown and parsed as 64 hexadecimal digits.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ContentHash([u8; 32]);

/// A path of a pack, and the content it names.
#[derive(Clone, Debug)]
pub struct Entry {
    path: Arc<str>,
    content: Content,
}

/// A content of a pack: its hash, its length, and where its blocks are. Equal are those of which all
/// of that is equal: a pack may claim one hash for contents that are not.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Content {
    hash: ContentHash,
    len: u64,
    layout: Layout,
}

/// Where a content's blocks are.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Layout {
    Empty,
    Single(Row),
    Plain { position: u64, first_row: u64 },
    Blocks { first_row: u64 },
}

impl ContentHash {
    /// Gives the hash of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// Makes a hash of its 32 bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Gives its 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl Entry {
    pub(super) fn shared_path(&self) -> Arc<str> {
        Arc::clone(&self.path)
    }

    pub(super) fn new(path: &str, content: Content) -> Self {
        Self {
            path: path.into(),
            content,
        }
    }

    /// Gives the path: components separated by `/`, none of them `.`, `..` or empty.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Gives the content.
    #[must_use]
    pub fn content(&self) -> &Content {
        &self.content
    }

    /// Gives the hash of the content.
    #[must_use]
    pub fn hash(&self) -> ContentHash {
        self.content.hash
    }

    /// Gives the length of the content in bytes.
    #[must_use]
    #[allow(
        clippy::len_without_is_empty,
        reason = "an entry is not a collection; the zip entry has `len` alone as well"
    )]
    pub fn len(&self) -> u64 {
        self.content.len
    }
}

impl Content {
    pub(super) fn new(hash: ContentHash, len: u64, layout: Layout) -> Self {
        Self { hash, len, layout }
    }

    /// Gives the hash.
    #[must_use]
    pub fn hash(&self) -> ContentHash {
        self.hash
    }

    /// Gives the length in bytes.
    #[must_use]
    #[allow(
        clippy::len_without_is_empty,
        reason = "a content is not a collection; the zip entry has `len` alone as well"
    )]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Gives the position in the pack at which the content lies as it is, if it does.
    #[must_use]
    pub fn plain_position(&self) -> Option<u64> {
        match self.layout {
            Layout::Plain { position, .. } => Some(position),
            Layout::Single(row) if row.codec == Codec::None => Some(row.position),
            _ => None,
        }
    }

    pub(super) fn hash_ref(&self) -> &[u8; 32] {
        &self.hash.0
    }

    pub(super) fn layout(&self) -> Layout {
        self.layout
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.len.to_le_bytes());
        let kind = match self.layout {
            Layout::Empty => 0,
            Layout::Single(_) => 1,
            Layout::Plain { .. } => 2,
            Layout::Blocks { .. } => 3,
        };
        out.extend_from_slice(&[kind, 0, 0, 0, 0, 0, 0, 0]);
        match self.layout {
            Layout::Empty => {}
            Layout::Single(row) => out.extend_from_slice(&row.encode()),
            Layout::Plain {
                position,
                first_row,
            } => {
                out.extend_from_slice(&position.to_le_bytes());
                out.extend_from_slice(&first_row.to_le_bytes());
            }
            Layout::Blocks { first_row } => out.extend_from_slice(&first_row.to_le_bytes()),
        }
    }

    /// Reads a content record.
    pub(super) fn decode(
        hash: ContentHash,
        bytes: &[u8],
        header: &Header,
    ) -> Result<Self, PackErrorKind> {
        let Some((fixed, rest)) = bytes.split_first_chunk::<16>() else {
            return Err(PackErrorKind::Directory("content record is too short"));
        };
        let len = Fields::new(fixed).u64();
        if fixed[9..] != [0; 7] {
            return Err(PackErrorKind::Directory(
                "reserved bytes of a content record are not zero",
            ));
        }
        let (least, most, room) = match fixed[8] {
            0 => (0, 0, 0),
            1 => (1, header.block_len(), ROW_LEN),
            2 => (header.block_len() + 1, CONTENT_LEN_MAX, 16),
            3 => (header.block_len() + 1, CONTENT_LEN_MAX, 8),
            _ => return Err(PackErrorKind::Directory("unknown layout of a content")),
        };
        if rest.len() != room {
            return Err(PackErrorKind::Directory("content record of a wrong length"));
        }
        if !(least..=most).contains(&len) {
            return Err(PackErrorKind::Directory("impossible length of a content"));
        }
        let mut fields = Fields::new(rest);
        let layout = match fixed[8] {
            0 => Layout::Empty,
            1 => Layout::Single(Row::decode(rest, header, len)?),
            2 => Layout::Plain {
                position: fields.u64(),
                first_row: fields.u64(),
            },
            _ => Layout::Blocks {
                first_row: fields.u64(),
            },
        };
        if let Layout::Plain { first_row, .. } | Layout::Blocks { first_row } = layout {
            let end = first_row.checked_add(len.div_ceil(header.block_len()));
            if end.is_none_or(|end| end > header.row_count) {
                return Err(PackErrorKind::Directory("rows are not in the table"));
            }
        }
        if let Layout::Plain { position, .. } = layout {
            check_data(header, position, len)?;
            if position % (1 << header.align_log2) != 0 {
                return Err(PackErrorKind::Directory("plain content is not aligned"));
            }
        }
        Ok(Self { hash, len, layout })
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ParseHashError;

impl fmt::Display for ParseHashError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a hash is 64 hexadecimal digits")
    }
}

impl std::error::Error for ParseHashError {}

impl FromStr for ContentHash {
    type Err = ParseHashError;

    fn from_str(text: &str) -> Result<Self, ParseHashError> {
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return Err(ParseHashError);
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let digit = |c: u8| char::from(c).to_digit(16).ok_or(ParseHashError);
            let value = digit(pair[0])? * 16 + digit(pair[1])?;
            *byte = u8::try_from(value).map_err(|_| ParseHashError)?;
        }
        Ok(Self(bytes))
    }
}
