//! One io_uring instance: set up, push, enter, reap.
//!
//! The ring belongs to the thread that made it. Nothing here knows what an operation is: a
//! submission is an opaque [`Sqe`], a completion is three plain values.
//!
//! # Safety
//!
//! [`Ring::push`] is the one door through which memory is given to the kernel; its contract is
//! the reason for the operation slab. The queues are reached through `&mut self` alone.
#![allow(unsafe_code, reason = "pushing submissions and entering the ring")]

use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use io_uring::IoUring;

pub(crate) mod buf_ring;
pub(crate) mod setup;
pub(crate) mod sqe;

pub use setup::Rung;
pub(crate) use sqe::Sqe;

const ENTER_GETEVENTS: u32 = 1 << 0;
const ENTER_EXT_ARG: u32 = 1 << 3;
const ENTER_NO_IOWAIT: u32 = 1 << 7;

/// A completion queue entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cqe {
    pub(crate) user_data: u64,
    pub(crate) result: i32,
    pub(crate) flags: u32,
}

impl Cqe {
    /// Says whether more completions of the same submission follow.
    #[inline]
    pub(crate) fn more(&self) -> bool {
        io_uring::cqueue::more(self.flags)
    }
}

/// How long an enter waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Not at all: submit, and run the work that the kernel deferred.
    No,
    /// Until a completion arrives.
    Completion,
    /// Until a completion arrives or the time is over.
    Timeout(Duration),
}

/// What the queues' shared memory says, read without a system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pending {
    /// Completions can be taken.
    pub(crate) ready: bool,
    /// The kernel holds completions back until the ring is entered.
    pub(crate) deferred: bool,
}

impl Pending {
    pub(crate) const NOTHING: Self = Self {
        ready: false,
        deferred: false,
    };
}

/// An io_uring instance owned by the current thread.
pub(crate) struct Ring {
    inner: IoUring,
    rung: Rung,
    no_iowait: bool,
    /// The kernel ties a single-issuer ring to the thread that made it.
    _not_send: PhantomData<*mut ()>,
}

impl Ring {
    pub(crate) fn rung(&self) -> Rung {
        self.rung
    }

    pub(crate) fn cq_entries(&self) -> u32 {
        self.inner.params().cq_entries()
    }

    /// Writes a submission; `false` when the submission queue is full.
    ///
    /// # Safety
    ///
    /// - Every pointer in `sqe` stays valid, and what it points to is neither moved, freed nor
    ///   used by anyone else, until the last completion that carries the submission's user data
    ///   has been reaped. (For memory that the kernel only reads while submitting, until the
    ///   enter that submits it has returned.)
    /// - Every descriptor in `sqe` stays open for as long.
    #[inline]
    pub(crate) unsafe fn push(&mut self, sqe: &Sqe) -> bool {
        let mut queue = self.inner.submission();
        // SAFETY: the caller promises that what the entry refers to outlives the operation.
        unsafe { queue.push(&sqe.0) }.is_ok()
    }

    /// Says whether a push would be refused.
    #[inline]
    pub(crate) fn is_full(&mut self) -> bool {
        self.inner.submission().is_full()
    }

    /// Returns how many submissions wait for the next enter.
    #[inline]
    pub(crate) fn queued(&mut self) -> usize {
        self.inner.submission().len()
    }

    /// Looks at the queues: two loads, no system call.
    #[inline]
    pub(crate) fn pending(&mut self) -> Pending {
        let ready = !self.inner.completion().is_empty();
        let queue = self.inner.submission();
        Pending {
            ready,
            deferred: queue.taskrun() || queue.cq_overflow(),
        }
    }

    pub(crate) fn cq_overflowed(&mut self) -> bool {
        self.inner.submission().cq_overflow()
    }

    /// Submits what was pushed, runs what the kernel deferred, and waits as told.
    ///
    /// An interrupted or timed-out wait is `Ok`: the caller looks at the queues anyway.
    ///
    /// # Errors
    ///
    /// `EAGAIN` and `EBUSY` when the kernel cannot take more now; the submissions stay queued.
    /// `EBADR` when the kernel ran out of memory and lost a completion, after which no operation
    /// of this ring can be relied on.
    pub(crate) fn enter(&mut self, wait: Wait) -> io::Result<()> {
        let queued = self.inner.submission().len();
        let queued = u32::try_from(queued).unwrap_or(u32::MAX);
        let iowait = if self.no_iowait { ENTER_NO_IOWAIT } else { 0 };
        let submitter = self.inner.submitter();
        let entered = match wait {
            Wait::No => {
                // SAFETY: without EXT_ARG the argument is a signal mask, and there is none.
                unsafe { submitter.enter::<libc::sigset_t>(queued, 0, ENTER_GETEVENTS, None) }
            }
            Wait::Completion => {
                let flags = ENTER_GETEVENTS | iowait;
                // SAFETY: without EXT_ARG the argument is a signal mask, and there is none.
                unsafe { submitter.enter::<libc::sigset_t>(queued, 1, flags, None) }
            }
            Wait::Timeout(timeout) => {
                let timespec = Timespec::from(timeout);
                let arg = GeteventsArg::timeout(&timespec);
                let flags = ENTER_GETEVENTS | ENTER_EXT_ARG | iowait;
                // SAFETY: with EXT_ARG the argument is an io_uring_getevents_arg; it and the
                // timespec that it points to outlive the call.
                unsafe { submitter.enter(queued, 1, flags, Some(&arg)) }
            }
        };
        match entered {
            Ok(_) => Ok(()),
            Err(error) => match error.raw_os_error() {
                Some(libc::EINTR | libc::ETIME) => Ok(()),
                _ => Err(error),
            },
        }
    }

