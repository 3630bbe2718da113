//! What can be wrong with a pack.

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;

use crate::decode::{DecodeError, JobError};

/// An error of a pack: it names the pack and, where they are known, the entry and the position.
///
/// It converts into an [`io::Error`] that keeps it as the source.
#[derive(Debug)]
pub struct PackError {
    pack: Arc<str>,
    entry: Option<Arc<str>>,
    position: Option<u64>,
    kind: PackErrorKind,
}

/// What is wrong with a pack, or with what was asked of it.
#[derive(Debug)]
#[non_exhaustive]
pub enum PackErrorKind {
    /// Reading or writing failed.
    Io(io::Error),
    /// The blob does not begin as a pack does.
    NotAPack,
    /// The pack is of a version that is not known.
    Version {
        /// The major version.
        major: u16,
        /// The minor version.
        minor: u16,
    },
    /// The pack needs features that are not known: the bits.
    Features(u32),
    /// The header is malformed; the text says how.
    Header(&'static str),
    /// The pack is not as long as its header says.
    Truncated {
        /// The length in the header, in bytes.
        declared: u64,
        /// The length of the blob, in bytes.
        actual: u64,
    },
    /// The directory is malformed; the text says how.
    Directory(&'static str),
    /// A checksum of the header, of a page or of a block does not hold.
    Checksum {
        /// The stored checksum.
        declared: u64,
        /// The checksum of the bytes.
        actual: u64,
    },
    /// A block is not inside of the part of the pack that holds blocks.
    OutOfBounds {
        /// Where the block begins.
        position: u64,
        /// Its stored length, in bytes.
        len: u64,
        /// Where the blocks end.
        data_end: u64,
    },
    /// A block has a codec that is not known.
    UnknownCodec(u8),
    /// A block does not give its content.
    Decode(DecodeError),
    /// The job that was to decompress a block has no result.
    Job(JobError),
    /// The content does not have the hash by which it is known.
    Hash,
    /// The pack has no such entry.
    NotFound,
    /// A path cannot be an entry's; the text says why.
    Path(&'static str),
    /// A path was added twice.
    DuplicatePath,
    /// A limit of the format would be passed; the text says which.
    Limit(&'static str),
    /// An option cannot be honoured; the text says which.
    Option(&'static str),
    /// The pack cannot be written any more, because an earlier call failed.
    Abandoned,
}

impl PackError {
    pub(super) fn new(pack: &Arc<str>, kind: impl Into<PackErrorKind>) -> Self {
        Self {
            pack: Arc::clone(pack),
            entry: None,
            position: None,
            kind: kind.into(),
        }
    }

    pub(super) fn of_entry(mut self, entry: &str) -> Self {
        self.entry = Some(entry.into());
        self
    }

    pub(super) fn at(mut self, position: u64) -> Self {
        self.position = Some(position);
        self
    }

    /// Gives the name that the pack was opened under.
    #[must_use]
    pub fn pack(&self) -> &str {
        &self.pack
    }

    /// Gives the entry's path, or its hash if it was asked for by hash.
    #[must_use]
    pub fn entry(&self) -> Option<&str> {
        self.entry.as_deref()
    }

    /// Gives the position in the pack of the page or block that is wrong.
    #[must_use]
    pub fn position(&self) -> Option<u64> {
        self.position
    }

    /// Says what is wrong.
    #[must_use]
    pub fn kind(&self) -> &PackErrorKind {
        &self.kind
    }

    /// Says what is wrong, by value.
    #[must_use]
    pub fn into_kind(self) -> PackErrorKind {
        self.kind
    }
}

impl fmt::Display for PackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.pack)?;
        if let Some(entry) = &self.entry {
            write!(f, "entry {entry:?}: ")?;
        }
        if let Some(position) = self.position {
            write!(f, "at byte {position}: ")?;
        }
        write!(f, "{}", self.kind)
    }
}

impl fmt::Display for PackErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(e) => write!(f, "{e}"),
            Self::NotAPack => f.write_str("not a pack"),
            Self::Version { major, minor } => {
                write!(f, "version {major}.{minor} of the format is not supported")
            }
            Self::Features(bits) => write!(f, "features {bits:#x} are not supported"),
            Self::Header(what) => write!(f, "bad header: {what}"),
            Self::Truncated { declared, actual } => {
                write!(f, "{actual} bytes long, not the declared {declared}")
            }
            Self::Directory(what) => write!(f, "bad directory: {what}"),
            Self::Checksum { declared, actual } => write!(
                f,
                "checksum is {actual:016x}, not the declared {declared:016x}"
            ),
            Self::OutOfBounds {
                position,
                len,
                data_end,
            } => write!(
                f,
                "{len} bytes at {position} are not between the head and the directory at {data_end}"
            ),
            Self::UnknownCodec(number) => write!(f, "codec {number} is not supported"),
            Self::Decode(e) => write!(f, "{e}"),
            Self::Job(e) => write!(f, "cannot be decompressed: {e}"),
            Self::Hash => f.write_str("content does not have the declared hash"),
            Self::NotFound => f.write_str("no such entry"),
            Self::Path(why) => write!(f, "cannot be the path of an entry: {why}"),
            Self::DuplicatePath => f.write_str("there is an entry of this path already"),
            Self::Limit(what) => write!(f, "limit of the format exceeded: {what}"),
            Self::Option(what) => write!(f, "bad option: {what}"),
            Self::Abandoned => f.write_str("given up after an earlier error"),
        }
    }
}

impl Error for PackError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.kind {
            PackErrorKind::Io(e) => Some(e),
            PackErrorKind::Decode(e) => Some(e),
            PackErrorKind::Job(e) => Some(e),
            _ => None,
        }
    }
}

impl From<io::Error> for PackErrorKind {
    fn from(e: io::Error) -> Self {
        Self::Io(e)
    }
}

impl From<DecodeError> for PackErrorKind {
    fn from(e: DecodeError) -> Self {
        Self::Decode(e)
    }
}

impl From<PackError> for io::Error {
    fn from(e: PackError) -> Self {
        let kind = match &e.kind {
            PackErrorKind::Io(inner) => inner.kind(),
            PackErrorKind::NotFound => io::ErrorKind::NotFound,
            PackErrorKind::Version { .. }
            | PackErrorKind::Features(_)
            | PackErrorKind::UnknownCodec(_) => io::ErrorKind::Unsupported,
            PackErrorKind::Path(_)
            | PackErrorKind::DuplicatePath
            | PackErrorKind::Limit(_)
            | PackErrorKind::Option(_) => io::ErrorKind::InvalidInput,
            PackErrorKind::Decode(DecodeError::OutOfMemory(_)) => io::ErrorKind::OutOfMemory,
            PackErrorKind::Job(_) | PackErrorKind::Abandoned => io::ErrorKind::Other,
            _ => io::ErrorKind::InvalidData,
        };
        Self::new(kind, e)
    }
}
