//! What all threads share of one device: its credits, and the line of threads that found none.
//!
//! A credit is in one place at a time: in `free`, or with a thread. While somebody is in line,
//! only the line's head takes credits, and whoever has one to spare gives it back at once; so
//! threads are served in order. No wake is lost: one in line joins it before it looks at `free`,
//! one that gives adds to `free` before it looks for a line, all in one order (`SeqCst`).

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use super::DeviceStats;
use super::sysfs::QueueLimits;

/// Most credits that a thread takes at once beyond those it needs.
const BATCH_MAX: u32 = 16;

/// The credits of a device.
#[derive(Debug)]
pub(super) struct Shared {
    limits: QueueLimits,
    free: AtomicU32,
    /// How many are in `line`: written under its lock.
    in_line: AtomicUsize,
    line: Mutex<VecDeque<InLine>>,
    high_water: AtomicU32,
    waits: AtomicU64,
}

/// A thread that waits, and the task to wake there.
#[derive(Debug)]
struct InLine {
    thread: usize,
    waker: Waker,
}

impl Shared {
    pub(super) fn new(limits: QueueLimits) -> Self {
        Self {
            limits,
            free: AtomicU32::new(limits.requests_max),
            in_line: AtomicUsize::new(0),
            line: Mutex::new(VecDeque::new()),
            high_water: AtomicU32::new(0),
            waits: AtomicU64::new(0),
        }
    }

    /// Gives the credits that a read of `len` bytes takes: one for each request it becomes, but
    /// never more than there are.
    pub(super) fn weight(&self, len: usize) -> u32 {
        let requests = (len as u64).div_ceil(self.limits.request_len_max);
        let most = self.limits.requests_max;
        u32::try_from(requests).unwrap_or(most).clamp(1, most)
    }

    /// Gives how many credits a thread takes at once where nobody waits.
    pub(super) fn batch(&self) -> u32 {
        (self.limits.requests_max / 8).clamp(1, BATCH_MAX)
    }

    pub(super) fn has_line(&self) -> bool {
        self.in_line.load(Ordering::SeqCst) > 0
    }

    pub(super) fn count_wait(&self) {
        self.waits.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes at least `need` credits and at most `want`, or none.
    pub(super) fn take(&self, need: u32, want: u32) -> Option<u32> {
        let mut free = self.free.load(Ordering::SeqCst);
        loop {
            if free < need {
                return None;
            }
            let taken = free.min(want.max(need));
            match self.free.compare_exchange_weak(
                free,
                free - taken,
                Ordering::SeqCst,
                Ordering::SeqCst,
            ) {
                Ok(_) => {
                    let out = self.limits.requests_max - (free - taken);
                    self.high_water.fetch_max(out, Ordering::Relaxed);
                    return Some(taken);
                }
                Err(seen) => free = seen,
            }
        }
    }

    /// Takes credits back, and wakes the head of the line.
    pub(super) fn give(&self, credits: u32) {
        if credits > 0 {
            self.free.fetch_add(credits, Ordering::SeqCst);
        }
        if self.has_line() {
            let head = self.lock().front().map(|head| head.waker.clone());
            // Outside of the lock: a waker is foreign code.
            head.inspect(Waker::wake_by_ref);
        }
    }

    /// Puts `thread` into the line, or sets whom to wake if it is there; says whether it is first.
    pub(super) fn line_up(&self, thread: usize, waker: Waker) -> bool {
        let mut line = self.lock();
        let at = line.iter().position(|waiting| waiting.thread == thread);
        let replaced = match at {
            Some(at) => Some(std::mem::replace(&mut line[at].waker, waker)),
            None => {
                line.push_back(InLine { thread, waker });
                self.in_line.store(line.len(), Ordering::SeqCst);
                None
            }
        };
        let first = line.front().is_some_and(|head| head.thread == thread);
        drop(line);
        drop(replaced);
        first
    }

    /// Takes `thread` out of the line, and wakes who is first then.
    pub(super) fn leave(&self, thread: usize) {
        let mut line = self.lock();
        let at = line.iter().position(|waiting| waiting.thread == thread);
        let left = at.and_then(|at| line.remove(at));
        self.in_line.store(line.len(), Ordering::SeqCst);
        let head = line.front().map(|head| head.waker.clone());
        drop(line);
        drop(left);
        head.inspect(Waker::wake_by_ref);
    }

    pub(super) fn stats(&self) -> DeviceStats {
        let requests_max = self.limits.requests_max;
        DeviceStats {
            requests_max,
            requests_taken: requests_max - self.free.load(Ordering::SeqCst),
            requests_high_water: self.high_water.load(Ordering::Relaxed),
            waits: self.waits.load(Ordering::Relaxed),
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<InLine>> {
        // Nothing panics while the lock is held, but for a waker's clone, which changes nothing.
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
