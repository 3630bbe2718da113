//! TCP.

use std::io;
use std::net::{self, SocketAddr, ToSocketAddrs};
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};

use socket2::{Domain, SockRef, Socket, Type};

use super::listener::{Accepted, Incoming, Listener};
use super::stream::{Recv, Send, Stream, stream_methods};
use super::{BufRing, RecvStream, send_file};
use crate::buf::{BufResult, IoBuf, IoBufMut};
use crate::fs::File;
use crate::worker::context;

/// A TCP listener, bound to the worker that made it.
///
/// # Examples
///
/// ```
/// # #[corelane::main]
/// # async fn main() -> std::io::Result<()> {
/// use corelane::net::{TcpListener, TcpStream};
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let client = TcpStream::connect(listener.local_addr()?).await?;
/// let server = listener.accept().await?;
/// client.send_all("hello").await.0?;
/// let (count, bytes) = server.recv(Vec::with_capacity(16)).await;
/// assert_eq!((count?, &bytes[..]), (5, &b"hello"[..]));
/// # Ok(())
/// # }
/// ```
pub struct TcpListener {
    listener: Listener,
}

/// How a TCP listener is bound; made by [`TcpListener::options`].
#[derive(Clone, Copy, Debug)]
pub struct TcpListenerOptions {
    reuse_port: bool,
    backlog: i32,
}

impl TcpListenerOptions {
    /// Lets several listeners bind the same address; the kernel spreads connections over them.
    #[must_use]
    pub fn reuse_port(mut self, reuse_port: bool) -> Self {
        self.reuse_port = reuse_port;
        self
    }

    /// Sets how many connections may wait to be accepted; the system bounds it
    /// (`net.core.somaxconn`).
    #[must_use]
    pub fn backlog(mut self, backlog: i32) -> Self {
        self.backlog = backlog;
        self
    }

    /// Binds and listens on the first of the addresses that can be bound. Name resolution blocks:
    /// give an address rather than a name.
    ///
    /// # Errors
    ///
    /// Those of socket(2), bind(2) and listen(2); `EADDRINUSE` where the address is taken.
    ///
    /// # Panics
    ///
    /// Panics outside of a worker.
    #[track_caller]
    pub fn bind(self, addr: impl ToSocketAddrs) -> io::Result<TcpListener> {
        let core = context::current();
        let mut last = io::Error::new(io::ErrorKind::InvalidInput, "no address to bind to");
        for addr in addr.to_socket_addrs()? {
            match self.bind_one(addr) {
                Ok(socket) => {
                    return Ok(TcpListener {
                        listener: Listener::new(&core, socket.into()),
                    });
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn bind_one(self, addr: SocketAddr) -> io::Result<Socket> {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM.cloexec(), None)?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(self.reuse_port)?;
        socket.bind(&addr.into())?;
        socket.listen(self.backlog)?;
        Ok(socket)
    }
}

impl TcpListener {
    /// Binds and listens, with address reuse and a backlog of 1,024.
    ///
    /// # Errors
    ///
    /// As [`TcpListenerOptions::bind`].
    ///
    /// # Panics
    ///
    /// Panics outside of a worker.
    #[track_caller]
    pub fn bind(addr: impl ToSocketAddrs) -> io::Result<Self> {
        Self::options().bind(addr)
    }

    /// Makes options to bind with.
    #[must_use]
    pub fn options() -> TcpListenerOptions {
        TcpListenerOptions {
            reuse_port: false,
            backlog: 1024,
        }
    }

    /// Takes over a listener of the standard library, on the current worker.
    ///
    /// # Panics
    ///
    /// Panics outside of a worker.
    #[must_use]
    #[track_caller]
    pub fn from_std(listener: net::TcpListener) -> Self {
        Self {
            listener: Listener::new(&context::current(), listener.into()),
        }
    }

    /// Returns the address that the listener is bound to.
    ///
    /// # Errors
    ///
    /// Those of getsockname(2).
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        socket_addr(SockRef::from(self).local_addr()?)
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
    pub async fn accept(&self) -> io::Result<TcpStream> {
        self.listener
            .accept()
            .await
            .map(|stream| TcpStream { stream })
    }

    /// Accepts connections continuously.
    #[must_use]
    pub fn incoming(&self) -> Incoming<TcpStream> {
        self.listener.incoming()
    }
}

impl AsFd for TcpListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.fd.as_fd()
    }
}

impl std::fmt::Debug for TcpListener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TcpListener")
            .field("fd", &self.listener.fd.raw())
            .finish_non_exhaustive()
    }
}

/// A TCP connection, bound to the worker that made it. Clones share the socket.
#[derive(Clone)]
pub struct TcpStream {
    pub(super) stream: Stream,
}

impl TcpStream {
    /// Connects to `addr`. Resolve names with [`lookup_host`](super::lookup_host).
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
    pub async fn connect(addr: SocketAddr) -> io::Result<Self> {
        let core = context::current();
        let kind = Type::STREAM.cloexec();
        let socket = Socket::new(Domain::for_address(addr), kind, None)?;
        let stream = Stream::connect(&core, socket, addr.into()).await?;
        Ok(Self { stream })
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
    pub fn from_std(stream: net::TcpStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream: Stream::new(&context::current(), stream.into()),
        })
    }

    /// Returns the address of the other side.
    ///
    /// # Errors
    ///
    /// Those of getpeername(2).
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        socket_addr(SockRef::from(self).peer_addr()?)
    }

    /// Returns the address of this side.
    ///
    /// # Errors
    ///
    /// Those of getsockname(2).
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        socket_addr(SockRef::from(self).local_addr()?)
    }

    /// Sends small segments at once instead of gathering them (`TCP_NODELAY`).
    ///
    /// # Errors
    ///
    /// Those of setsockopt(2).
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        SockRef::from(self).set_tcp_nodelay(nodelay)
    }
}

impl From<Accepted> for TcpStream {
    fn from(accepted: Accepted) -> Self {
        Self { stream: accepted.0 }
    }
}

stream_methods!(TcpStream);

fn socket_addr(addr: socket2::SockAddr) -> io::Result<SocketAddr> {
    addr.as_socket()
        .ok_or_else(|| io::Error::other("the socket is not an IP socket"))
}
