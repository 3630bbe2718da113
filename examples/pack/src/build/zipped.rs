//! Entries of zip archives, read in order.

use std::io::{self, Read};

use blobio::adapters::ReadSeek;
use blobio::pack::zip::{Archive, Entry, EntryData, Method};
use blobio::{BlobSlice, NativeFileBlobRandomReader};

use crate::failure::Failure;

/// An archive in a file.
pub(crate) type FileArchive = Archive<NativeFileBlobRandomReader>;

/// Says why an entry cannot be read, if that shows without reading it.
pub(crate) fn unfit(entry: &Entry) -> Option<&'static str> {
    if entry.is_symlink() {
        Some("it is a symbolic link")
    } else if entry.is_encrypted() {
        Some("it is encrypted")
    } else if !matches!(entry.method(), Method::Stored | Method::Deflated) {
        Some("its method of compression is not supported")
    } else {
        None
    }
}

/// Opens an entry; the read that gives its last bytes checks them.
pub(crate) fn open<'a>(
    archive: &'a FileArchive,
    entry: &Entry,
) -> Result<Box<dyn Read + 'a>, Failure> {
    Ok(match archive.data(entry)? {
        EntryData::Deflated(reader) => Box::new(reader),
        EntryData::Stored(slice) => Box::new(Stored {
            reader: ReadSeek::new(slice),
            left: entry.len(),
            crc: crc32fast::Hasher::new(),
            declared: entry.crc32(),
        }),
    })
}

/// A stored entry, checked as a deflated one checks itself.
struct Stored<'a> {
    reader: ReadSeek<BlobSlice<&'a NativeFileBlobRandomReader>>,
    left: u64,
    crc: crc32fast::Hasher,
    declared: u32,
}

impl Read for Stored<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let got = self.reader.read(buf)?;
        self.crc.update(&buf[..got]);
        self.left = self.left.saturating_sub(got as u64);
        let is_at_end = got == 0 && !buf.is_empty();
        let has_checksum = || self.crc.clone().finalize() == self.declared;
        if is_at_end && self.left > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if is_at_end && !has_checksum() {
            let what = "the checksum is not the declared one";
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        Ok(got)
    }
}
