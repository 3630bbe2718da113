//! What all stream sockets do.

use std::future::Future;
use std::io;
use std::net;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use socket2::SockAddr;

use crate::buf::{BufResult, IoBuf, IoBufMut};
use crate::driver::Op;
use crate::op::SharedFd;
use crate::op::kinds;
use crate::op::kinds::vectored::{Segments, SendVectored};
use crate::worker::Core;

/// A connected stream socket: what [`TcpStream`](super::TcpStream) and
/// [`UnixStream`](super::UnixStream) are made of.
#[derive(Clone)]
pub(crate) struct Stream {
    pub(super) core: Rc<Core>,
    pub(super) fd: SharedFd,
}

impl Stream {
    pub(super) fn new(core: &Rc<Core>, fd: OwnedFd) -> Self {
        Self {
            core: Rc::clone(core),
            fd: SharedFd::new(fd),
        }
    }

    pub(super) async fn connect(
        core: &Rc<Core>,
        socket: socket2::Socket,
        addr: SockAddr,
    ) -> io::Result<Self> {
        let stream = Self::new(core, socket.into());
        core.op(kinds::connect::Connect, (Box::new(addr), stream.fd.clone()))
            .await?;
        // Only now: a connect on a non-blocking socket would not wait for room in the backlog.
        socket2::SockRef::from(&stream.fd).set_nonblocking(true)?;
        Ok(stream)
    }

    pub(super) fn recv<B: IoBufMut>(&self, buf: B) -> Recv<B> {
        Recv {
            op: self
                .core
                .op(kinds::recv::Recv::new(), (buf, self.fd.clone())),
        }
    }

    pub(super) fn send<B: IoBuf>(&self, buf: B, skip: usize) -> Send<B> {
        Send {
            op: self
                .core
                .op(kinds::send::Send::new(false, skip), (buf, self.fd.clone())),
        }
    }

    /// With `more`, a segment that is not full waits for what follows.
    pub(super) async fn send_all<B: IoBuf>(&self, mut buf: B, more: bool) -> BufResult<(), B> {
        let len = buf.init_len();
        let mut sent = 0;
        while sent < len {
            let kind = kinds::send::Send::new(true, sent).more(more);
            let (result, back) = self.core.op(kind, (buf, self.fd.clone())).await;
            buf = back;
            match result {
                Ok(0) => return (Err(io::ErrorKind::WriteZero.into()), buf),
                Ok(count) => sent += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return (Err(error), buf),
            }
        }
        (Ok(()), buf)
    }

    pub(super) async fn send_vectored<B: IoBuf>(&self, bufs: Vec<B>) -> BufResult<usize, Vec<B>> {
        self.core
            .op(
                SendVectored::new(false, 0),
                Segments::new(bufs, self.fd.clone()),
            )
            .await
    }

    pub(super) async fn send_vectored_all<B: IoBuf>(
        &self,
        mut bufs: Vec<B>,
    ) -> BufResult<(), Vec<B>> {
        let len: usize = bufs.iter().map(IoBuf::init_len).sum();
        let mut sent = 0;
        while sent < len {
            let memory = Segments::new(bufs, self.fd.clone());
            let (result, back) = self.core.op(SendVectored::new(true, sent), memory).await;
            bufs = back;
            match result {
                Ok(0) => return (Err(io::ErrorKind::WriteZero.into()), bufs),
                Ok(count) => sent += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return (Err(error), bufs),
            }
        }
        (Ok(()), bufs)
    }

    pub(super) async fn shutdown(&self, how: net::Shutdown) -> io::Result<()> {
        self.core
            .op(kinds::shutdown::Shutdown(how), self.fd.clone())
            .await
    }

    pub(super) async fn close(self) -> io::Result<()> {
        match self.fd.try_unwrap() {
            Ok(fd) => {
                let memory = kinds::close::Closing::of_socket(fd);
                self.core.op(kinds::close::Close, memory).await
            }
            Err(_shared) => Ok(()),
        }
    }
}

/// The future of a stream's `recv`.
#[derive(Debug)]
#[must_use = "a receive does nothing unless it is awaited"]
pub struct Recv<B: IoBufMut> {
    op: Op<kinds::recv::Recv<B>>,
}

impl<B: IoBufMut> Future for Recv<B> {
    type Output = BufResult<usize, B>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.op).poll(cx)
    }
}

/// The future of a stream's `send`.
#[derive(Debug)]
#[must_use = "a send does nothing unless it is awaited"]
pub struct Send<B: IoBuf> {
    op: Op<kinds::send::Send<B>>,
}

impl<B: IoBuf> Future for Send<B> {
    type Output = BufResult<usize, B>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.op).poll(cx)
    }
}

