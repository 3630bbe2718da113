//! Writes zip archives: stored and deflated entries, no zip64, no dates.

use std::io::{self, Write as _};

use flate2::Compression;
use flate2::write::DeflateEncoder;

const LOCAL_SIGNATURE: u32 = 0x0403_4b50;
const CENTRAL_SIGNATURE: u32 = 0x0201_4b50;
const END_SIGNATURE: u32 = 0x0605_4b50;
const VERSION_NEEDED: u16 = 20;
/// Made by: Unix, so that the upper half of the attributes is a file mode.
const VERSION_MADE_BY: u16 = 3 << 8 | VERSION_NEEDED;
const ATTRIBUTES: u32 = 0o100_644 << 16;
const FLAG_UTF8: u16 = 1 << 11;
const METHOD_STORED: u16 = 0;
const METHOD_DEFLATED: u16 = 8;
/// 1980-01-01, the first day that the format knows.
const DOS_DATE: u16 = 0x21;

/// An archive being written, in memory.
#[derive(Debug, Default)]
pub(super) struct Writer {
    archive: Vec<u8>,
    central: Vec<u8>,
    count: u16,
}

impl Writer {
    /// Adds a file.
    pub(super) fn add(&mut self, name: &str, bytes: &[u8], is_deflated: bool) -> io::Result<()> {
        let packed = if is_deflated {
            deflate(bytes)?
        } else {
            bytes.to_vec()
        };
        let method = if is_deflated {
            METHOD_DEFLATED
        } else {
            METHOD_STORED
        };
        let offset = narrow(self.archive.len())?;
        let mut common = Vec::new();
        put16(&mut common, VERSION_NEEDED);
        put16(&mut common, FLAG_UTF8);
        put16(&mut common, method);
        put16(&mut common, 0);
        put16(&mut common, DOS_DATE);
        put32(&mut common, crc32fast::hash(bytes));
        put32(&mut common, narrow(packed.len())?);
        put32(&mut common, narrow(bytes.len())?);
        put16(&mut common, narrow(name.len())?);
        put16(&mut common, 0);

        put32(&mut self.archive, LOCAL_SIGNATURE);
        self.archive.extend_from_slice(&common);
        self.archive.extend_from_slice(name.as_bytes());
        self.archive.extend_from_slice(&packed);

        put32(&mut self.central, CENTRAL_SIGNATURE);
        put16(&mut self.central, VERSION_MADE_BY);
        self.central.extend_from_slice(&common);
        // Comment length, disk number, internal attributes.
        self.central.extend_from_slice(&[0; 6]);
        put32(&mut self.central, ATTRIBUTES);
        put32(&mut self.central, offset);
        self.central.extend_from_slice(name.as_bytes());
        self.count = self.count.checked_add(1).ok_or_else(too_large)?;
        Ok(())
    }

    /// Writes the catalogue and returns the archive.
    pub(super) fn finish(mut self) -> io::Result<Vec<u8>> {
        let offset = narrow(self.archive.len())?;
        self.archive.extend_from_slice(&self.central);
        put32(&mut self.archive, END_SIGNATURE);
        // This disk, and the disk of the catalogue.
        self.archive.extend_from_slice(&[0; 4]);
        put16(&mut self.archive, self.count);
        put16(&mut self.archive, self.count);
        put32(&mut self.archive, narrow(self.central.len())?);
        put32(&mut self.archive, offset);
        put16(&mut self.archive, 0);
        Ok(self.archive)
    }
}

fn deflate(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes)?;
    encoder.finish()
}

fn narrow<T: TryFrom<usize>>(value: usize) -> io::Result<T> {
    T::try_from(value).map_err(|_| too_large())
}

fn too_large() -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, "the archive would need zip64")
}

fn put16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_le_bytes());
}
