//! What can be wrong with an archive.

use std::error::Error;
use std::fmt;
use std::io;

/// An error of an archive or of one of its entries; it names both.
///
/// It converts into an [`io::Error`] that keeps it as the source.
#[derive(Debug)]
pub struct ArchiveError {
    archive: Box<str>,
    entry: Option<Box<str>>,
    kind: ArchiveErrorKind,
}

/// What is wrong with an archive or an entry.
#[derive(Debug)]
#[non_exhaustive]
pub enum ArchiveErrorKind {
    /// Reading the archive failed.
    Io(io::Error),
    /// The catalogue is missing or malformed; the text says how.
    Catalogue(Box<str>),
    /// The catalogue needs more bytes than the limit allows.
    CatalogueTooLong {
        /// The limit, in bytes.
        bytes_max: u64,
    },
    /// The catalogue has more entries than the limit allows.
    TooManyEntries {
        /// The limit.
        entries_max: usize,
    },
    /// The archive has no entry of this name.
    NotFound,
    /// A range that a header names is not inside of the archive.
    OutOfBounds {
        /// Where the range starts.
        offset: u64,
        /// How many bytes it has.
        len: u64,
        /// The length of the archive.
        archive_len: u64,
    },
    /// The entry's local header is malformed or contradicts the catalogue; the text says how.
    LocalHeader(&'static str),
    /// The entry is encrypted.
    Encrypted,
    /// The entry is compressed by a method other than stored and deflate.
    UnsupportedMethod(u16),
    /// The entry's sizes cannot both be true.
    ImpossibleSize {
        /// The size in the archive.
        compressed: u64,
        /// The size of the content.
        uncompressed: u64,
    },
    /// The compressed data is malformed.
    Corrupt,
    /// The compressed data ends before the declared size is reached.
    TooShort {
        /// The declared size.
        declared: u64,
        /// The size that was there.
        actual: u64,
    },
    /// The compressed data goes on past the declared size.
    TooLong {
        /// The declared size.
        declared: u64,
    },
    /// The content does not have the declared checksum.
    Crc {
        /// The CRC-32 in the catalogue.
        declared: u32,
        /// The CRC-32 of the content.
        actual: u32,
    },
}

impl ArchiveError {
    pub(crate) fn of_archive(archive: &str, kind: impl Into<ArchiveErrorKind>) -> Self {
        Self {
            archive: archive.into(),
            entry: None,
            kind: kind.into(),
        }
    }

    pub(crate) fn of_entry(archive: &str, entry: &str, kind: impl Into<ArchiveErrorKind>) -> Self {
        Self {
            archive: archive.into(),
            entry: Some(entry.into()),
            kind: kind.into(),
        }
    }

    /// Gives the name the archive was opened under.
    #[must_use]
    pub fn archive(&self) -> &str {
        &self.archive
    }

    /// Gives the name of the entry, when the error is one of an entry.
    #[must_use]
    pub fn entry(&self) -> Option<&str> {
        self.entry.as_deref()
    }

    /// Says what is wrong.
    #[must_use]
    pub fn kind(&self) -> &ArchiveErrorKind {
        &self.kind
    }

    /// Says what is wrong, by value.
    #[must_use]
    pub fn into_kind(self) -> ArchiveErrorKind {
        self.kind
    }
}

impl fmt::Display for ArchiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.entry {
            Some(entry) => write!(f, "{}: entry {:?}: {}", self.archive, entry, self.kind),
            None => write!(f, "{}: {}", self.archive, self.kind),
        }
    }
}

impl fmt::Display for ArchiveErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(e) => write!(f, "cannot be read: {e}"),
            Self::Catalogue(what) => write!(f, "not a readable zip archive: {what}"),
            Self::CatalogueTooLong { bytes_max } => {
                write!(f, "catalogue is longer than the limit of {bytes_max} bytes")
            }
            Self::TooManyEntries { entries_max } => {
                write!(
                    f,
                    "catalogue has more entries than the limit of {entries_max}"
                )
            }
            Self::NotFound => f.write_str("no such entry"),
            Self::OutOfBounds {
                offset,
                len,
                archive_len,
            } => {
                write!(
                    f,
                    "{len} bytes at {offset} are not inside of the {archive_len} bytes"
                )
            }
            Self::LocalHeader(what) => write!(f, "bad local header: {what}"),
            Self::Encrypted => f.write_str("encrypted entries are not supported"),
            Self::UnsupportedMethod(method) => {
                write!(f, "compression method {method} is not supported")
            }
            Self::ImpossibleSize {
                compressed,
                uncompressed,
            } => {
                write!(
                    f,
                    "{uncompressed} bytes cannot come from {compressed} stored bytes"
                )
            }
            Self::Corrupt => f.write_str("compressed data is corrupt"),
            Self::TooShort { declared, actual } => {
                write!(f, "compressed data ends after {actual} of {declared} bytes")
            }
            Self::TooLong { declared } => {
                write!(
                    f,
                    "compressed data goes on past the declared {declared} bytes"
                )
            }
            Self::Crc { declared, actual } => {
                write!(
                    f,
                    "checksum is {actual:08x}, not the declared {declared:08x}"
                )
            }
        }
    }
}

impl Error for ArchiveError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.kind {
            ArchiveErrorKind::Io(e) => Some(e),
            _ => None,
        }
    }
}

impl From<io::Error> for ArchiveErrorKind {
    fn from(e: io::Error) -> Self {
        Self::Io(e)
    }
}

impl From<ArchiveError> for io::Error {
    fn from(e: ArchiveError) -> Self {
        let kind = match &e.kind {
            ArchiveErrorKind::Io(inner) => inner.kind(),
            ArchiveErrorKind::NotFound => io::ErrorKind::NotFound,
            ArchiveErrorKind::Encrypted | ArchiveErrorKind::UnsupportedMethod(_) => {
                io::ErrorKind::Unsupported
            }
            _ => io::ErrorKind::InvalidData,
        };
        Self::new(kind, e)
    }
}
