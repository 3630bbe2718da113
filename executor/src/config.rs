//! Limits and options of a worker, as plain values that are validated once.

use std::time::Duration;

use crate::error::{SetupError, ThreadsReason};
use crate::stall::{OnStall, Stall, THRESHOLD_MAX, THRESHOLD_MIN};

/// Smallest completion queue that leaves room for control completions beside operations.
pub(crate) const CQ_ENTRIES_MIN: u32 = 4;
/// Largest submission queue the kernel accepts (`IORING_MAX_ENTRIES`).
pub(crate) const SQ_ENTRIES_MAX: u32 = 32_768;
/// Largest completion queue the kernel accepts (`IORING_MAX_CQ_ENTRIES`).
pub(crate) const CQ_ENTRIES_MAX: u32 = 2 * SQ_ENTRIES_MAX;
/// Completions taken from the ring before the tasks they belong to are woken.
pub(crate) const REAP_BATCH: usize = 256;
/// Timers that a turn fires at most; what is left makes the next turn begin at once.
pub(crate) const EXPIRE_BATCH: usize = 256;
/// The variable that names the backend where the program does not.
const ENVIRONMENT: &str = "CORELANE_BACKEND";
/// Most threads that serve one worker's files.
pub(crate) const FILE_THREADS_MAX: u32 = 1024;
/// How long dropping a worker waits for the kernel to let go of its operations.
pub(crate) const DROP_DEADLINE: Duration = Duration::from_secs(5);

const _: () = assert!(
    CQ_ENTRIES_MIN < CQ_ENTRIES_MAX,
    "a smallest queue must fit the largest"
);

/// Options of the worker's buffer pool, which is made on first use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolConfig {
    /// Number of buffers.
    pub buffer_count: usize,
    /// Bytes in each buffer; a multiple of 4,096.
    pub buffer_len: usize,
}

impl PoolConfig {
    /// Describes a pool of `buffer_count` buffers of `buffer_len` bytes each.
    #[must_use]
    pub const fn new(buffer_count: usize, buffer_len: usize) -> Self {
        Self {
            buffer_count,
            buffer_len,
        }
    }
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self::new(128, 64 * 1024)
    }
}

/// Which machinery a worker runs its operations on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum BackendChoice {
    /// The best backend that this system allows: io_uring, or threads where it is refused or
    /// missing. The environment variable `CORELANE_BACKEND` (`auto`, `uring`, `threads`) decides
    /// where it is set.
    #[default]
    Auto,
    /// io_uring, or an error where it is refused.
    Uring,
    /// A pool of threads for files, and epoll for sockets.
    Threads,
    /// The simulated ring, seeded: for tests.
    #[cfg(feature = "sim")]
    Sim(SimConfig),
}

impl BackendChoice {
    /// Returns the choice, and why threads are to be used if they are. The environment is asked
    /// where the program leaves it open.
    pub(crate) fn or_environment(self) -> Result<(Self, ThreadsReason), SetupError> {
        if self != Self::Auto {
            return Ok((self, ThreadsReason::Configured));
        }
        let value = std::env::var_os(ENVIRONMENT).unwrap_or_default();
        let choice = match value.to_str() {
            Some("" | "auto") => Self::Auto,
            Some("uring") => Self::Uring,
            Some("threads") => Self::Threads,
            _ => {
                return Err(SetupError::Environment {
                    name: ENVIRONMENT,
                    value: value.to_string_lossy().into_owned(),
                    accepted: "auto, uring or threads",
                });
            }
        };
        Ok((choice, ThreadsReason::Environment))
    }
}

/// What the simulated ring does to the operations it is given.
#[cfg(feature = "sim")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SimConfig {
    /// Seed of every decision; the same seed replays the same run.
    pub seed: u64,
    /// Most enters an operation is held back for, at random, before it completes.
    pub delay_max: u32,
    /// Chance, in percent, that a read or a write moves fewer bytes than asked.
    pub short_percent: u8,
    /// Chance, in percent, that an operation fails with a random errno, and that an enter is
    /// turned away (`EAGAIN`, `EBUSY`).
    pub error_percent: u8,
    /// Chance, in percent, that an operation which waits for a peer (accept, recv, poll) waits
    /// until it is cancelled.
    pub stuck_percent: u8,
    /// Chance, in percent, that a read which must not wait is refused (`EAGAIN`).
    pub nowait_percent: u8,
    /// Operations are done by system calls, on the files and sockets they name, and have the
    /// results of those: the seed decides on order, delay and cancels alone. What waits for a peer
    /// is tried each millisecond. A call on a file holds up the worker.
    pub system: bool,
    /// Chance, in percent, that the kernel does not let go of a read or a write when it is
    /// cancelled, nor ever after. One operation of a ring at most: its credit is gone for good.
    pub hold_percent: u8,
}