    /// Moves completions into `out`, at most as many as it has room for.
    pub(crate) fn reap(&mut self, out: &mut Vec<Cqe>) -> usize {
        let room = out.capacity() - out.len();
        let before = out.len();
        // A plain loop: `extend` would ask for capacity that is known to be there.
        for cqe in self.inner.completion().take(room) {
            out.push(Cqe {
                user_data: cqe.user_data(),
                result: cqe.result(),
                flags: cqe.flags(),
            });
        }
        out.len() - before
    }

    /// Asks the kernel to signal `eventfd` whenever a completion is due.
    pub(crate) fn register_eventfd(&self, eventfd: RawFd) -> io::Result<()> {
        self.inner.submitter().register_eventfd(eventfd)
    }

    /// Registers `eventfd` anew. A completion that a write to another eventfd brings is signalled
    /// once per registration: the kernel defers that signal, and forgets that it has been sent
    /// (seen with Linux 6.18).
    pub(crate) fn renew_eventfd(&self, eventfd: RawFd) -> io::Result<()> {
        self.inner.submitter().unregister_eventfd()?;
        self.inner.submitter().register_eventfd(eventfd)
    }

    /// Registers memory for fixed-buffer operations.
    ///
    /// # Safety
    ///
    /// - Each range stays mapped until the ring is closed and drained.
    pub(crate) unsafe fn register_buffers(&self, ranges: &[libc::iovec]) -> io::Result<()> {
        // SAFETY: the caller promises that the ranges stay mapped.
        unsafe { self.inner.submitter().register_buffers(ranges) }
    }
}

impl AsRawFd for Ring {
    fn as_raw_fd(&self) -> RawFd {
        self.inner.as_raw_fd()
    }
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring")
            .field("rung", &self.rung)
            .finish_non_exhaustive()
    }
}

/// `struct __kernel_timespec`.
#[repr(C)]
struct Timespec {
    sec: i64,
    nsec: i64,
}

impl From<Duration> for Timespec {
    fn from(duration: Duration) -> Self {
        Self {
            sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
            nsec: i64::from(duration.subsec_nanos()),
        }
    }
}

/// `struct io_uring_getevents_arg`.
#[repr(C)]
struct GeteventsArg {
    sigmask: u64,
    sigmask_sz: u32,
    min_wait_usec: u32,
    ts: u64,
}

impl GeteventsArg {
    fn timeout(timespec: &Timespec) -> Self {
        Self {
            sigmask: 0,
            sigmask_sz: 0,
            min_wait_usec: 0,
            ts: std::ptr::from_ref(timespec) as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    /// Makes a ring; `None`, where a process may make none, skips the test.
    fn open(config: &Config) -> Option<Ring> {
        match Ring::open(config) {
            Ok(ring) => Some(ring),
            Err(error @ crate::SetupError::Refused { .. })
            | Err(error @ crate::SetupError::Unsupported { .. }) => {
                let test = std::thread::current();
                println!("SKIP: {}: {error}", test.name().unwrap_or("ring"));
                None
            }
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn a_full_queue_says_so() {
        let Some(mut ring) = open(&Config::new().sq_entries(2).cq_entries(4)) else {
            return;
        };
        for user_data in 0..2 {
            // SAFETY: a no-op refers to nothing.
            assert!(unsafe { ring.push(&sqe::nop().user_data(user_data)) });
        }
        // SAFETY: a no-op refers to nothing.
        assert!(!unsafe { ring.push(&sqe::nop().user_data(2)) });
        ring.enter(Wait::No).unwrap();
        let mut cqes = Vec::with_capacity(8);
        assert_eq!(ring.reap(&mut cqes), 2);
        assert_eq!(
            cqes.iter().map(|cqe| cqe.user_data).collect::<Vec<_>>(),
            [0, 1]
        );
    }

    #[test]
    fn nothing_is_lost_when_the_completion_queue_overflows() {
        let Some(mut ring) = open(&Config::new().sq_entries(4).cq_entries(4)) else {
            return;
        };
        for user_data in 0..20 {
            // SAFETY: a no-op refers to nothing.
            assert!(unsafe { ring.push(&sqe::nop().user_data(user_data)) });
            ring.enter(Wait::No).unwrap();
        }
        assert!(ring.cq_overflowed());
        let mut seen = Vec::new();
        while ring.pending()
            != (Pending {
                ready: false,
                deferred: false,
            })
        {
            let mut cqes = Vec::with_capacity(3);
            ring.reap(&mut cqes);
            seen.extend(cqes.iter().map(|cqe| cqe.user_data));
            ring.enter(Wait::No).unwrap();
        }
        assert_eq!(seen, (0..20).collect::<Vec<_>>());
    }

    #[test]
    fn a_wait_ends_at_its_timeout() {
        let Some(mut ring) = open(&Config::new()) else {
            return;
        };
        let start = std::time::Instant::now();
        ring.enter(Wait::Timeout(Duration::from_millis(20)))
            .unwrap();
        assert!(start.elapsed() >= Duration::from_millis(20));
    }

    #[test]
    fn the_first_rung_is_reached_where_the_kernel_has_all_features() {
        let Some(ring) = open(&Config::new()) else {
            return;
        };
        assert!(Rung::LADDER.contains(&ring.rung()));
    }
}
