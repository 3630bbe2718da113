//! Zip entries read on a worker and inflated off it.

use std::io;
use std::sync::Arc;

use crate::error::{ArchiveError, ArchiveErrorKind};
use crate::pack::zip::{Archive, Entry, Inflater, Method};
use crate::slice::BlobSlice;
use crate::traits::RandomReadBlobAsync;
use crate::uninit;

/// The compressed bytes read from the archive at a time.
const INPUT_LEN: usize = 128 << 10;
/// The content handed over at a time when an entry is read as a whole.
const CHUNK_LEN: usize = 256 << 10;
/// Contents up to this length are inflated where they are read: going to another thread and back
/// takes longer.
const INLINE_LEN_MAX: u64 = 4 << 10;

/// The data of an entry, to be read on a worker.
#[derive(Debug)]
pub enum AsyncEntryData<B> {
    /// The content as it is: a range of the archive. Its checksum has not been checked.
    Stored(BlobSlice<B>),
    /// The content to be inflated as it is read, and checked at its end.
    Deflated(AsyncInflateReader<B>),
}

/// The content of a deflated entry, read by the worker and inflated on corelane's blocking pool.
///
/// The call that gives the last bytes fails instead if the content is not as long as the
/// catalogue declares, or has another checksum. After an error, or a future that was dropped
/// before it was done, every call fails.
#[derive(Debug)]
pub struct AsyncInflateReader<B> {
    archive: Arc<str>,
    entry: Arc<str>,
    data: BlobSlice<B>,
    data_len: u64,
    inline: bool,
    // Away while it is worked on, and for good after an error.
    work: Option<Box<Work>>,
}

/// What inflating needs, to be sent to a thread and back.
#[derive(Debug)]
struct Work {
    inflater: Inflater,
    pos: u64,
    input: Vec<u8>,
    taken: usize,
}

impl<B: RandomReadBlobAsync + Clone> Archive<B> {
    /// Opens `entry`, on a clone of the archive's blob.
    ///
    /// # Errors
    ///
    /// As [`locate_async`](Self::locate_async).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing behind.
    pub async fn data_async(&self, entry: &Entry) -> Result<AsyncEntryData<B>, ArchiveError> {
        let extent = self.locate_async(entry).await?;
        let data = self.slice_of(self.blob().clone(), entry, extent)?;
        Ok(match entry.method() {
            Method::Stored => AsyncEntryData::Stored(data),
            _ => AsyncEntryData::Deflated(AsyncInflateReader {
                archive: self.name().into(),
                entry: entry.shared_name(),
                data,
                data_len: entry.compressed_len(),
                inline: entry.len() <= INLINE_LEN_MAX,
                work: Some(Box::new(Work {
                    inflater: Inflater::new(entry),
                    pos: 0,
                    input: Vec::new(),
                    taken: 0,
                })),
            }),
        })
    }

    /// Reads the content of `entry` and checks its checksum.
    ///
    /// # Errors
    ///
    /// As [`locate_async`](Self::locate_async), and when the content is not as declared or does
    /// not fit into memory.
    ///
    /// # Panics
    ///
    /// The future panics when it is polled outside of a worker and has to inflate.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops what was read; nothing else is lost.
    pub async fn read_async(&self, entry: &Entry) -> Result<Vec<u8>, ArchiveError> {
        let too_long = || self.error(entry, io::Error::from(io::ErrorKind::OutOfMemory));
        let len = usize::try_from(entry.len()).map_err(|_| too_long())?;
        let mut reader = match self.data_async(entry).await? {
            AsyncEntryData::Stored(data) => {
                let (result, bytes) = data.read_owned_async(0, len, Vec::new()).await;
                result.map_err(|e| self.error(entry, e))?;
                let mut crc = crc32fast::Hasher::new();
                crc.update(&bytes);
                self.check_stored(entry, bytes.len() as u64, &crc)?;
                return Ok(bytes);
            }
            AsyncEntryData::Deflated(reader) => reader,
        };
        let mut content = uninit::vec_with_room(len).map_err(|e| self.error(entry, e))?;
        let mut chunk = Vec::new();
        loop {
            chunk = reader.next_chunk(chunk, CHUNK_LEN.min(len)).await?;
            if chunk.is_empty() {
                return Ok(content);
            }
            // As long as declared, so it has been checked.
            if chunk.len() == len {
                return Ok(chunk);
            }
            content.extend_from_slice(&chunk);
        }
    }
}

