//! `futures_io::{AsyncRead, AsyncBufRead, AsyncSeek}` over an asynchronous blob.

use std::fmt;
use std::io;
use std::io::SeekFrom;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_io::{AsyncBufRead, AsyncRead, AsyncSeek};

use super::seek_by;
use crate::traits::RandomReadBlobAsync;

/// The length of the window unless another is asked for.
const WINDOW_LEN: usize = 64 << 10;

/// A blob with a cursor, for code that wants [`AsyncRead`], [`AsyncBufRead`] and [`AsyncSeek`].
///
/// Reads go through a window that the adapter owns, so a read that its caller gave up is not
/// lost: the next one takes its bytes. After the first read of each kind nothing is allocated.
pub struct AsyncReadSeek<B: RandomReadBlobAsync> {
    blob: B,
    pos: u64,
    window: Vec<u8>,
    start: u64,
    window_len: usize,
    // Boxed, so that the adapter is `Unpin` and the futures need not be; the boxes are reused.
    reading: Pin<Box<Option<B::ReadOwnedFuture>>>,
    measuring: Pin<Box<Option<B::ByteLengthFuture>>>,
}

impl<B: RandomReadBlobAsync> AsyncReadSeek<B> {
    /// Puts a cursor at the start of `blob`, with a window of 64 KiB.
    pub fn new(blob: B) -> Self {
        Self::with_window(blob, WINDOW_LEN)
    }

    /// Puts a cursor at the start of `blob`, with a window of `len` bytes, at least 1.
    pub fn with_window(blob: B, len: usize) -> Self {
        Self {
            blob,
            pos: 0,
            window: Vec::new(),
            start: 0,
            window_len: len.max(1),
            reading: Box::pin(None),
            measuring: Box::pin(None),
        }
    }

    /// Gives the blob back.
    pub fn into_inner(self) -> B {
        self.blob
    }

    /// Gives what the window holds from the cursor on.
    fn buffered(&self) -> &[u8] {
        self.pos
            .checked_sub(self.start)
            .and_then(|skip| self.window.get(usize::try_from(skip).ok()?..))
            .unwrap_or_default()
    }

    /// Sees to it that the window holds what is at the cursor, unless the blob ends there.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if let Some(reading) = self.reading.as_mut().as_pin_mut() {
                let (result, window) = ready!(reading.poll(cx));
                self.reading.set(None);
                self.window = window;
                if result.is_err() {
                    self.window.clear();
                }
                // A read that was given up before the cursor moved may have missed it, and its
                // error is nobody's.
                if self.start == self.pos {
                    return Poll::Ready(result.map(drop));
                }
            }
            if !self.buffered().is_empty() {
                return Poll::Ready(Ok(()));
            }
            self.start = self.pos;
            let window = std::mem::take(&mut self.window);
            let read = self
                .blob
                .read_owned_async(self.pos, self.window_len, window);
            self.reading.set(Some(read));
        }
    }

    fn poll_byte_length(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<u64>> {
        loop {
            if let Some(measuring) = self.measuring.as_mut().as_pin_mut() {
                let len = ready!(measuring.poll(cx));
                self.measuring.set(None);
                return Poll::Ready(len);
            }
            let length = self.blob.byte_length_async();
            self.measuring.set(Some(length));
        }
    }
}

impl<B: RandomReadBlobAsync + Unpin> AsyncRead for AsyncReadSeek<B> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let this = self.get_mut();
        ready!(this.poll_fill(cx))?;
        let there = this.buffered();
        let len = there.len().min(buf.len());
        buf[..len].copy_from_slice(&there[..len]);
        this.pos += len as u64;
        Poll::Ready(Ok(len))
    }
}

impl<B: RandomReadBlobAsync + Unpin> AsyncBufRead for AsyncReadSeek<B> {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        ready!(this.poll_fill(cx))?;
        Poll::Ready(Ok(this.buffered()))
    }

    fn consume(self: Pin<&mut Self>, amount: usize) {
        let this = self.get_mut();
        let amount = amount.min(this.buffered().len());
        this.pos += amount as u64;
    }
}

impl<B: RandomReadBlobAsync + Unpin> AsyncSeek for AsyncReadSeek<B> {
    fn poll_seek(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        to: SeekFrom,
    ) -> Poll<io::Result<u64>> {
        let this = self.get_mut();
        if !matches!(to, SeekFrom::End(_)) {
            // A seek that was given up must not leave an old length to the next one.
            this.measuring.set(None);
        }
        this.pos = match to {
            SeekFrom::Start(pos) => pos,
            SeekFrom::Current(delta) => seek_by(this.pos, delta, to)?,
            SeekFrom::End(delta) => {
                let len = ready!(this.poll_byte_length(cx))?;
                seek_by(len, delta, to)?
            }
        };
        Poll::Ready(Ok(this.pos))
    }
}

impl<B: RandomReadBlobAsync + fmt::Debug> fmt::Debug for AsyncReadSeek<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncReadSeek")
            .field("blob", &self.blob)
            .field("pos", &self.pos)
            .field("window_len", &self.window_len)
            .finish_non_exhaustive()
    }
}
