//! Connected sockets, TCP and Unix alike: what one side sees of the other's doings.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use corelane::fs::File;
use corelane::net::{BufRing, TcpStream, UnixStream};
use corelane::{spawn_local, time};
use socket2::Socket;

use crate::files::taken;
use crate::harness::{Backend, assert_errno};
use crate::os;
use crate::support::{content, file_of, tcp_half, yield_until};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    Tcp,
    Unix,
}

impl Family {
    pub(crate) const ALL: [Self; 2] = [Self::Tcp, Self::Unix];
}

/// One side of a connection.
#[derive(Clone, Debug)]
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

macro_rules! either {
    ($self:expr, $stream:ident => $call:expr) => {
        match $self {
            Stream::Tcp($stream) => $call,
            Stream::Unix($stream) => $call,
        }
    };
}

impl Stream {
    /// Receives into a buffer of `len` bytes, and checks that it is this one that comes back.
    pub(crate) async fn recv(&self, len: usize) -> io::Result<Vec<u8>> {
        let buf = Vec::with_capacity(len);
        let (ptr, capacity) = (buf.as_ptr(), buf.capacity());
        let (result, buf) = either!(self, stream => stream.recv(buf).await);
        assert_eq!((buf.as_ptr(), buf.capacity()), (ptr, capacity));
        assert_eq!(buf.len(), *result.as_ref().unwrap_or(&0));
        result.map(|_| buf)
    }

    /// Receives until there are `len` bytes or the end.
    async fn recv_all(&self, len: usize) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        while all.len() < len {
            let piece = self.recv((len - all.len()).min(10_000)).await?;
            if piece.is_empty() {
                break;
            }
            all.extend(piece);
        }
        Ok(all)
    }

    /// Sends, and checks that the buffer comes back as it was.
    pub(crate) async fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        let buf = bytes.to_vec();
        let ptr = buf.as_ptr();
        let (result, buf) = either!(self, stream => stream.send(buf).await);
        assert_eq!((buf.as_ptr(), &buf[..]), (ptr, bytes), "another buffer");
        result
    }

    pub(crate) async fn send_all(&self, bytes: &[u8]) -> io::Result<()> {
        let (result, buf) = either!(self, stream => stream.send_all(bytes.to_vec()).await);
        assert_eq!(buf, bytes);
        result
    }

    /// Says whether the connection has failed, which nobody has been told yet.
    fn is_over(&self) -> bool {
        either!(self, stream => os::is_ready(stream, 0))
    }

    async fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        either!(self, stream => stream.shutdown(how).await)
    }

    async fn send_file(&self, file: &File, range: std::ops::Range<u64>) -> io::Result<u64> {
        either!(self, stream => stream.send_file(file, range).await)
    }

    async fn send_vectored(&self, bufs: Vec<Vec<u8>>) -> io::Result<usize> {
        either!(self, stream => stream.send_vectored(bufs).await.0)
    }

    async fn send_vectored_all(&self, bufs: Vec<Vec<u8>>) -> io::Result<()> {
        either!(self, stream => stream.send_vectored_all(bufs).await.0)
    }
}

/// A connection, whose other side blocks.
pub(crate) async fn pair(family: Family) -> (Stream, Socket) {
    match family {
        Family::Tcp => {
            let (stream, peer) = tcp_half().await;
            (Stream::Tcp(stream), peer.into())
        }
        Family::Unix => {
            let (ours, peer) = std::os::unix::net::UnixStream::pair().unwrap();
            let ours = UnixStream::from_std(ours).unwrap();
            (Stream::Unix(ours), peer.into())
        }
    }
}

/// Lets `task` begin to wait.
async fn begin_to_wait<T>(task: &corelane::JoinHandle<T>) {
    time::sleep(Duration::from_millis(3)).await;
    assert!(!task.is_finished());
}

pub(crate) fn a_reset_connection(backend: &Backend) {
    backend.run(async {
        // Found by a receive that waits, and by one that comes later.
        for waits in [true, false] {
            let (stream, peer) = pair(Family::Tcp).await;
            let task = spawn_local({
                let stream = stream.clone();
                async move {
                    if !waits {
                        time::sleep(Duration::from_millis(5)).await;
                    }
                    stream.recv(100).await
                }
            });
            time::sleep(Duration::from_millis(1)).await;
            peer.set_linger(Some(Duration::ZERO)).unwrap();
            drop(peer);
            let received = task.await.unwrap();
            assert_errno("recv", received, libc::ECONNRESET);
            assert_eq!(stream.recv(100).await.unwrap(), b"");
            assert_errno("send", stream.send(b"x").await, libc::EPIPE);
            assert_errno("send all", stream.send_all(b"xyz").await, libc::EPIPE);
        }
        // Found by a send.
        let (stream, peer) = pair(Family::Tcp).await;
        peer.set_linger(Some(Duration::ZERO)).unwrap();
        drop(peer);
        yield_until("the reset has come", || stream.is_over()).await;
        assert_errno("send", stream.send(b"x").await, libc::ECONNRESET);
        assert_errno("send again", stream.send(b"x").await, libc::EPIPE);
        assert_eq!(stream.recv(100).await.unwrap(), b"");
    });
}

