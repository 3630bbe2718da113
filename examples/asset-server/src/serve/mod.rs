//! The server: the plans of [`crate::plan`], carried out on corelane's workers.
//!
//! Each worker has a listener of its own on the shared address, accepts continuously, and runs a
//! task per connection. Between workers there are only the limits, the counters, and the mounts,
//! which nobody changes once they are open.

mod answer;
mod blocks;
mod catalogue;
mod connection;
mod descriptors;
mod held;
mod inflate;
mod listing;
mod lookup;
mod mounting;
mod open_files;
mod pages;
mod queued;
mod source;
mod watchdog;
mod whole;
mod wire;
mod worker;

use std::fmt;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use blobio::queue::RemoteQueue;
use corelane::sync::oneshot;
use corelane::{BackendChoice, Config, Executor, JoinHandle, Placement, RemoteSpawner};
use futures_util::future::{self, Either};
use socket2::{Domain, Socket, Type};

use crate::args::{Args, Backend};
use crate::limits::Limit;
use crate::metrics::WorkerMetrics;
use catalogue::Contents;
use mounting::{Opened, SiteMounts};
use worker::Worker;

/// Room in a worker's completion queue beside one completion for each connection: should all of
/// them come at once, none has to be kept by the kernel.
const SPARE_OPS: u64 = 4_096;

/// Credits for bytes that a worker keeps at hand.
const BYTES_BATCH: u64 = 1 << 20;

/// How long the workers' own end may take once every connection is done.
const END_MAX: Duration = Duration::from_secs(1);

/// Listings that are made at a time, over all workers; more are answered 503. Each takes memory for
/// as many names as a folder has, and one of the threads for blocking work.
const LISTINGS_MAX: u64 = 8;

/// What all workers share.
struct Site {
    args: Args,
    mounts: SiteMounts,
    contents: Contents,
    connections: Arc<Limit>,
    in_flight: Arc<Limit>,
    listings: Arc<Limit>,
    metrics: Vec<WorkerMetrics>,
    /// What each worker runs on.
    backends: Vec<corelane::Backend>,
    /// Set when all workers have started.
    spawners: OnceLock<Vec<RemoteSpawner>>,
    /// By worker; set at the same time.
    queues: OnceLock<Vec<RemoteQueue>>,
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    executor: Executor,
    addr: SocketAddr,
    drain_timeout: Duration,
    stops: Vec<oneshot::Sender<Instant>>,
    workers: Vec<JoinHandle<()>>,
    /// Waits for signals for as long as it is let.
    watching: Vec<JoinHandle<()>>,
}

/// Why a server cannot start: one line for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartError(String);

impl fmt::Display for StartError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0.replace(['\n', '\r'], " "))
    }
}

impl std::error::Error for StartError {}

impl Server {
    /// Opens the roots, starts the workers, and listens on all of them.
    ///
    /// # Errors
    /// [`StartError`] names what is in the way.
    pub fn start(args: &Args) -> Result<Self, StartError> {
        Self::try_start(args).map_err(StartError)
    }

    fn try_start(args: &Args) -> Result<Self, String> {
        let opened = mounting::open(&args.roots, args.workers)?;
        check_free(args.listen).map_err(|error| cannot_listen(args.listen, &error))?;
        let executor = start_executor(args)?;
        let (args, lowered) = fit_descriptors(args, executor.workers(), &opened.mounts)?;
        let site = Arc::new(Site::new(args.clone(), opened, backends(&executor)));
        let mut server = Self {
            executor,
            addr: args.listen,
            drain_timeout: args.drain_timeout(),
            stops: Vec::new(),
            workers: Vec::new(),
            watching: Vec::new(),
        };
        let mut queues = Vec::new();
        for index in 0..server.executor.workers() {
            queues.push(server.start_worker(index, &site)?);
        }
        let spawners = (0..server.executor.workers()).map(|index| server.executor.spawner(index));
        // Nobody else sets it.
        let _ = site.spawners.set(spawners.collect());
        let _ = site.queues.set(queues);
        if let Some(line) = lowered {
            // Nobody is left to tell if standard error is gone.
            let _ = writeln!(io::stderr(), "asset-server: {line}");
        }
        Ok(server)
    }

    /// Starts one worker's share; the first one resolves port 0 for the others.
    fn start_worker(&mut self, index: usize, site: &Arc<Site>) -> Result<RemoteQueue, String> {
        let (ready, when_ready) = oneshot::channel();
        let (stop, when_stopped) = oneshot::channel();
        let (addr, site) = (self.addr, Arc::clone(site));
        let run = move || async move {
            match Worker::open(index, site, addr).await {
                Ok((worker, listener, told)) => {
                    // The starter waits for this message.
                    let _ = ready.send(Ok(told));
                    worker.run(listener, when_stopped).await;
                }
                Err(line) => {
                    let _ = ready.send(Err(line));
                }
            }
        };
        let handle = self.executor.spawn_on(index, run);
        let handle = handle.map_err(|error| format!("cannot start a worker: {error}"))?;
        self.workers.push(handle);
        self.stops.push(stop);
        let answer = self.executor.block_on(when_ready);
        let told = answer.map_err(|_| "a worker ended while it started".to_owned())??;
        self.addr = told.addr;
        Ok(told.queue)
    }

    /// Says how many workers there are and what they run on: one line for people.
    pub fn backend(&self) -> String {
        let mut backends = backends(&self.executor);
        let workers = backends.len();
        backends.dedup();
        let names: Vec<String> = backends.iter().map(ToString::to_string).collect();
        let noun = if workers == 1 { "worker" } else { "workers" };
        format!("{workers} {noun} on {}", names.join(", "))
    }

