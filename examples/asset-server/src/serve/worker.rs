//! One worker's share of the server: its listener, its open folders and archives, its connections.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use blobio::queue::{BlobQueue, QueueConfig, RemoteQueue};
use corelane::fs::Dir;
use corelane::net::{Incoming, TcpListener, TcpStream};
use corelane::sync::{Notify, oneshot};
use corelane::time::{sleep, timeout};

use super::catalogue::WorkerPack;
use super::mounting::{PackCheck, cannot_serve};
use super::open_files::{self, OpenFiles};
use super::whole::Cache;
use super::{Site, cannot_listen, connection, wire};
use crate::http::multipart::BoundarySource;
use crate::http::response::DateCache;
use crate::metrics::WorkerMetrics;
use crate::mounts::Source;

/// Connections that may wait to be accepted; as many are looked for at the end.
const BACKLOG: i32 = 4096;

/// How long accepting rests when there are no descriptors left.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(50);

/// How long the last connections are waited for in the backlog.
const BACKLOG_WAIT: Duration = Duration::from_millis(1);

/// Connections beyond the limit that are being told so at a time; more are just closed.
pub(super) const REFUSING_MAX: usize = 64;

/// Buffers for answers that are kept for the next ones, and the largest that is.
const BUFFERS_MAX: usize = 64;
const BUFFER_LEN_MAX: usize = 128 * 1024;

/// At most one complaint is written in this time; others are counted.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(1);

/// What the tasks of one worker share.
pub(super) struct Worker {
    pub(super) index: usize,
    pub(super) site: Arc<Site>,
    /// By [`FolderRoot::index`](super::mounting::FolderRoot).
    pub(super) folders: Vec<Dir>,
    /// By [`PackRoot::index`](super::mounting::PackRoot).
    pub(super) packs: Vec<WorkerPack>,
    /// By the same number.
    pub(super) pack_checks: Vec<PackCheck>,
    pub(super) cache: Cache,
    pub(super) open_files: OpenFiles,
    pub(super) boundaries: RefCell<BoundarySource>,
    date: RefCell<DateCache>,
    buffers: RefCell<Vec<Vec<u8>>>,
    connections: Connections,
    refusing: Cell<usize>,
    complaints: Cell<(Option<Instant>, u64)>,
}

/// What others are told of a worker that has begun to listen.
pub(super) struct Ready {
    pub(super) addr: SocketAddr,
    /// To ask for its counters.
    pub(super) queue: RemoteQueue,
}

/// The connections that are open, to be told when the server stops.
#[derive(Default)]
struct Connections {
    is_draining: Cell<bool>,
    next_id: Cell<u64>,
    /// By number; a connection's task wakes by one waker for as long as it lives.
    wakers: RefCell<BTreeMap<u64, Option<Waker>>>,
    /// Told when the last one is gone.
    none_left: Notify,
}

/// A connection's place among those that are open; given up on drop.
pub(super) struct OpenConnection {
    worker: Rc<Worker>,
    id: u64,
}