#[cfg(feature = "sim")]
impl SimConfig {
    /// Describes a well-behaved ring that only reorders and delays.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self {
            seed,
            delay_max: 8,
            short_percent: 0,
            error_percent: 0,
            stuck_percent: 0,
            nowait_percent: 50,
            system: false,
            hold_percent: 0,
        }
    }

    /// Describes a ring that only reorders and delays, and whose operations are real.
    #[must_use]
    pub const fn system(seed: u64) -> Self {
        let mut config = Self::new(seed);
        config.system = true;
        config
    }

    /// Returns the byte that simulated reads find at an offset of any file; what is received
    /// from a peer begins as a file does.
    #[must_use]
    pub const fn byte_at(offset: u64) -> u8 {
        (offset.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
    }
}

/// Limits and options of one worker.
///
/// Every setter takes and returns the value, so that calls chain. Limits are checked when the
/// worker is made, and an impossible one is a [`SetupError`] that names it.
///
/// ```
/// use std::time::Duration;
/// let config = corelane::Config::new().sq_entries(128).reap_interval(Duration::from_micros(50));
/// # let _ = config;
/// ```
#[derive(Clone, Debug)]
pub struct Config {
    pub(crate) sq_entries: u32,
    pub(crate) cq_entries: u32,
    pub(crate) poll_budget: usize,
    pub(crate) poll_batch: usize,
    pub(crate) reap_interval: Duration,
    pub(crate) submit_bytes_max: usize,
    pub(crate) peer_ops_max: u32,
    pub(crate) remote_spawns_max: usize,
    pub(crate) spin_before_park: Option<Duration>,
    pub(crate) iowq_workers_max: [u32; 2],
    pub(crate) file_threads_max: u32,
    pub(crate) pool: PoolConfig,
    pub(crate) backend: BackendChoice,
    pub(crate) stall_threshold: Duration,
    pub(crate) on_stall: Option<OnStall>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            sq_entries: 256,
            cq_entries: 4096,
            poll_budget: 256,
            poll_batch: 32,
            reap_interval: Duration::from_micros(100),
            submit_bytes_max: 2 * 1024 * 1024,
            peer_ops_max: 65_536,
            remote_spawns_max: 65_536,
            spin_before_park: None,
            iowq_workers_max: [4, 16],
            file_threads_max: 8,
            pool: PoolConfig::default(),
            backend: BackendChoice::default(),
            stall_threshold: Duration::ZERO,
            on_stall: None,
        }
    }
}

impl Config {
    /// Makes the default configuration.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the entries of the submission queue; the kernel rounds up to a power of two. The
    /// completion queue must have as many or more.
    #[must_use]
    pub fn sq_entries(mut self, entries: u32) -> Self {
        self.sq_entries = entries;
        self
    }

    /// Sets the entries of the completion queue, which bounds the operations on files in flight:
    /// all but one in eight of the entries, and one.
    #[must_use]
    pub fn cq_entries(mut self, entries: u32) -> Self {
        self.cq_entries = entries;
        self
    }

    /// Sets how many tasks one turn polls at most.
    #[must_use]
    pub fn poll_budget(mut self, polls: usize) -> Self {
        self.poll_budget = polls;
        self
    }

    /// Sets after how many task polls at most the ring is entered when it has deferred work.
    #[must_use]
    pub fn poll_batch(mut self, polls: usize) -> Self {
        self.poll_batch = polls;
        self
    }

    /// Sets after how much time at most the ring is entered when it has deferred work.
    #[must_use]
    pub fn reap_interval(mut self, interval: Duration) -> Self {
        self.reap_interval = interval;
        self
    }

    /// Sets how many bytes of reads one enter submits at most: reads of cached pages are copied
    /// inside the call, and hold the core for as long as the copy takes.
    #[must_use]
    pub fn submit_bytes_max(mut self, bytes: usize) -> Self {
        self.submit_bytes_max = bytes;
        self
    }

    /// Sets how many operations may wait for a peer at once: accepts, connects, receives, sends and
    /// polls. More than that wait in line, and never hold up operations on files.
    #[must_use]
    pub fn peer_ops_max(mut self, operations: u32) -> Self {
        self.peer_ops_max = operations;
        self
    }

    /// Sets how many spawns from other threads may wait to be taken.
    #[must_use]
    pub fn remote_spawns_max(mut self, count: usize) -> Self {
        self.remote_spawns_max = count;
        self
    }

    /// Sets how long a worker looks for work before it parks: always, and for zero not at all. It takes
    /// the core's time for as long.
    ///
    /// By default a worker does so for 50 µs at the most, and only while other threads answer it sooner
    /// than that: to sleep and be woken by them would take longer.
    #[must_use]
    pub fn spin_before_park(mut self, duration: Duration) -> Self {
        self.spin_before_park = Some(duration);
        self
    }

