//! One connection's socket, with the time limits on it.

use std::io;
use std::net::Shutdown;
use std::ops::Range;
use std::pin::pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use corelane::buf::IoBuf as _;
use corelane::fs::File;
use corelane::net::{TcpListener, TcpStream};
use socket2::SockRef;

use super::watchdog::Watchdog;
use super::worker::Worker;

/// The bytes of an answer that a client has to take within the idle timeout: large enough to cost
/// nothing, small enough that a slow client gets by. One that takes nothing at all for that long
/// is cut off by the kernel, see [`cut_off_who_takes_nothing`].
pub(super) const PIECE_LEN: usize = 256 * 1024;
/// The bytes of a file that are sent at a time, for as many pieces as they are.
const FILE_PIECES_LEN: usize = 4 * PIECE_LEN;

/// How long and how much a client is listened to after the last answer.
const LINGER_MAX: Duration = Duration::from_secs(1);
const LINGER_LEN_MAX: usize = 1 << 20;

/// One connection's socket.
pub(super) struct Wire {
    pub(super) worker: Rc<Worker>,
    pub(super) stream: TcpStream,
    pub(super) watchdog: Watchdog,
}

impl Wire {
    /// Takes over a connection; the watchdog's deadline is for its first request.
    pub(super) fn new(worker: Rc<Worker>, stream: TcpStream, deadline: Instant) -> Self {
        Self {
            worker,
            stream,
            watchdog: Watchdog::new(deadline),
        }
    }

    /// Sends a buffer and gives it back empty.
    pub(super) async fn send(&mut self, buffer: Vec<u8>) -> io::Result<Vec<u8>> {
        let idle = self.rearm();
        let len = buffer.len();
        let sending = self.stream.send_all(buffer);
        let sent = taken(&mut self.watchdog, &self.stream, idle, sending).await;
        self.sent(len, sent?)
    }

    /// Sends a head, which is to go out together with the file that is sent at once behind it.
    pub(super) async fn send_head(&mut self, head: Vec<u8>) -> io::Result<Vec<u8>> {
        let idle = self.rearm();
        let len = head.len();
        let sending = self.stream.send_all_before_more(head);
        let sent = taken(&mut self.watchdog, &self.stream, idle, sending).await;
        self.sent(len, sent?)
    }

    fn sent(
        &self,
        len: usize,
        (result, mut buffer): (io::Result<()>, Vec<u8>),
    ) -> io::Result<Vec<u8>> {
        result?;
        self.count(len);
        buffer.clear();
        Ok(buffer)
    }

    /// Holds back segments that are not full (`TCP_CORK`), so that what is sent in several pieces
    /// goes out as if it were one; or lets them go.
    pub(super) fn hold_back(&self, holds_back: bool) {
        // Without it there are more segments, and nothing else is different.
        let _ = SockRef::from(&self.stream).set_tcp_cork(holds_back);
    }