impl Worker {
    /// Opens the mounts on this worker, and listens.
    ///
    /// # Errors
    /// A line for people.
    pub(super) async fn open(
        index: usize,
        site: Arc<Site>,
        addr: SocketAddr,
    ) -> Result<(Rc<Self>, TcpListener, Ready), String> {
        let queue = BlobQueue::new(QueueConfig::default());
        let queue = queue.map_err(|error| format!("cannot make a queue of reads: {error}"))?;
        let (mut folders, mut packs) = (Vec::new(), Vec::new());
        for mount in site.mounts.as_slice() {
            match &mount.source {
                Source::Folder(root) => {
                    let opened = Dir::open(&root.path).await;
                    folders.push(opened.map_err(|error| cannot_serve(&root.path, &error))?);
                }
                Source::Archive(pack, _) => {
                    let opened = pack.on_worker(&queue);
                    let opened = opened.map_err(|error| cannot_serve(&pack.path, &error))?;
                    packs.push(opened);
                }
            }
        }
        let listen = || -> io::Result<_> {
            let listener = TcpListener::options()
                .reuse_port(true)
                .backlog(BACKLOG)
                .bind(addr)?;
            wire::cut_off_who_takes_nothing(&listener, site.args.idle_timeout())?;
            let addr = listener.local_addr()?;
            Ok((listener, addr))
        };
        let (listener, addr) = listen().map_err(|error| cannot_listen(addr, &error))?;
        let cache_len = site.in_flight.max() / 4 / site.metrics.len() as u64;
        let open_files = OpenFiles::new(site.args.open_files(), folders.len());
        let worker = Self {
            index,
            folders,
            pack_checks: packs.iter().map(|_| PackCheck::default()).collect(),
            packs,
            cache: Cache::new(cache_len),
            open_files,
            boundaries: RefCell::new(BoundarySource::random()),
            date: RefCell::new(DateCache::new(unix_now())),
            buffers: RefCell::default(),
            connections: Connections::default(),
            refusing: Cell::new(0),
            complaints: Cell::new((None, 0)),
            site,
        };
        let queue = queue.remote();
        Ok((Rc::new(worker), listener, Ready { addr, queue }))
    }

    /// Accepts until it is told to stop, then answers what was accepted until the deadline that
    /// comes with the word.
    pub(super) async fn run(
        self: Rc<Self>,
        listener: TcpListener,
        mut stop: oneshot::Receiver<Instant>,
    ) {
        let sweeping = corelane::spawn_local(open_files::sweep(Rc::clone(&self)));
        let mut incoming = listener.incoming();
        let deadline = loop {
            match next_event(&mut stop, &mut incoming).await {
                Event::Stop(deadline) => break deadline,
                Event::Connection(Ok(stream)) => self.admit(stream),
                Event::Connection(Err(error)) => self.rest(&error).await,
            }
        };
        incoming.close();
        while let Some(accepted) = incoming.next().await {
            accepted.into_iter().for_each(|stream| self.admit(stream));
        }
        drop(incoming);
        // Whoever connected before the stop is in the backlog, and would be reset.
        for _ in 0..BACKLOG {
            match timeout(BACKLOG_WAIT, listener.accept()).await {
                Ok(Ok(stream)) => self.admit(stream),
                Ok(Err(_)) | Err(_) => break,
            }
        }
        drop(listener);
        // It would wait for the time of its next sweep.
        sweeping.abort();
        self.connections.drain();
        while self.connections.count() > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            let none_left = self.connections.none_left.notified();
            if timeout(left, none_left).await.is_err() {
                break;
            }
        }
    }

    /// Starts a connection's task, or one that refuses it.
    fn admit(self: &Rc<Self>, stream: TcpStream) {
        self.metrics().connections_accepted.add(1);
        let worker = Rc::clone(self);
        match self.site.connections.try_take(self.index, 1) {
            Some(permit) => {
                let open = OpenConnection::new(self);
                drop(corelane::spawn_local(async move {
                    connection::serve(worker, stream, &open).await;
                    drop((open, permit));
                }));
            }
            None if self.refusing.get() < REFUSING_MAX => {
                self.refusing.set(self.refusing.get() + 1);
                drop(corelane::spawn_local(async move {
                    connection::refuse(&worker, stream).await;
                    worker.refusing.set(worker.refusing.get() - 1);
                }));
            }
            None => {}
        }
    }

    /// Waits before accepting again, where the next try would fail like the last.
    async fn rest(&self, error: &io::Error) {
        let is_exhausted = matches!(
            error.raw_os_error(),
            Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM)
        );
        if is_exhausted {
            self.complain(&format!("cannot accept: {error}"));
            sleep(EXHAUSTED_PAUSE).await;
        }
    }

    /// Returns the second since 1970, for which the date is then at hand.
    pub(super) fn now(&self) -> u64 {
        let now = unix_now();
        self.date.borrow_mut().set(now);
        now
    }

    /// Lends the date of the second that was asked for last.
    pub(super) fn with_date<T>(&self, with: impl FnOnce(&DateCache) -> T) -> T {
        with(&self.date.borrow())
    }

    pub(super) fn metrics(&self) -> &WorkerMetrics {
        &self.site.metrics[self.index]
    }

    pub(super) fn is_draining(&self) -> bool {
        self.connections.is_draining.get()
    }

    /// Takes an empty buffer for an answer.
    pub(super) fn take_buffer(&self) -> Vec<u8> {
        self.buffers.borrow_mut().pop().unwrap_or_default()
    }

    /// Keeps a buffer for the next answer.
    pub(super) fn put_buffer(&self, mut buffer: Vec<u8>) {
        let mut buffers = self.buffers.borrow_mut();
        if buffers.len() < BUFFERS_MAX && buffer.capacity() <= BUFFER_LEN_MAX {
            buffer.clear();
            buffers.push(buffer);
        }
    }

    /// Writes a line to standard error, off the worker and not too often.
    pub(super) fn complain(&self, line: &str) {
        let now = Instant::now();
        let (last, unsaid) = self.complaints.get();
        if last.is_some_and(|last| now.duration_since(last) < COMPLAINT_INTERVAL) {
            self.complaints.set((last, unsaid + 1));
            return;
        }
        self.complaints.set((Some(now), 0));
        let more = match unsaid {
            0 => String::new(),
            count => format!(" (and {count} others before)"),
        };
        let line = format!("asset-server: {line}{more}\n");
        drop(corelane::spawn_local(async move {
            let write = move || io::Write::write_all(&mut io::stderr(), line.as_bytes());
            // Nobody is left to tell if standard error is gone.
            let _ = corelane::spawn_blocking(write).await;
        }));
    }
}