impl<B: RandomReadBlobAsync> AsyncInflateReader<B> {
    /// Gives the compressed bytes, as a blob.
    pub fn compressed(&self) -> &BlobSlice<B> {
        &self.data
    }

    /// Reads up to `len` bytes, at least 1, of the content into `buf`, which is emptied first, and
    /// gives it back; an empty one is the content's end, by then checked.
    ///
    /// # Errors
    ///
    /// When the archive cannot be read, or the content is not as declared.
    ///
    /// # Panics
    ///
    /// The future panics when it is polled outside of a worker and has to inflate.
    ///
    /// # Cancel safety
    ///
    /// None: dropping the future before it is done ends the stream, and later calls fail.
    pub async fn next_chunk(&mut self, buf: Vec<u8>, len: usize) -> Result<Vec<u8>, ArchiveError> {
        let result = self.inflate(buf, len.max(1)).await;
        result.map_err(|kind| ArchiveError::of_entry(&self.archive, &self.entry, kind))
    }

    async fn inflate(&mut self, mut buf: Vec<u8>, len: usize) -> Result<Vec<u8>, ArchiveErrorKind> {
        let given_up = || io::Error::other("the stream has failed or was given up");
        let mut work = self.work.take().ok_or_else(given_up)?;
        uninit::make_room(&mut buf, len)?;
        loop {
            if work.taken == work.input.len() && work.pos < self.data_len {
                self.refill(&mut work).await?;
            }
            let input_ends = work.pos >= self.data_len;
            let step = move || {
                let result = work.step(input_ends, &mut buf, len);
                (work, buf, result)
            };
            let result;
            (work, buf, result) = if self.inline {
                step()
            } else {
                corelane::spawn_blocking(step)
                    .await
                    .map_err(io::Error::from)?
            };
            result?;
            // The declared end is given only once the stream has ended there and was checked,
            // which may take more input, but no more room.
            let full = buf.len() == len && !work.inflater.is_at_declared_end();
            if full || work.inflater.is_done() {
                self.work = Some(work);
                return Ok(buf);
            }
        }
    }

    async fn refill(&self, work: &mut Work) -> Result<(), ArchiveErrorKind> {
        let len = uninit::clamp(INPUT_LEN, self.data_len - work.pos);
        let input = std::mem::take(&mut work.input);
        let (result, input) = self.data.read_owned_async(work.pos, len, input).await;
        let got = result?;
        work.input = input;
        work.taken = 0;
        // An archive that became shorter has no more input, whatever the catalogue says.
        work.pos = if got == 0 {
            self.data_len
        } else {
            work.pos + got as u64
        };
        Ok(())
    }
}

impl Work {
    /// Inflates what input there is to the end of `buf`, until that is `len` bytes long.
    fn step(
        &mut self,
        input_ends: bool,
        buf: &mut Vec<u8>,
        len: usize,
    ) -> Result<(), ArchiveErrorKind> {
        let done = buf.len();
        buf.resize(len, 0);
        let input = &self.input[self.taken..];
        let progress = self.inflater.step(input, input_ends, &mut buf[done..])?;
        self.taken += progress.consumed;
        buf.truncate(done + progress.produced);
        let stuck = progress.consumed == 0 && progress.produced == 0;
        if stuck && !self.inflater.is_done() && (input_ends || self.taken < self.input.len()) {
            return Err(ArchiveErrorKind::Corrupt);
        }
        Ok(())
    }
}