pub(crate) fn unread_bytes_reset_a_unix_connection(backend: &Backend) {
    backend.run(async {
        let (stream, peer) = pair(Family::Unix).await;
        stream.send_all(b"never read").await.unwrap();
        drop(peer);
        assert_errno("recv", stream.recv(10).await, libc::ECONNRESET);
        assert_eq!(stream.recv(10).await.unwrap(), b"");
        assert_errno("send", stream.send(b"x").await, libc::EPIPE);
    });
}

pub(crate) fn half_closed_by_the_peer(backend: &Backend) {
    backend.run(async {
        for family in Family::ALL {
            let (stream, mut peer) = pair(family).await;
            peer.write_all(b"last words").unwrap();
            peer.shutdown(Shutdown::Write).unwrap();
            assert_eq!(stream.recv_all(100).await.unwrap(), b"last words");
            for _ in 0..3 {
                assert_eq!(stream.recv(10).await.unwrap(), b"");
            }
            stream.send_all(b"still there").await.unwrap();
            stream.shutdown(Shutdown::Write).await.unwrap();
            let mut heard = String::new();
            peer.read_to_string(&mut heard).unwrap();
            assert_eq!(heard, "still there");
        }
    });
}

pub(crate) fn half_closed_by_us(backend: &Backend) {
    backend.run(async {
        for family in Family::ALL {
            let (stream, mut peer) = pair(family).await;
            stream.send_all(b"last words").await.unwrap();
            stream.shutdown(Shutdown::Write).await.unwrap();
            assert_errno("send", stream.send(b"x").await, libc::EPIPE);
            let mut heard = String::new();
            peer.read_to_string(&mut heard).unwrap();
            assert_eq!(heard, "last words");
            peer.write_all(b"an answer").unwrap();
            assert_eq!(stream.recv_all(9).await.unwrap(), b"an answer");
            drop(peer);
            assert_eq!(stream.recv(10).await.unwrap(), b"");
        }
    });
}

pub(crate) fn one_byte_at_a_time(backend: &Backend) {
    const LEN: usize = 400;
    backend.run(async {
        for family in Family::ALL {
            let (stream, mut peer) = pair(family).await;
            let writer = std::thread::spawn(move || {
                if family == Family::Tcp {
                    peer.set_tcp_nodelay(true).unwrap();
                }
                for byte in content(LEN) {
                    peer.write_all(&[byte]).unwrap();
                    std::thread::yield_now();
                }
                peer
            });
            assert_eq!(stream.recv_all(LEN).await.unwrap(), content(LEN));
            let mut peer = writer.join().unwrap();
            // And the other way: more than fits, taken in small bites.
            match &stream {
                Stream::Tcp(stream) => socket2::SockRef::from(stream).set_send_buffer_size(4096),
                Stream::Unix(stream) => socket2::SockRef::from(stream).set_send_buffer_size(4096),
            }
            .unwrap();
            let reader = std::thread::spawn(move || {
                let (mut all, mut bite) = (Vec::new(), [0; 1]);
                while peer.read(&mut bite).unwrap() == 1 {
                    all.push(bite[0]);
                }
                all
            });
            let bytes = content(150_000);
            stream.send_all(&bytes).await.unwrap();
            stream.shutdown(Shutdown::Write).await.unwrap();
            let joined = corelane::spawn_blocking(move || reader.join().unwrap());
            assert_eq!(joined.await.unwrap(), bytes);
        }
    });
}

pub(crate) fn a_shutdown_ends_a_recv(backend: &Backend) {
    backend.run(async {
        for family in Family::ALL {
            for by_us in [true, false] {
                let (stream, peer) = pair(family).await;
                let task = spawn_local({
                    let stream = stream.clone();
                    async move { stream.recv(100).await }
                });
                begin_to_wait(&task).await;
                if by_us {
                    stream.shutdown(Shutdown::Read).await.unwrap();
                } else {
                    peer.shutdown(Shutdown::Write).unwrap();
                }
                assert_eq!(task.await.unwrap().unwrap(), b"");
                assert_eq!(stream.recv(100).await.unwrap(), b"");
            }
            // A socket that was never connected, or no longer is.
            let (stream, peer) = pair(family).await;
            stream.shutdown(Shutdown::Both).await.unwrap();
            assert_eq!(stream.recv(100).await.unwrap(), b"");
            assert_errno("send", stream.send(b"x").await, libc::EPIPE);
            drop(peer);
        }
    });
}

pub(crate) fn a_closed_peer_ends_a_send(backend: &Backend) {
    backend.run(async {
        for family in Family::ALL {
            let (stream, peer) = pair(family).await;
            let task = spawn_local({
                let stream = stream.clone();
                async move {
                    // More than the sockets hold.
                    let bytes = content(1 << 20);
                    loop {
                        if let Err(error) = stream.send_all(&bytes).await {
                            return error;
                        }
                    }
                }
            });
            begin_to_wait(&task).await;
            drop(peer);
            let error = task.await.unwrap().raw_os_error();
            assert!(
                [Some(libc::EPIPE), Some(libc::ECONNRESET)].contains(&error),
                "{family:?}: {error:?}"
            );
            assert_errno("send", stream.send(b"x").await, libc::EPIPE);
        }
    });
}

