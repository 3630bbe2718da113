//! What the catalogue says about an entry.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// An entry of an archive, as the catalogue describes it.
#[derive(Clone, Debug)]
pub struct Entry {
    name: Arc<str>,
    method: Method,
    flags: u16,
    crc32: u32,
    compressed_len: u64,
    len: u64,
    header_offset: u64,
    modified: SystemTime,
    symlink: bool,
}

/// How an entry is compressed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash)]
#[non_exhaustive]
pub enum Method {
    /// Not at all.
    Stored,
    /// By deflate.
    Deflated,
    /// By a method that is not supported, given by its number.
    Other(u16),
}

impl Method {
    pub(super) fn from_number(number: u16) -> Self {
        match number {
            0 => Self::Stored,
            8 => Self::Deflated,
            other => Self::Other(other),
        }
    }
}

impl Entry {
    /// Takes over what the catalogue's parser found besides the name, or `None` for a directory.
    pub(super) fn from_parsed(parsed: &rc_zip::Entry, name: &str) -> Option<Self> {
        let is_dir =
            name.ends_with('/') || (parsed.kind().is_dir() && parsed.uncompressed_size == 0);
        (!is_dir).then(|| Self {
            name: name.into(),
            method: Method::from_number(parsed.method.into()),
            flags: parsed.flags,
            crc32: parsed.crc32,
            compressed_len: parsed.compressed_size,
            len: parsed.uncompressed_size,
            header_offset: parsed.header_offset,
            modified: system_time(
                parsed.modified.timestamp(),
                parsed.modified.timestamp_subsec_nanos(),
            ),
            symlink: parsed.kind().is_symlink(),
        })
    }

    /// Gives the name. It is a key: it may be absolute or hold `..`, so never use it as a path.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Gives the name as what the archive's index shares with the entry.
    pub(crate) fn shared_name(&self) -> Arc<str> {
        Arc::clone(&self.name)
    }

    /// Gives the method of compression.
    #[must_use]
    pub fn method(&self) -> Method {
        self.method
    }

    /// Says whether the entry is encrypted, so that it cannot be read.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.flags & super::local::ENCRYPTION_FLAGS != 0
    }

    /// Says whether the entry was a symbolic link; its content is then the path it led to.
    #[must_use]
    pub fn is_symlink(&self) -> bool {
        self.symlink
    }

    /// Gives the declared CRC-32 of the content.
    #[must_use]
    pub fn crc32(&self) -> u32 {
        self.crc32
    }

    /// Gives the number of bytes the entry takes in the archive, headers left out.
    #[must_use]
    pub fn compressed_len(&self) -> u64 {
        self.compressed_len
    }

    /// Gives the declared number of bytes of the content.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Says whether the content is declared to be empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Gives the position of the local header in the archive; it is not checked.
    #[must_use]
    pub fn header_offset(&self) -> u64 {
        self.header_offset
    }

    /// Gives the time of the last change, to 2 s and in an unknown time zone unless the archive
    /// says more; 1970 when it says nothing that makes sense.
    #[must_use]
    pub fn modified(&self) -> SystemTime {
        self.modified
    }
}

/// Turns seconds since 1970, which may be negative, into a time.
fn system_time(secs: i64, nanos: u32) -> SystemTime {
    let whole = Duration::from_secs(secs.unsigned_abs());
    let base = if secs < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(whole)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(whole)
    };
    base.and_then(|base| base.checked_add(Duration::from_nanos(nanos.into())))
        .unwrap_or(SystemTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_1970_and_beyond_reason_are_times() {
        let before = system_time(-2, 500_000_000);
        let gap = SystemTime::UNIX_EPOCH.duration_since(before).unwrap();
        assert_eq!(gap, Duration::from_millis(1500));
        assert!(system_time(i64::MIN, 0) <= SystemTime::UNIX_EPOCH);
        assert_eq!(system_time(i64::MAX, u32::MAX), SystemTime::UNIX_EPOCH);
    }
}
