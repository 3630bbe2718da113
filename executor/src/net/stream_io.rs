//! The `futures_io` traits over a stream.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_io::{AsyncBufRead, AsyncRead, AsyncWrite};

use super::stream::{Recv, Send};
use super::{TcpStream, UnixStream};
use crate::buf::{BufResult, IoBuf, IoBufMut};

const BUFFER_LEN: usize = 16 * 1024;

/// A stream socket; what [`StreamIo`] wraps.
pub trait StreamSocket: sealed::Sealed + Unpin {
    #[doc(hidden)]
    fn start_recv<B: IoBufMut>(&self, buf: B) -> Recv<B>;
    #[doc(hidden)]
    fn start_send<B: IoBuf>(&self, buf: B, skip: usize) -> Send<B>;
    #[doc(hidden)]
    fn start_shutdown(&self) -> Pin<Box<dyn Future<Output = io::Result<()>>>>;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::TcpStream {}
    impl Sealed for super::UnixStream {}
}

macro_rules! stream_socket {
    ($name:ident) => {
        impl StreamSocket for $name {
            fn start_recv<B: IoBufMut>(&self, buf: B) -> Recv<B> {
                self.stream.recv(buf)
            }

            fn start_send<B: IoBuf>(&self, buf: B, skip: usize) -> Send<B> {
                self.stream.send(buf, skip)
            }

            fn start_shutdown(&self) -> Pin<Box<dyn Future<Output = io::Result<()>>>> {
                let stream = self.stream.clone();
                Box::pin(async move { stream.shutdown(std::net::Shutdown::Write).await })
            }
        }
    };
}

stream_socket!(TcpStream);
stream_socket!(UnixStream);

/// Gives a stream the `futures_io` traits, and with them every library that is written for
/// those, through a buffer of 16 KiB each way: such traits lend buffers, which a completion
/// cannot keep.
///
/// Written bytes go out when the buffer is full or [`poll_flush`](AsyncWrite::poll_flush) is
/// called; bytes that were not flushed are lost when this is dropped.
pub struct StreamIo<S> {
    stream: S,
    read: ReadState,
    write: WriteState,
    shutdown: Option<Pin<Box<dyn Future<Output = io::Result<()>>>>>,
}

enum ReadState {
    /// Bytes from the mark on have not been consumed.
    Ready(Vec<u8>, usize),
    Receiving(Recv<Vec<u8>>),
}

enum WriteState {
    /// Bytes to send.
    Buffered(Vec<u8>),
    /// The buffer is under way; so many bytes were sent before.
    Sending(Send<Vec<u8>>, usize),
}

impl<S: StreamSocket> StreamIo<S> {
    /// Wraps a stream.
    #[must_use]
    pub fn new(stream: S) -> Self {
        Self {
            stream,
            read: ReadState::Ready(Vec::with_capacity(BUFFER_LEN), 0),
            write: WriteState::Buffered(Vec::with_capacity(BUFFER_LEN)),
            shutdown: None,
        }
    }

    /// Borrows the stream.
    #[must_use]
    pub fn get_ref(&self) -> &S {
        &self.stream
    }

    fn poll_filled(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            match &mut self.read {
                ReadState::Ready(bytes, at) if *at < bytes.len() => return Poll::Ready(Ok(())),
                ReadState::Ready(bytes, _) => {
                    let mut bytes = std::mem::take(bytes);
                    bytes.clear();
                    self.read = ReadState::Receiving(self.stream.start_recv(bytes));
                }
                ReadState::Receiving(recv) => {
                    let (result, mut bytes) = ready!(Pin::new(recv).poll(cx));
                    if result.is_err() {
                        bytes.clear();
                    }
                    self.read = ReadState::Ready(bytes, 0);
                    return Poll::Ready(result.map(drop));
                }
            }
        }
    }

    /// Returns the write buffer once it has room.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<&mut Vec<u8>>> {
        let has_room =
            matches!(&self.write, WriteState::Buffered(bytes) if bytes.len() < BUFFER_LEN);
        if !has_room {
            ready!(self.poll_sent(cx))?;
        }
        let WriteState::Buffered(bytes) = &mut self.write else {
            unreachable!("what was sent leaves an empty buffer")
        };
        Poll::Ready(Ok(bytes))
    }

    fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            match &mut self.write {
                WriteState::Buffered(bytes) if bytes.is_empty() => return Poll::Ready(Ok(())),
                WriteState::Buffered(bytes) => {
                    let bytes = std::mem::take(bytes);
                    self.write = WriteState::Sending(self.stream.start_send(bytes, 0), 0);
                }
                WriteState::Sending(send, before) => {
                    let (sent, before) = (ready!(Pin::new(send).poll(cx)), *before);
                    ready!(self.after_send(sent, before))?;
                }
            }
        }
    }

    /// Goes on behind what was sent, or empties the buffer.
    fn after_send(
        &mut self,
        (result, mut bytes): BufResult<usize, Vec<u8>>,
        before: usize,
    ) -> Poll<io::Result<()>> {
        let error = match result {
            Ok(0) => Some(io::ErrorKind::WriteZero.into()),
            Ok(count) if before + count < bytes.len() => {
                let done = before + count;
                self.write = WriteState::Sending(self.stream.start_send(bytes, done), done);
                return Poll::Ready(Ok(()));
            }
            Ok(_) => None,
            Err(error) => Some(error),
        };
        bytes.clear();
        self.write = WriteState::Buffered(bytes);
        Poll::Ready(error.map_or(Ok(()), Err))
    }
}

/// Copies as much of `buf` as there is room for, and returns how much.
fn append(bytes: &mut Vec<u8>, buf: &[u8]) -> usize {
    let count = buf.len().min(BUFFER_LEN - bytes.len());
    bytes.extend_from_slice(&buf[..count]);
    count
}

impl<S: StreamSocket> AsyncBufRead for StreamIo<S> {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        ready!(this.poll_filled(cx))?;
        match &this.read {
            ReadState::Ready(bytes, at) => Poll::Ready(Ok(&bytes[*at..])),
            _ => unreachable!("a filled buffer is ready"),
        }
    }

    fn consume(mut self: Pin<&mut Self>, count: usize) {
        if let ReadState::Ready(bytes, at) = &mut self.read {
            *at = (*at + count).min(bytes.len());
        }
    }
}

impl<S: StreamSocket> AsyncRead for StreamIo<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let available = ready!(self.as_mut().poll_fill_buf(cx))?;
        let count = available.len().min(buf.len());
        buf[..count].copy_from_slice(&available[..count]);
        self.consume(count);
        Poll::Ready(Ok(count))
    }
}

impl<S: StreamSocket> AsyncWrite for StreamIo<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let bytes = ready!(self.get_mut().poll_room(cx))?;
        Poll::Ready(Ok(append(bytes, buf)))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let bytes = ready!(self.get_mut().poll_room(cx))?;
        Poll::Ready(Ok(bufs.iter().map(|buf| append(bytes, buf)).sum()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_sent(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_sent(cx))?;
        // Taken out, so that one whose poll panicked is begun anew.
        let begun = this.shutdown.take();
        let mut shutdown = begun.unwrap_or_else(|| this.stream.start_shutdown());
        let polled = shutdown.as_mut().poll(cx);
        if polled.is_pending() {
            this.shutdown = Some(shutdown);
        }
        polled
    }
}

impl<S: std::fmt::Debug> std::fmt::Debug for StreamIo<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StreamIo")
            .field("stream", &self.stream)
            .finish_non_exhaustive()
    }
}
