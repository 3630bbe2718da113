//! `std::io::{Read, Seek}` over a blob.

use std::io;
use std::io::{IoSliceMut, Read, Seek, SeekFrom};

use super::seek_by;
use crate::traits::RandomReadBlob;

/// A blob with a cursor, for code that wants [`Read`] and [`Seek`].
///
/// Positions past the end are allowed, as for files: reads there give nothing.
///
/// ```
/// use std::io::{Read, Seek, SeekFrom};
/// use blobio::{MemoryBlob, adapters::ReadSeek};
///
/// let mut cursor = ReadSeek::new(MemoryBlob::new(b"0123456789".to_vec()));
/// cursor.seek(SeekFrom::End(-3))?;
/// let mut tail = String::new();
/// cursor.read_to_string(&mut tail)?;
/// assert_eq!(tail, "789");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ReadSeek<B> {
    blob: B,
    pos: u64,
}

impl<B> ReadSeek<B> {
    /// Puts a cursor at the start of `blob`.
    pub fn new(blob: B) -> Self {
        Self { blob, pos: 0 }
    }

    /// Gives the blob back.
    pub fn into_inner(self) -> B {
        self.blob
    }

    fn advance(&mut self, got: usize) -> usize {
        self.pos = self.pos.saturating_add(got as u64);
        got
    }
}

impl<B: RandomReadBlob> Read for ReadSeek<B> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let got = self.blob.read_slice(self.pos, buf)?;
        Ok(self.advance(got))
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let got = self.blob.readv(self.pos, bufs)?;
        Ok(self.advance(got))
    }

    fn read_to_end(&mut self, buf: &mut Vec<u8>) -> io::Result<usize> {
        let mut bytes = self.blob.read_to_end(self.pos)?;
        let got = bytes.len();
        if buf.is_empty() {
            *buf = bytes;
        } else {
            buf.append(&mut bytes);
        }
        Ok(self.advance(got))
    }
}

impl<B: RandomReadBlob> Seek for ReadSeek<B> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.pos = match to {
            SeekFrom::Start(pos) => pos,
            SeekFrom::Current(delta) => seek_by(self.pos, delta, to)?,
            SeekFrom::End(delta) => seek_by(self.blob.byte_length()?, delta, to)?,
        };
        Ok(self.pos)
    }

    fn stream_position(&mut self) -> io::Result<u64> {
        Ok(self.pos)
    }
}