impl Connections {
    fn count(&self) -> usize {
        self.wakers.borrow().len()
    }

    /// Tells all of them that the server stops.
    fn drain(&self) {
        self.is_draining.set(true);
        let wakers: Vec<_> = self.wakers.borrow().values().flatten().cloned().collect();
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl OpenConnection {
    fn new(worker: &Rc<Worker>) -> Self {
        let id = worker.connections.next_id.get();
        worker.connections.next_id.set(id + 1);
        worker.connections.wakers.borrow_mut().insert(id, None);
        worker.metrics().connections_open.add(1);
        Self {
            worker: Rc::clone(worker),
            id,
        }
    }

    /// Says which task to wake when the server stops.
    pub(super) async fn register(&self) {
        let waker = poll_fn(|context| Poll::Ready(context.waker().clone())).await;
        let mut wakers = self.worker.connections.wakers.borrow_mut();
        wakers.insert(self.id, Some(waker));
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        let connections = &self.worker.connections;
        let waker = connections.wakers.borrow_mut().remove(&self.id);
        drop(waker);
        self.worker.metrics().connections_open.sub(1);
        if connections.count() == 0 {
            connections.none_left.notify_one();
        }
    }
}

enum Event {
    Stop(Instant),
    Connection(io::Result<TcpStream>),
}

async fn next_event(
    stop: &mut oneshot::Receiver<Instant>,
    incoming: &mut Incoming<TcpStream>,
) -> Event {
    poll_fn(|context| {
        if let Poll::Ready(stopped) = Pin::new(&mut *stop).poll(context) {
            // A server that is gone without a word waits for nothing.
            return Poll::Ready(Event::Stop(stopped.unwrap_or_else(|_| Instant::now())));
        }
        incoming.poll_next(context).map(|next| match next {
            Some(accepted) => Event::Connection(accepted),
            None => Event::Stop(Instant::now()),
        })
    })
    .await
}

fn unix_now() -> u64 {
    // A clock before 1970 counts as 1970: then no modification time is over.
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
