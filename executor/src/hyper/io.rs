//! A stream as hyper reads and writes it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use ::hyper::rt::{Read, ReadBufCursor, Write};
use futures_io::{AsyncBufRead, AsyncWrite};

use crate::net::{StreamIo, StreamSocket};

/// A [`TcpStream`](crate::net::TcpStream) or [`UnixStream`](crate::net::UnixStream) as hyper's
/// I/O, through a buffer of 16 KiB each way.
///
/// Bytes that hyper wrote and did not flush are lost when this is dropped; hyper flushes before
/// it waits for the peer.
#[derive(Debug)]
pub struct HyperIo<S> {
    inner: StreamIo<S>,
}

impl<S: StreamSocket> HyperIo<S> {
    /// Wraps a stream.
    #[must_use]
    pub fn new(stream: S) -> Self {
        Self {
            inner: StreamIo::new(stream),
        }
    }

    /// Borrows the stream.
    #[must_use]
    pub fn get_ref(&self) -> &S {
        self.inner.get_ref()
    }

    fn inner(self: Pin<&mut Self>) -> Pin<&mut StreamIo<S>> {
        Pin::new(&mut self.get_mut().inner)
    }
}

impl<S: StreamSocket> Read for HyperIo<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let available = ready!(self.as_mut().inner().poll_fill_buf(cx))?;
        let count = available.len().min(buf.remaining());
        buf.put_slice(&available[..count]);
        self.inner().consume(count);
        Poll::Ready(Ok(()))
    }
}

impl<S: StreamSocket> Write for HyperIo<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.inner().poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.inner().poll_write_vectored(cx, bufs)
    }

    /// Spares hyper a buffer of its own: head and body meet in the one here.
    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner().poll_close(cx)
    }
}