/// Gives a stream type the methods that all streams have.
macro_rules! stream_methods {
    ($name:ident) => {
        impl $name {
            /// Receives into `buf`, up to its capacity, and gives it back with the count.
            ///
            /// Zero is the end of the stream, or a buffer without capacity.
            ///
            /// # Errors
            ///
            /// Those of recv(2).
            ///
            /// # Cancel safety
            ///
            /// Dropping the future gives up the buffer. Bytes that had arrived are lost with it.
            pub fn recv<B: IoBufMut>(&self, buf: B) -> Recv<B> {
                self.stream.recv(buf)
            }

            /// Receives continuously into the buffers of `ring`, one completion after another
            /// (Linux 6.0). What has arrived and was not taken is lost when the result is dropped.
            ///
            /// # Panics
            ///
            /// Panics when `ring` was made on another worker than the stream.
            #[must_use]
            #[track_caller]
            pub fn recv_stream(&self, ring: &BufRing) -> RecvStream {
                RecvStream::new(&self.stream, ring)
            }

            /// Sends from `buf` and gives it back with the count.
            ///
            /// # Errors
            ///
            /// Those of send(2). A closed peer is `BrokenPipe`, never a signal.
            ///
            /// # Cancel safety
            ///
            /// Dropping the future gives up the buffer; a part may be sent all the same.
            pub fn send<B: IoBuf>(&self, buf: B) -> Send<B> {
                self.stream.send(buf, 0)
            }

            /// Sends all of `buf`.
            ///
            /// # Errors
            ///
            /// Those of send(2), after a part may have been sent.
            ///
            /// # Cancel safety
            ///
            /// Dropping the future leaves a part sent.
            pub async fn send_all<B: IoBuf>(&self, buf: B) -> BufResult<(), B> {
                self.stream.send_all(buf, false).await
            }

            /// Sends all of `buf`, to which more follows at once (`MSG_MORE`, send(2)): of TCP, a
            /// segment that is not full waits for it, up to 200 ms. A head goes out in one segment
            /// with the beginning of the file that [`send_file`](Self::send_file) sends behind it.
            ///
            /// # Errors
            ///
            /// As [`send_all`](Self::send_all).
            ///
            /// # Cancel safety
            ///
            /// As [`send_all`](Self::send_all).
            pub async fn send_all_before_more<B: IoBuf>(&self, buf: B) -> BufResult<(), B> {
                self.stream.send_all(buf, true).await
            }

            /// Sends from `bufs` in turn.
            ///
            /// # Errors
            ///
            /// Those of sendmsg(2). No more than 1,024 segments are sent at once.
            ///
            /// # Cancel safety
            ///
            /// As [`send`](Self::send).
            pub async fn send_vectored<B: IoBuf>(&self, bufs: Vec<B>) -> BufResult<usize, Vec<B>> {
                self.stream.send_vectored(bufs).await
            }

            /// Sends all of `bufs` in turn.
            ///
            /// # Errors
            ///
            /// Those of sendmsg(2), after a part may have been sent.
            ///
            /// # Cancel safety
            ///
            /// Dropping the future leaves a part sent.
            pub async fn send_vectored_all<B: IoBuf>(&self, bufs: Vec<B>) -> BufResult<(), Vec<B>> {
                self.stream.send_vectored_all(bufs).await
            }

            /// Sends a range of a file and returns how many bytes: fewer than asked for where the
            /// file ends before.
            ///
            /// Pages in the page cache are handed to the socket without a copy (sendfile(2));
            /// others are read into a buffer of the worker's pool first, so that the worker never
            /// waits for the device.
            ///
            /// # Errors
            ///
            /// Those of sendfile(2), read(2) and send(2), after a part may have been sent. A closed
            /// peer is `BrokenPipe`; on a thread that is not an executor's, in a process that
            /// neither ignores nor blocks `SIGPIPE` (Rust's runtime ignores it), also that signal.
            ///
            /// # Cancel safety
            ///
            /// Dropping the future leaves a part sent.
            pub async fn send_file(&self, file: &File, range: Range<u64>) -> io::Result<u64> {
                send_file::send_file(&self.stream, file, range).await
            }

            /// Shuts down one direction or both (shutdown(2)).
            ///
            /// # Errors
            ///
            /// Those of shutdown(2).
            ///
            /// # Cancel safety
            ///
            /// The socket may be shut down all the same.
            pub async fn shutdown(&self, how: net::Shutdown) -> io::Result<()> {
                self.stream.shutdown(how).await
            }

            /// Closes the socket on the ring; while clones or operations share it, it stays open.
            ///
            /// # Errors
            ///
            /// Those of close(2), for the last owner.
            ///
            /// # Cancel safety
            ///
            /// The socket is closed all the same.
            pub async fn close(self) -> io::Result<()> {
                self.stream.close().await
            }
        }

        impl AsFd for $name {
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.stream.fd.as_fd()
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($name))
                    .field("fd", &self.stream.fd.raw())
                    .finish_non_exhaustive()
            }
        }
    };
}

pub(super) use stream_methods;
