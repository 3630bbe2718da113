//! Unix stream sockets.

use std::io;
use std::net;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net as std_unix;
use std::path::Path;

use socket2::{Domain, SockAddr, Socket, Type};

use super::listener::{Accepted, Incoming, Listener};
use super::stream::{Recv, Send, Stream, stream_methods};
use super::{BufRing, RecvStream, send_file};
use crate::buf::{BufResult, IoBuf, IoBufMut};
use crate::fs::File;
use crate::worker::context;

/// A Unix stream listener, bound to the worker that made it.
pub struct UnixListener {
    listener: Listener,
}

impl UnixListener {
    /// Binds the path and listens.
    ///
    /// # Errors
    ///
    /// Those of socket(2), bind(2) and listen(2); `EADDRINUSE` where the path exists.
    ///
    /// # Panics
    ///
    /// Panics outside of a worker.
    #[track_caller]
    pub fn bind(path: impl AsRef<Path>) -> io::Result<Self> {
        std_unix::UnixListener::bind(path).map(Self::from_std)
    }

    /// Takes over a listener of the standard library, on the current worker.
    ///
    /// # Panics
    ///
    /// Panics outside of a worker.
    #[must_use]
    #[track_caller]
    pub fn from_std(listener: std_unix::UnixListener) -> Self {
        Self {
            listener: Listener::new(&context::current(), listener.into()),
        }
    }

    /// Accepts one connection.
    ///
    /// # Errors
    ///
    /// Those of accept(2).
    ///
    /// # Cancel safety
    ///
    /// A connection that is accepted after the future was dropped is closed.
    pub async fn accept(&self) -> io::Result<UnixStream> {
        self.listener
            .accept()
            .await
            .map(|stream| UnixStream { stream })
    }

    /// Accepts connections continuously.
    #[must_use]
    pub fn incoming(&self) -> Incoming<UnixStream> {
        self.listener.incoming()
    }
}

impl AsFd for UnixListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.fd.as_fd()
    }
}

impl std::fmt::Debug for UnixListener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UnixListener")
            .field("fd", &self.listener.fd.raw())
            .finish_non_exhaustive()
    }
}

/// A Unix stream connection, bound to the worker that made it. Clones share the socket.
#[derive(Clone)]
pub struct UnixStream {
    pub(super) stream: Stream,
}

impl UnixStream {
    /// Connects to the socket at `path`.
    ///
    /// # Errors
    ///
    /// Those of socket(2) and connect(2).
    ///
    /// # Panics
    ///
    /// The future panics when it is first polled outside of a worker.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the socket.
    pub async fn connect(path: impl AsRef<Path>) -> io::Result<Self> {
        let core = context::current();
        let socket = Socket::new(Domain::UNIX, Type::STREAM.cloexec(), None)?;
        let stream = Stream::connect(&core, socket, SockAddr::unix(path)?).await?;
        Ok(Self { stream })
    }

    /// Makes two connected sockets.
    ///
    /// # Errors
    ///
    /// Those of socketpair(2).
    ///
    /// # Panics
    ///
    /// Panics outside of a worker.
    #[track_caller]
    pub fn pair() -> io::Result<(Self, Self)> {
        let (one, two) = std_unix::UnixStream::pair()?;
        Ok((Self::from_std(one)?, Self::from_std(two)?))
    }

    /// Takes over a connection of the standard library, on the current worker.
    ///
    /// # Errors
    ///
    /// Those of making the socket non-blocking, as [`send_file`](Self::send_file) needs it.
    ///
    /// # Panics
    ///
    /// Panics outside of a worker.
    #[track_caller]
    pub fn from_std(stream: std_unix::UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream: Stream::new(&context::current(), stream.into()),
        })
    }
}

impl From<Accepted> for UnixStream {
    fn from(accepted: Accepted) -> Self {
        Self { stream: accepted.0 }
    }
}

stream_methods!(UnixStream);