    /// Sets how many kernel helper threads serve operations that may block: those on files and
    /// block devices, and the others. Zero leaves the kernel's own bound.
    #[must_use]
    pub fn iowq_workers_max(mut self, bounded: u32, unbounded: u32) -> Self {
        self.iowq_workers_max = [bounded, unbounded];
        self
    }

    /// Sets how many threads serve the worker's operations on files where it does not run on
    /// io_uring. They are started when they are needed.
    #[must_use]
    pub fn file_threads_max(mut self, threads: u32) -> Self {
        self.file_threads_max = threads;
        self
    }

    /// Sets the size of the worker's buffer pool.
    #[must_use]
    pub fn pool(mut self, pool: PoolConfig) -> Self {
        self.pool = pool;
        self
    }

    /// Sets the machinery that operations run on.
    #[must_use]
    pub fn backend(mut self, backend: BackendChoice) -> Self {
        self.backend = backend;
        self
    }

    /// Sets for how long one poll of a task may go on before it is reported as a [`Stall`]: to
    /// [`on_stall`](Self::on_stall), in [`Stats::stalls`](crate::Stats::stalls), and to `tracing`
    /// with that feature.
    ///
    /// Zero, the default, is never: what looks is a thread, and a worker starts none unasked. The
    /// thread is one for the process, and looks every half of the threshold, so that a report comes
    /// one threshold to one and a half after the poll began, while it goes on. Time in which the
    /// process was stopped does not count. A worker that is watched makes three stores more per poll,
    /// and keeps a table of where its tasks were spawned; one that is not has neither.
    ///
    /// 10 ms is a good start: shorter than a frame, and a hundred times as long as a worker means to
    /// go without looking at its ring ([`reap_interval`](Self::reap_interval)).
    #[must_use]
    pub fn stall_threshold(mut self, threshold: Duration) -> Self {
        self.stall_threshold = threshold;
        self
    }

    /// Sets who is told of a task that does not give way. It is called on the thread that looks, as
    /// the worker has no time. Without it, a line goes to standard error.
    ///
    /// ```
    /// use std::time::Duration;
    /// let config = corelane::Config::new()
    ///     .stall_threshold(Duration::from_millis(10))
    ///     .on_stall(|stall| eprintln!("{stall}"));
    /// # let _ = config;
    /// ```
    #[must_use]
    pub fn on_stall(mut self, tell: impl Fn(&Stall) + Send + Sync + 'static) -> Self {
        self.on_stall = Some(OnStall::new(tell));
        self
    }

    /// Checks every limit and the relations between them.
    pub(crate) fn validate(&self) -> Result<(), SetupError> {
        range(
            "sq_entries",
            self.sq_entries.into(),
            1,
            SQ_ENTRIES_MAX.into(),
        )?;
        let cq_min = CQ_ENTRIES_MIN.max(self.sq_entries);
        range(
            "cq_entries",
            self.cq_entries.into(),
            cq_min.into(),
            CQ_ENTRIES_MAX.into(),
        )?;
        range(
            "poll_budget",
            self.poll_budget as u64,
            1,
            u64::from(u32::MAX),
        )?;
        range("poll_batch", self.poll_batch as u64, 1, u64::from(u32::MAX))?;
        range(
            "submit_bytes_max",
            self.submit_bytes_max as u64,
            4096,
            u64::from(u32::MAX),
        )?;
        range("peer_ops_max", self.peer_ops_max.into(), 1, 1 << 20)?;
        range(
            "remote_spawns_max",
            self.remote_spawns_max as u64,
            1,
            u64::from(u32::MAX),
        )?;
        range(
            "file_threads_max",
            self.file_threads_max.into(),
            1,
            FILE_THREADS_MAX.into(),
        )?;
        if !self.stall_threshold.is_zero() {
            range(
                "stall_threshold in nanoseconds",
                nanoseconds(self.stall_threshold),
                nanoseconds(THRESHOLD_MIN),
                nanoseconds(THRESHOLD_MAX),
            )?;
        }
        self.validate_pool()
    }

    fn validate_pool(&self) -> Result<(), SetupError> {
        range(
            "pool.buffer_count",
            self.pool.buffer_count as u64,
            1,
            1 << 14,
        )?;
        range(
            "pool.buffer_len",
            self.pool.buffer_len as u64,
            4096,
            1 << 30,
        )?;
        if !self.pool.buffer_len.is_multiple_of(4096) {
            return Err(SetupError::config(
                "pool.buffer_len",
                self.pool.buffer_len as u64,
                4096,
                1 << 30,
            ));
        }
        Ok(())
    }
}

fn range(name: &'static str, value: u64, min: u64, max: u64) -> Result<(), SetupError> {
    if (min..=max).contains(&value) {
        Ok(())
    } else {
        Err(SetupError::config(name, value, min, max))
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
