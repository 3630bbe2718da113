//! The backend without a ring: a pool of threads for files, epoll for sockets.
//!
//! It keeps the shape of a ring. What is pushed waits for an enter; an enter tries it, hands it to
//! the pool or lets it wait for readiness, and brings completions into a queue that is reaped.
//! Reads that the page cache has are done in the enter itself, as a ring does them, within the
//! same bound on bytes.
//!
//! # Safety
//!
//! [`Threads::submit`] makes the only [`Work`] there is of a request, when the driver has made its
//! operation [`Submitted`](crate::op::lifecycle::Lifecycle). The work is in one place from then
//! on, a list of this thread's or the hands of one thread of the pool, and is over when its
//! last completion is posted; a multishot operation's last is the one without `MORE`.
#![allow(unsafe_code, reason = "takes requests as work in flight")]

use std::collections::VecDeque;
use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use polling::Poller;

use super::backend::next_identity;
use crate::config::Config;
use crate::error::{SetupError, ThreadsReason};
use crate::op::Request;
use crate::op::slab::{KICK, OpKey};
use crate::ring::buf_ring::Consumer;
use crate::ring::{Cqe, Pending, Wait};

mod alarm;
mod attempt;
mod block;
#[cfg(feature = "sim")]
mod direct;
mod interest;
mod pool;
mod readiness;
mod work;

use block::Cached;
#[cfg(feature = "sim")]
pub(super) use direct::{Direct, Tried};
use pool::{Finished, Job, Pool};
use readiness::{Outbox, Readiness};
use work::{Place, Work};

/// `IORING_CQE_F_MORE`.
const MORE: u32 = 1 << 1;

/// Threads and epoll.
#[derive(Debug)]
pub(crate) struct Threads {
    reason: ThreadsReason,
    identity: usize,
    /// Pushed, not submitted.
    queued: VecDeque<Submission>,
    queued_max: usize,
    cq_entries: u32,
    out: Outbox,
    readiness: Readiness,
    pool: Pool,
    finished: Vec<Finished>,
    /// A foreign loop waits by the poller's descriptor: each turn empties it.
    watched: bool,
}

#[derive(Debug)]
enum Submission {
    Op(OpKey, Request),
    Cancel(OpKey),
    Kick(RawFd),
}

impl Threads {
    /// # Errors
    ///
    /// Those of epoll_create1(2), eventfd(2) and timerfd_create(2).
    pub(super) fn new(reason: ThreadsReason, config: &Config) -> Result<Self, SetupError> {
        let poller = Poller::new().map_err(|error| SetupError::from_io("epoll_create1", error))?;
        let poller = Arc::new(poller);
        // Not the mask of the calling thread, which is pinned, perhaps.
        let machine = crate::topology::machine();
        let cores = machine.map(|machine| machine.allowed.cores.clone());
        let threads_max = config.file_threads_max as usize;
        Ok(Self {
            reason,
            identity: next_identity(),
            queued: VecDeque::new(),
            queued_max: config.sq_entries.next_power_of_two() as usize,
            cq_entries: config.cq_entries.next_power_of_two(),
            out: Outbox::default(),
            readiness: Readiness::new(Arc::clone(&poller)),
            pool: Pool::new(threads_max, cores.unwrap_or_default(), poller),
            finished: Vec::new(),
            watched: false,
        })
    }

    pub(super) fn reason(&self) -> &ThreadsReason {
        &self.reason
    }

    pub(super) fn cq_entries(&self) -> u32 {
        self.cq_entries
    }

    pub(super) fn identity(&self) -> usize {
        self.identity
    }

    pub(super) fn push(&mut self, key: OpKey, request: &Request) -> bool {
        self.queue(Submission::Op(key, *request))
    }

    pub(super) fn cancel(&mut self, key: OpKey) -> bool {
        self.queue(Submission::Cancel(key))
    }

    pub(super) fn arm_kick(&mut self, eventfd: RawFd) -> bool {
        self.queue(Submission::Kick(eventfd))
    }

    pub(super) fn is_full(&mut self) -> bool {
        self.queued.len() >= self.queued_max
    }

    fn queue(&mut self, submission: Submission) -> bool {
        let room = !self.is_full();
        if room {
            self.queued.push_back(submission);
        }
        room
    }

    pub(super) fn queued(&mut self) -> usize {
        self.queued.len()
    }

    /// Nothing is ever too much for a list in memory.
    pub(super) fn overflowed(&mut self) -> bool {
        false
    }

    /// Says what is known without a system call.
    #[inline]
    pub(super) fn pending(&mut self) -> Pending {
        Pending {
            ready: !self.out.ready.is_empty(),
            deferred: self.pool.has_news() || self.readiness.is_hot(),
        }
    }

    /// Says whether only a look can tell if something is ready.
    #[inline]
    pub(super) fn wants_look(&self) -> bool {
        self.watched || self.readiness.is_waiting()
    }

    /// Lets the pool's threads run on `cores`.
    pub(super) fn place_helpers(&self, cores: &[usize]) {
        self.pool.place(cores);
    }

    pub(super) fn add_group(&mut self, group: u16, buffers: Consumer) {
        self.readiness.add_group(group, buffers);
    }

    pub(super) fn remove_group(&mut self, group: u16) {
        self.readiness.remove_group(group);
    }

    /// Returns a descriptor that is readable when a turn has something to do.
    ///
    /// # Errors
    ///
    /// Those of fcntl(2).
    pub(super) fn watch(&mut self) -> io::Result<OwnedFd> {
        let fd = self.readiness.try_clone_fd()?;
        self.watched = true;
        if !self.pool.await_news() {
            self.pool.notify();
        }
        Ok(fd)
    }

