//! Small reads out of a window that is read in one piece.

use std::io;
use std::io::IoSliceMut;

use crate::traits::{RandomReadBlob, RandomReadBlobAsync, advance, unexpected_eof};
use crate::uninit;

/// The length of the window unless another is asked for.
const WINDOW_LEN: usize = 4096;

/// A blob behind a window: small reads near each other cost one read of the blob.
///
/// Reads are positional still; the window moves to where reads happen. Reads of a window's length
/// and more go past it. What the window holds is not refreshed when the blob changes;
/// [`discard`](Self::discard) forgets it.
#[derive(Clone, Debug)]
pub struct BufferedBlobReader<B> {
    blob: B,
    window: Vec<u8>,
    start: u64,
    window_len: usize,
}

impl<B> BufferedBlobReader<B> {
    /// Buffers `blob` behind a window of 4 KiB.
    pub fn new(blob: B) -> Self {
        Self::with_window(blob, WINDOW_LEN)
    }

    /// Buffers `blob` behind a window of `len` bytes, at least 1.
    pub fn with_window(blob: B, len: usize) -> Self {
        Self {
            blob,
            window: Vec::new(),
            start: 0,
            window_len: len.max(1),
        }
    }

    /// Forgets what the window holds.
    pub fn discard(&mut self) {
        self.window.clear();
    }

    /// Gives the blob below.
    pub fn inner(&self) -> &B {
        &self.blob
    }

    /// Gives the blob back.
    pub fn into_inner(self) -> B {
        self.blob
    }

    /// Gives what the window holds from `pos` on.
    fn buffered(&self, pos: u64) -> &[u8] {
        pos.checked_sub(self.start)
            .and_then(|skip| self.window.get(usize::try_from(skip).ok()?..))
            .unwrap_or_default()
    }

    /// Copies what the window holds from `pos` on to the start of `buf`.
    fn copy_buffered(&self, pos: u64, buf: &mut [u8]) -> usize {
        let there = self.buffered(pos);
        let len = there.len().min(buf.len());
        buf[..len].copy_from_slice(&there[..len]);
        len
    }

    /// Takes the window out for a read; it is empty until the read has put it back.
    fn take_window(&mut self, pos: u64) -> Vec<u8> {
        self.start = pos;
        std::mem::take(&mut self.window)
    }
}

impl<B: RandomReadBlob> BufferedBlobReader<B> {
    /// Reads at `pos` and gives the number of bytes read, fewer only at the end of the blob.
    ///
    /// # Errors
    ///
    /// When reading fails.
    pub fn read_at(&mut self, pos: u64, buf: &mut [u8]) -> io::Result<usize> {
        let mut done = self.copy_buffered(pos, buf);
        while done < buf.len() {
            let Some(at) = advance(pos, done) else { break };
            let rest = &mut buf[done..];
            if rest.len() >= self.window_len {
                return Ok(done + self.blob.read_slice(at, rest)?);
            }
            self.fill(at, self.window_len)?;
            let got = self.copy_buffered(at, rest);
            if got == 0 {
                break;
            }
            done += got;
        }
        Ok(done)
    }

    /// Reads the byte at `pos`.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` when the blob ends at or before `pos`; otherwise when reading fails.
    pub fn read_byte_at(&mut self, pos: u64) -> io::Result<u8> {
        let mut byte = [0];
        match self.read_at(pos, &mut byte)? {
            0 => Err(unexpected_eof(pos, 1, 0)),
            _ => Ok(byte[0]),
        }
    }

    /// Reads at `pos` into every slice of `bufs` in order, and gives the number of bytes read.
    ///
    /// # Errors
    ///
    /// When reading fails.
    pub fn readv_at(&mut self, pos: u64, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let mut done = 0;
        for buf in bufs {
            let Some(at) = advance(pos, done) else { break };
            let got = self.read_at(at, buf)?;
            done += got;
            if got < buf.len() {
                break;
            }
        }
        Ok(done)
    }

    /// Reads `len` bytes at `pos` into the window, because reads of them are coming.
    ///
    /// The window is as long as is asked for here, once; a hint for what it holds already does
    /// nothing.
    ///
    /// # Errors
    ///
    /// When reading fails; the window is empty then.
    pub fn hint_buffering(&mut self, pos: u64, len: usize) -> io::Result<()> {
        if self.buffered(pos).len() < len {
            self.fill(pos, len)?;
        }
        Ok(())
    }

    fn fill(&mut self, pos: u64, len: usize) -> io::Result<()> {
        let mut window = self.take_window(pos);
        if window.capacity() < len {
            window = uninit::vec_with_room(len)?;
        }
        window.resize(len, 0);
        let got = self.blob.read_slice(pos, &mut window)?;
        window.truncate(got);
        self.window = window;
        Ok(())
    }
}

impl<B: RandomReadBlobAsync> BufferedBlobReader<B> {
    /// Reads at `pos` and gives the number of bytes read, fewer only at the end of the blob.
    ///
    /// # Errors
    ///
    /// When reading fails.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses what the window held, nothing else.
    pub async fn read_at_async(&mut self, pos: u64, buf: &mut [u8]) -> io::Result<usize> {
        let mut done = self.copy_buffered(pos, buf);
        while done < buf.len() {
            let Some(at) = advance(pos, done) else { break };
            let rest = &mut buf[done..];
            // A read longer than the window makes the window longer for once: an owned buffer is
            // read without the copy that a borrowed one needs.
            self.fill_async(at, rest.len().max(self.window_len)).await?;
            let got = self.copy_buffered(at, rest);
            if got == 0 {
                break;
            }
            done += got;
        }
        Ok(done)
    }

    /// Reads the byte at `pos`.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` when the blob ends at or before `pos`; otherwise when reading fails.
    ///
    /// # Cancel safety
    ///
    /// As [`read_at_async`](Self::read_at_async).
    pub async fn read_byte_at_async(&mut self, pos: u64) -> io::Result<u8> {
        let mut byte = [0];
        match self.read_at_async(pos, &mut byte).await? {
            0 => Err(unexpected_eof(pos, 1, 0)),
            _ => Ok(byte[0]),
        }
    }

    /// Reads at `pos` into every slice of `bufs` in order, and gives the number of bytes read.
    ///
    /// # Errors
    ///
    /// When reading fails.
    ///
    /// # Cancel safety
    ///
    /// As [`read_at_async`](Self::read_at_async).
    pub async fn readv_at_async(
        &mut self,
        pos: u64,
        bufs: &mut [IoSliceMut<'_>],
    ) -> io::Result<usize> {
        let mut done = 0;
        for buf in bufs {
            let Some(at) = advance(pos, done) else { break };
            let got = self.read_at_async(at, buf).await?;
            done += got;
            if got < buf.len() {
                break;
            }
        }
        Ok(done)
    }

    /// Reads `len` bytes at `pos` into the window, because reads of them are coming.
    ///
    /// # Errors
    ///
    /// When reading fails; the window is empty then.
    ///
    /// # Cancel safety
    ///
    /// As [`read_at_async`](Self::read_at_async).
    pub async fn hint_buffering_async(&mut self, pos: u64, len: usize) -> io::Result<()> {
        if self.buffered(pos).len() < len {
            self.fill_async(pos, len).await?;
        }
        Ok(())
    }

    async fn fill_async(&mut self, pos: u64, len: usize) -> io::Result<()> {
        let window = self.take_window(pos);
        let (result, window) = self.blob.read_owned_async(pos, len, window).await;
        result?;
        self.window = window;
        Ok(())
    }
}