    /// Returns the address that is listened on.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Begins to wait for SIGINT and SIGTERM, and returns two futures: of the first and of the
    /// second signal. From here on these signals do not end the process by themselves.
    ///
    /// # Errors
    /// Those of registering the handlers.
    pub fn signals(&mut self) -> io::Result<[oneshot::Receiver<i32>; 2]> {
        let (registered, when_registered) = oneshot::channel();
        let (first, when_first) = oneshot::channel();
        let (second, when_second) = oneshot::channel();
        let wait = move || async move {
            let mut signals = match corelane::signal::signals(&[libc::SIGINT, libc::SIGTERM]) {
                Ok(signals) => signals,
                Err(error) => {
                    // The caller waits for this message.
                    let _ = registered.send(Err(error));
                    return;
                }
            };
            let _ = registered.send(Ok(()));
            for sender in [first, second] {
                let Ok(signal) = signals.next().await else {
                    return;
                };
                // Who no longer waits does not want to know.
                let _ = sender.send(signal);
            }
        };
        let spawned = self.executor.spawn_on(0, wait);
        let watching = spawned.map_err(|error| io::Error::other(error.to_string()))?;
        self.watching.push(watching);
        self.block_on(when_registered).map_err(io::Error::other)??;
        Ok([when_first, when_second])
    }

    /// Waits on the calling thread, beside the workers.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.executor.block_on(future)
    }

    /// Stops accepting, answers what was accepted, lets what is being sent finish until the
    /// drain timeout or until `hurry` is ready, and ends the workers.
    pub fn stop(mut self, hurry: impl Future) {
        let deadline = Instant::now() + self.drain_timeout;
        for stop in self.stops.drain(..) {
            // A worker that has ended needs no word.
            let _ = stop.send(deadline);
        }
        let drained = future::join_all(self.workers.drain(..));
        let hurry = std::pin::pin!(hurry);
        let ended = self.executor.block_on(future::select(drained, hurry));
        let last = match ended {
            Either::Left(_) => Instant::now() + END_MAX,
            Either::Right(_) => Instant::now(),
        };
        // It would wait for its next signal until the deadline.
        for watching in self.watching.drain(..) {
            watching.abort();
        }
        self.executor.shutdown(last);
    }
}

impl Site {
    fn new(args: Args, opened: Opened, backends: Vec<corelane::Backend>) -> Self {
        let workers = backends.len();
        Self {
            connections: Limit::new(args.connections_max, workers, 0),
            in_flight: Limit::new(args.in_flight_bytes_max.get(), workers, BYTES_BATCH),
            listings: Limit::new(LISTINGS_MAX, workers, 0),
            metrics: (0..workers).map(|_| WorkerMetrics::default()).collect(),
            backends,
            spawners: OnceLock::new(),
            queues: OnceLock::new(),
            args,
            mounts: opened.mounts,
            contents: opened.contents,
        }
    }
}

/// Lowers the limits on connections and on open files to what the descriptors allow; the line, if
/// any, says so.
fn fit_descriptors(
    args: &Args,
    workers: usize,
    mounts: &SiteMounts,
) -> Result<(Args, Option<String>), String> {
    let count = |count: usize| u64::try_from(count).expect("a length");
    let descriptors = descriptors::raise_limit();
    let (workers, mounts) = (count(workers), mounts.as_slice());
    let archives = mounts.iter().filter(|mount| mount.source.is_archive());
    let enough_for = descriptors::share(
        descriptors.saturating_sub(count(archives.count()) * mounting::PER_ARCHIVE),
        workers,
        count(mounts.len() + worker::REFUSING_MAX),
        (args.connections_max, args.open_files),
    );
    let Some((connections, open_files)) = enough_for else {
        return Err(format!(
            "{descriptors} file descriptors are too few for {workers} workers: raise `ulimit -n`"
        ));
    };
    if (args.connections_max, args.open_files) == (connections, open_files) {
        return Ok((args.clone(), None));
    }
    let mut args = args.clone();
    (args.connections_max, args.open_files) = (connections, open_files);
    let line = format!(
        "{descriptors} file descriptors are enough for {connections} connections, and for \
         {open_files} files that each worker keeps open: those are the limits"
    );
    Ok((args, Some(line)))
}

/// Fails where somebody listens already: listeners that share their port would not notice.
fn check_free(addr: SocketAddr) -> io::Result<()> {
    if addr.port() == 0 {
        return Ok(());
    }
    // Bound and not listened on: nobody can connect to it meanwhile.
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&addr.into())
}

fn cannot_listen(addr: SocketAddr, error: &io::Error) -> String {
    format!("cannot listen on {addr}: {error}")
}

/// Returns what each worker runs on.
fn backends(executor: &Executor) -> Vec<corelane::Backend> {
    (0..executor.workers())
        .filter_map(|worker| executor.backend(worker))
        .collect()
}

fn start_executor(args: &Args) -> Result<Executor, String> {
    let cq_entries = u32::try_from((args.connections_max + SPARE_OPS).next_power_of_two());
    let backend = match args.backend {
        Backend::Auto => BackendChoice::Auto,
        Backend::Uring => BackendChoice::Uring,
        Backend::Threads => BackendChoice::Threads,
    };
    let config = Config::new()
        .cq_entries(cq_entries.expect("the limit on connections is below 2^16"))
        .backend(backend);
    let mut builder = Executor::builder().name("assets").config(config);
    if let Some(workers) = args.workers.map(NonZeroUsize::get) {
        let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        builder = if workers > cores {
            builder.placement(Placement::Unpinned(workers))
        } else {
            builder.workers(workers)
        };
    }
    builder.start().map_err(|error| error.to_string())
}
