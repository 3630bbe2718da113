//! Strong entity tags.

/// A strong entity tag in hexadecimal, with its quotes: 128 bits, or the 256 of a content's hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ETag {
    /// What is behind `len` is zero.
    bytes: [u8; Self::LEN_MAX],
    len: u8,
}

/// What tells one state of a file from another without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileIdentity {
    /// The device.
    pub dev: u64,
    /// The inode.
    pub ino: u64,
    /// The length in bytes.
    pub size: u64,
    /// When the content was modified, in nanoseconds since 1970.
    pub mtime_ns: i128,
    /// When the inode was changed, in nanoseconds since 1970; no program can set it back.
    pub ctime_ns: i128,
}

/// What tells one entry of an archive from another without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryIdentity {
    /// The archive's own state.
    pub archive: FileIdentity,
    /// The CRC-32 that the archive states for the entry.
    pub crc32: u32,
    /// Where the entry lies in the archive.
    pub offset: u64,
    /// The entry's length, unpacked.
    pub size: u64,
}

/// What a tag was made from; keeps the three kinds from ever being equal.
#[derive(Clone, Copy)]
enum Kind {
    Content = 1,
    File = 2,
    Entry = 3,
}

impl ETag {
    const LEN: usize = 34;
    const LEN_MAX: usize = 66;

    /// Makes the tag that is the hash of the content itself. It is as long as no other is.
    pub fn of_hash(hash: &[u8; 32]) -> Self {
        Self::quoted(blake3::Hash::from_bytes(*hash).to_hex().as_bytes())
    }

    /// Makes the tag of bytes at hand.
    pub fn of_content(content: &[u8]) -> Self {
        Self::finish(Self::begin(Kind::Content).update(content))
    }

    /// Makes the tag of a file's state. Two states written within one tick of the file system's
    /// clock, with the same length, have the same tag.
    pub fn of_file(identity: &FileIdentity) -> Self {
        let mut hasher = Self::begin(Kind::File);
        update_with_file(&mut hasher, identity);
        Self::finish(&hasher)
    }

    /// Makes the tag of an archive's entry.
    pub fn of_entry(identity: &EntryIdentity) -> Self {
        let mut hasher = Self::begin(Kind::Entry);
        update_with_file(&mut hasher, &identity.archive);
        hasher.update(&identity.crc32.to_le_bytes());
        hasher.update(&identity.offset.to_le_bytes());
        hasher.update(&identity.size.to_le_bytes());
        Self::finish(&hasher)
    }

    /// Returns the tag as it stands in a field, with its quotes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    fn begin(kind: Kind) -> blake3::Hasher {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&[kind as u8]);
        hasher
    }

    fn finish(hasher: &blake3::Hasher) -> Self {
        Self::quoted(&hasher.finalize().to_hex().as_bytes()[..Self::LEN - 2])
    }

    fn quoted(digits: &[u8]) -> Self {
        let mut bytes = [0; Self::LEN_MAX];
        let len = digits.len() + 2;
        bytes[0] = b'"';
        bytes[1..len - 1].copy_from_slice(digits);
        bytes[len - 1] = b'"';
        Self {
            bytes,
            len: u8::try_from(len).expect("66 at most"),
        }
    }
}

fn update_with_file(hasher: &mut blake3::Hasher, identity: &FileIdentity) {
    hasher.update(&identity.dev.to_le_bytes());
    hasher.update(&identity.ino.to_le_bytes());
    hasher.update(&identity.size.to_le_bytes());
    hasher.update(&identity.mtime_ns.to_le_bytes());
    hasher.update(&identity.ctime_ns.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::{ETag, EntryIdentity, FileIdentity};

    const FILE: FileIdentity = FileIdentity {
        dev: 1,
        ino: 2,
        size: 3,
        mtime_ns: -4,
        ctime_ns: 5,
    };
    const ENTRY: EntryIdentity = EntryIdentity {
        archive: FILE,
        crc32: 6,
        offset: 7,
        size: 8,
    };

    #[test]
    fn every_component_changes_the_tag() {
        let tags = [
            ETag::of_content(b""),
            ETag::of_content(b"x"),
            ETag::of_file(&FILE),
            ETag::of_file(&FileIdentity { dev: 9, ..FILE }),
            ETag::of_file(&FileIdentity { ino: 9, ..FILE }),
            ETag::of_file(&FileIdentity { size: 9, ..FILE }),
            ETag::of_file(&FileIdentity {
                mtime_ns: 9,
                ..FILE
            }),
            ETag::of_file(&FileIdentity {
                ctime_ns: 9,
                ..FILE
            }),
            ETag::of_entry(&ENTRY),
            ETag::of_entry(&EntryIdentity { crc32: 9, ..ENTRY }),
            ETag::of_entry(&EntryIdentity { offset: 9, ..ENTRY }),
            ETag::of_entry(&EntryIdentity { size: 9, ..ENTRY }),
            ETag::of_entry(&EntryIdentity {
                archive: FileIdentity { ino: 9, ..FILE },
                ..ENTRY
            }),
        ];
        for (index, tag) in tags.iter().enumerate() {
            assert!(!tags[..index].contains(tag), "{index}");
        }
    }

    #[test]
    fn the_tag_of_a_hash_is_the_hash() {
        let hash = blake3::hash(b"x");
        let tag = ETag::of_hash(hash.as_bytes());
        assert_eq!(tag.as_bytes(), format!("\"{hash}\"").as_bytes());
        assert_ne!(tag, ETag::of_hash(&[0; 32]));
    }

    #[test]
    fn a_tag_is_quoted_hexadecimal_and_stable() {
        let tag = ETag::of_file(&FILE);
        let text = std::str::from_utf8(tag.as_bytes()).unwrap();
        let inner = text.strip_prefix('"').unwrap().strip_suffix('"').unwrap();
        assert!(
            inner.len() == 32 && inner.bytes().all(|byte| byte.is_ascii_hexdigit()),
            "{text}"
        );
        assert_eq!(tag, ETag::of_file(&FILE));
    }
}