pub(crate) fn both_ways_at_once(backend: &Backend) {
    const LEN: usize = 1 << 20;
    backend.run(async {
        for family in Family::ALL {
            let (stream, mut peer) = pair(family).await;
            let echo = std::thread::spawn(move || {
                let mut bite = [0; 3000];
                loop {
                    let count = peer.read(&mut bite).unwrap();
                    if count == 0 {
                        return peer.shutdown(Shutdown::Write).unwrap();
                    }
                    peer.write_all(&bite[..count]).unwrap();
                }
            });
            let sender = spawn_local({
                let stream = stream.clone();
                async move {
                    stream.send_all(&content(LEN)).await.unwrap();
                    stream.shutdown(Shutdown::Write).await.unwrap();
                }
            });
            assert!(stream.recv_all(LEN + 1).await.unwrap() == content(LEN));
            sender.await.unwrap();
            echo.join().unwrap();
        }
    });
}

pub(crate) fn empty_and_many_segments(backend: &Backend) {
    backend.run(async {
        for family in Family::ALL {
            let (stream, mut peer) = pair(family).await;
            assert_eq!(stream.send(b"").await.unwrap(), 0);
            stream.send_all(b"").await.unwrap();
            assert_eq!(stream.send_vectored(Vec::new()).await.unwrap(), 0);
            stream.send_vectored_all(vec![Vec::new(); 3]).await.unwrap();
            peer.write_all(b"x").unwrap();
            assert_eq!(stream.recv(0).await.unwrap(), b"");
            assert_eq!(stream.recv(10).await.unwrap(), b"x");
            // No more than 1,024 that are not empty go at once.
            let bufs: Vec<Vec<u8>> = (0..1500).map(|at| content(at % 10)).collect();
            let taken = taken(bufs.iter().map(Vec::len));
            let first: usize = bufs[..taken].iter().map(Vec::len).sum();
            assert_eq!(stream.send_vectored(bufs.clone()).await.unwrap(), first);
            stream.send_vectored_all(bufs.clone()).await.unwrap();
            stream.shutdown(Shutdown::Write).await.unwrap();
            let mut heard = Vec::new();
            peer.read_to_end(&mut heard).unwrap();
            assert_eq!(heard, [bufs[..taken].concat(), bufs.concat()].concat());
        }
    });
}

pub(crate) fn a_file_sent_to_a_slow_reader(backend: &Backend) {
    let bytes = content(1_500_000);
    let on_disk = file_of(&bytes);
    backend.run(async {
        let file = File::open(on_disk.path()).await.unwrap();
        for family in Family::ALL {
            let (stream, mut peer) = pair(family).await;
            let reader = std::thread::spawn(move || {
                let mut heard = Vec::new();
                let mut bite = vec![0; 20_000];
                loop {
                    let count = peer.read(&mut bite).unwrap();
                    if count == 0 {
                        return heard;
                    }
                    heard.extend_from_slice(&bite[..count]);
                    std::thread::yield_now();
                }
            });
            // Beyond the end there is nothing to send.
            let sent = stream.send_file(&file, 17..2_000_000).await.unwrap();
            assert_eq!(sent, 1_500_000 - 17);
            assert_eq!(stream.send_file(&file, 5..5).await.unwrap(), 0);
            stream.shutdown(Shutdown::Write).await.unwrap();
            let heard = corelane::spawn_blocking(move || reader.join().unwrap());
            assert!(heard.await.unwrap() == bytes[17..]);
            let sent = stream.send_file(&file, 0..100).await;
            assert_errno("send", sent, libc::EPIPE);
        }
    });
}

pub(crate) fn received_into_provided_buffers(backend: &Backend) {
    backend.run(async {
        let ring = BufRing::new(4, 1000).unwrap();
        for family in Family::ALL {
            let (stream, mut peer) = pair(family).await;
            let mut received = match &stream {
                Stream::Tcp(stream) => stream.recv_stream(&ring),
                Stream::Unix(stream) => stream.recv_stream(&ring),
            };
            let bytes = content(20_000);
            let writer = std::thread::spawn({
                let bytes = bytes.clone();
                move || peer.write_all(&bytes).unwrap()
            });
            let mut heard = Vec::new();
            while let Some(next) = received.next().await {
                match next {
                    Ok(piece) => heard.extend_from_slice(&piece),
                    // All buffers were in use for a moment.
                    Err(error) => assert_eq!(error.raw_os_error(), Some(libc::ENOBUFS)),
                }
            }
            writer.join().unwrap();
            assert_eq!(heard, bytes);
            drop(received);
            yield_until("it has ended", || corelane::stats().in_flight == 0).await;
        }
    });
}