    /// Works on what was pushed, and waits as told.
    ///
    /// # Errors
    ///
    /// Those of epoll_wait(2), which are bugs.
    pub(super) fn enter(&mut self, wait: Wait) -> io::Result<()> {
        while let Some(submission) = self.queued.pop_front() {
            match submission {
                Submission::Op(key, request) => self.submit(key, request),
                Submission::Cancel(key) => self.stop(key),
                Submission::Kick(eventfd) => self.readiness.add_kick(eventfd)?,
            }
        }
        self.collect();
        match wait {
            Wait::No if self.wants_look() => self.look(Some(Duration::ZERO))?,
            Wait::No => {}
            Wait::Completion => self.wait(None)?,
            Wait::Timeout(timeout) => self.wait(Some(timeout))?,
        }
        if self.watched {
            // From here on until the next enter, it is the descriptor that tells.
            self.pool.await_news();
        }
        Ok(())
    }

    pub(super) fn reap(&mut self, out: &mut Vec<Cqe>) -> usize {
        let room = out.capacity() - out.len();
        let count = room.min(self.out.ready.len());
        out.extend(self.out.ready.drain(..count));
        count
    }

    fn submit(&mut self, key: OpKey, request: Request) {
        // SAFETY: the request's pointers and descriptors belong to its slot (`Kind`), which the
        // driver has just made submitted: it keeps it as it is until the last completion, which
        // is posted here, was dispatched, or for ever.
        let mut work = unsafe { Work::new(request) };
        match work.place() {
            Place::Here => {
                let result = work.block();
                self.out.post(key.user_data(), result, 0);
            }
            Place::Ready => self.readiness.start(key, work, &mut self.out),
            Place::Pool => self.block(Job { key, work }),
            Place::Cache => match work.read_cached() {
                Cached::All(result) => self.out.post(key.user_data(), result, 0),
                Cached::Blocks => self.block(Job { key, work }),
                Cached::Stream => self.readiness.start(key, work, &mut self.out),
            },
        }
        self.block_what_must();
    }

    /// Stops an operation that waits. One that a thread works on ends by itself, or begins to wait when
    /// the thread has found that it is a stream's.
    fn stop(&mut self, key: OpKey) {
        let mut answer = 0;
        if !self.readiness.cancel(key, &mut self.out) {
            match self.pool.cancel(key) {
                Some(job) => {
                    self.readiness.unblock(&job.work);
                    self.out.post(key.user_data(), job.work.cancelled(), 0);
                }
                None => answer = -libc::EALREADY,
            }
        }
        self.out.post(key.cancel_data(), answer, 0);
    }

    fn block(&mut self, job: Job) {
        if let Err((mut job, error)) = self.pool.submit(job) {
            self.readiness.unblock(&job.work);
            let result = match job.work.request {
                // It cannot fail without being made: nobody would close the descriptor again.
                Request::Close { .. } => job.work.block(),
                _ => -error.raw_os_error().unwrap_or(libc::EAGAIN),
            };
            self.out.post(job.key.user_data(), result, 0);
        }
    }

    fn block_what_must(&mut self) {
        while let Some(job) = self.out.blocking.pop() {
            self.block(job);
        }
    }

    /// Takes what threads have finished, and tries what was found ready.
    fn collect(&mut self) {
        if self.pool.has_news() {
            let mut finished = std::mem::take(&mut self.finished);
            self.pool.collect(&mut finished);
            for Finished { mut job, result } in finished.drain(..) {
                self.readiness.unblock(&job.work);
                if job.work.becomes_stream(result) {
                    self.readiness.start(job.key, job.work, &mut self.out);
                } else {
                    self.out.post(job.key.user_data(), result, 0);
                }
            }
            self.finished = finished;
        }
        self.readiness.proceed(&mut self.out);
        self.block_what_must();
    }

    fn look(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        if self.readiness.look(timeout)? {
            self.out.post(KICK, 1, MORE);
        }
        self.collect();
        Ok(())
    }

    /// Waits until there is a completion.
    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            let rests = self.out.ready.is_empty() && !self.readiness.is_hot();
            let timeout = if rests && self.pool.await_news() {
                left
            } else {
                Some(Duration::ZERO)
            };
            self.look(timeout)?;
            if !self.out.ready.is_empty() || left.is_some_and(|left| left.is_zero()) {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::CString;
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    /// How many descriptors the process has of the file at `path`.
    fn descriptors_of(path: &std::path::Path) -> usize {
        let folder = std::fs::read_dir("/proc/self/fd").unwrap();
        let targets = folder.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
        targets.filter(|target| target == path).count()
    }

    #[test]
    fn a_descriptor_that_came_after_the_last_look_is_closed_with_the_pool() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let file = file.into_temp_path();
        let path = CString::new(file.as_os_str().as_bytes()).unwrap();
        // SAFETY: an all-zero open_how is valid: plain integers.
        let how: libc::open_how = unsafe { std::mem::zeroed() };
        let pool = Pool::new(1, Vec::new(), Arc::new(Poller::new().unwrap()));
        let request = Request::Open {
            dir: libc::AT_FDCWD,
            path: path.as_ptr(),
            how: &raw const how,
        };
        let key = OpKey::from_user_data(1).unwrap();
        // SAFETY: path and `how` outlive the call, whose end is waited for below.
        let work = unsafe { Work::new(request) };
        pool.submit(Job { key, work }).unwrap();
        while !pool.has_news() {
            std::thread::yield_now();
        }
        assert_eq!(descriptors_of(&file), 1);
        drop(pool);
        assert_eq!(descriptors_of(&file), 0);
    }
}