    /// Sends shared bytes.
    pub(super) async fn send_bytes(&mut self, mut bytes: Bytes) -> io::Result<()> {
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(PIECE_LEN));
            let idle = self.rearm();
            let len = piece.len();
            let sending = self.stream.send_all(piece);
            let sent = taken(&mut self.watchdog, &self.stream, idle, sending).await;
            sent?.0?;
            self.count(len);
        }
        Ok(())
    }

    /// Sends a range of a file; fails if the file ends before.
    pub(super) async fn send_file(&mut self, file: &File, range: Range<u64>) -> io::Result<()> {
        let mut at = range.start;
        while at < range.end {
            let end = range.end.min(at.saturating_add(FILE_PIECES_LEN as u64));
            let idle = self.rearm_for(end - at);
            let sending = self.stream.send_file(file, at..end);
            let sent = taken(&mut self.watchdog, &self.stream, idle, sending).await;
            let sent = sent??;
            self.worker.metrics().bytes_sent.add(sent);
            at += sent;
            if sent == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }

    /// Waits for what is to be sent, as long as a piece may take.
    pub(super) async fn bound<T>(
        &mut self,
        making: impl Future<Output = io::Result<T>>,
    ) -> io::Result<T> {
        self.rearm();
        let made = self.watchdog.bound(making).await;
        made.ok_or(io::ErrorKind::TimedOut)?
    }

    /// Ends the sending side, and discards what the client still sends until it ends its own or
    /// a bound is reached: closing at once could reset the connection under the answer.
    pub(super) async fn linger(mut self) {
        self.watchdog.set(Instant::now() + LINGER_MAX);
        let shutdown = self.watchdog.bound(self.stream.shutdown(Shutdown::Write));
        if !matches!(shutdown.await, Some(Ok(()))) {
            return;
        }
        let mut buffer = self.worker.take_buffer();
        buffer.reserve(4096);
        let mut discarded = 0;
        while discarded < LINGER_LEN_MAX {
            let received = self.watchdog.bound(self.stream.recv(buffer)).await;
            let Some((Ok(count @ 1..), back)) = received else {
                return;
            };
            discarded += count;
            buffer = back;
        }
    }

    /// Receives behind what a buffer holds. `None` when the time was over, or when `gives_up`
    /// said so; it is asked whenever the task is woken.
    pub(super) async fn receive(
        &mut self,
        buffer: Vec<u8>,
        mut gives_up: impl FnMut(&mut Watchdog) -> bool,
    ) -> Option<io::Result<(usize, Vec<u8>)>> {
        let filled = buffer.len();
        let mut receive = self.stream.recv(buffer.slice(filled..));
        let watchdog = &mut self.watchdog;
        let received = std::future::poll_fn(|context| {
            if let std::task::Poll::Ready(received) = std::pin::Pin::new(&mut receive).poll(context)
            {
                return std::task::Poll::Ready(Some(received));
            }
            if gives_up(watchdog) {
                return std::task::Poll::Ready(None);
            }
            watchdog.poll(context).map(|()| None)
        });
        let (result, buffer) = received.await?;
        Some(result.map(|count| {
            let received = u64::try_from(count).expect("a length");
            self.worker.metrics().bytes_received.add(received);
            (count, buffer.into_inner())
        }))
    }

    /// Arms the watchdog for the idle timeout, and returns that.
    fn rearm(&mut self) -> Duration {
        self.rearm_for(PIECE_LEN as u64)
    }

    /// Arms the watchdog for the idle timeout of each piece of `len` bytes, and returns that of one.
    fn rearm_for(&mut self, len: u64) -> Duration {
        let idle = self.worker.site.args.idle_timeout();
        let pieces = u32::try_from(len.div_ceil(PIECE_LEN as u64)).unwrap_or(u32::MAX);
        self.watchdog
            .set(Instant::now() + idle.saturating_mul(pieces));
        idle
    }

    fn count(&self, len: usize) {
        let len = u64::try_from(len).expect("a length");
        self.worker.metrics().bytes_sent.add(len);
    }
}

/// Has the kernel end connections that a listener accepts when their clients take nothing for this
/// long (`TCP_USER_TIMEOUT`).
pub(super) fn cut_off_who_takes_nothing(listener: &TcpListener, idle: Duration) -> io::Result<()> {
    SockRef::from(listener).set_tcp_user_timeout(Some(idle))
}

/// Waits until the socket has taken a piece. Who was armed for the idle timeout gives a client that
/// takes as little as it may the time to make room: a full socket takes nothing before a third of
/// what it holds is gone, which may be many pieces.
async fn taken<F: Future>(
    watchdog: &mut Watchdog,
    stream: &TcpStream,
    idle: Duration,
    sending: F,
) -> io::Result<F::Output> {
    let mut sending = pin!(sending);
    if let Some(sent) = watchdog.bound(sending.as_mut()).await {
        return Ok(sent);
    }
    let held = SockRef::from(stream).send_buffer_size()?;
    let pieces = (held / 3).div_ceil(PIECE_LEN);
    let more = idle.saturating_mul(u32::try_from(pieces).unwrap_or(u32::MAX));
    watchdog.set(Instant::now() + more);
    let sent = watchdog.bound(sending).await;
    sent.ok_or_else(|| io::ErrorKind::TimedOut.into())
}
