//! What a queue counts.

use std::cell::RefCell;
use std::fmt;
use std::rc::{Rc, Weak};

use super::Class;
use super::error::ReadError;
use super::histogram::Histogram;
use super::limits::Usage;
use super::record::{Record, State};

/// The counters of a queue, as they were when they were asked for.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct QueueStats {
    /// Requests that the queue holds: queued, or under way.
    pub held: usize,
    /// The most it ever held.
    pub held_max: usize,
    /// Of these, how many wait for their next read.
    pub queued: usize,
    /// Tasks and batches that wait for a place.
    pub waiting: usize,
    /// The most that ever waited.
    pub waiting_max: usize,
    /// Reads in flight, and the bytes of the requests that they are for.
    pub in_flight: Usage,
    /// The most of either that were ever in flight.
    pub in_flight_max: Usage,
    /// Bytes of the requests that were read in full or to the end of the blob.
    pub bytes_asked: u64,
    /// Bytes that reads brought.
    pub bytes_read: u64,
    /// Reads that were issued.
    pub reads: u64,
    /// Requests, or pieces of them, that shared a read with another.
    pub merged: u64,
    /// Requests that took more than one piece.
    pub split: u64,
    /// Reads that were tried without waiting and refused, then issued again.
    pub refused: u64,
    /// Shared reads that failed, whose requests were then read one by one.
    pub parted: u64,
    /// The counters of each class, by [`Class::index`].
    pub classes: [ClassStats; Class::COUNT],
}

/// The counters of one class.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ClassStats {
    /// Reads in flight, and the bytes of the requests that they are for.
    pub in_flight: Usage,
    /// The most of either that were ever in flight.
    pub in_flight_max: Usage,
    /// What became of its requests.
    pub outcomes: Outcomes,
    /// Nanoseconds from when the queue took a request until it was read.
    pub latency_ns: Histogram,
}

/// What became of requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outcomes {
    /// Requests that the queue took; one that changes its class counts for its last.
    pub submitted: u64,
    /// Requests that were read.
    pub read: u64,
    /// Requests that failed.
    pub failed: u64,
    /// Requests that were cancelled.
    pub cancelled: u64,
    /// Requests that ended after their deadline.
    pub late: u64,
}

impl QueueStats {
    /// Gives how many bytes were read for each 1,000 asked; `None` while none were.
    #[must_use]
    pub fn amplification_permille(&self) -> Option<u64> {
        let read = u128::from(self.bytes_read) * 1000;
        let permille = read.checked_div(u128::from(self.bytes_asked))?;
        u64::try_from(permille).ok()
    }
}

impl Outcomes {
    /// Adds the outcome of one request.
    fn add(&mut self, result: &Result<usize, ReadError>, late: bool) {
        match result {
            Ok(_) => self.read += 1,
            Err(error) if error.is_cancelled() => self.cancelled += 1,
            Err(_) => self.failed += 1,
        }
        self.late += u64::from(late);
    }
}

/// Requests to be told apart from others in statistics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// Those whose tag has the bits of `value` where `mask` has ones.
    Tag {
        /// Which bits are looked at.
        mask: u64,
        /// What they have to be.
        value: u64,
    },
    /// Those of this name.
    Name(Box<str>),
}

impl Filter {
    pub(super) fn matches(&self, tag: u64, name: Option<&str>) -> bool {
        match self {
            Self::Tag { mask, value } => tag & mask == value & mask,
            Self::Name(wanted) => name == Some(&**wanted),
        }
    }
}

/// The requests of a filter that the queue holds now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Census {
    /// How many wait for their next read.
    pub queued: usize,
    /// How many are being read.
    pub in_flight: usize,
    /// The bytes that all of them asked for.
    pub bytes: u64,
    /// How long the oldest of them has been held, in nanoseconds.
    pub oldest_ns: u64,
}

impl Census {
    /// Counts a request unless it is done.
    pub(super) fn add(&mut self, record: &Record, now_ns: u64) {
        match record.state {
            State::Done => return,
            State::Queued | State::Parked => self.queued += 1,
            State::Chosen | State::Flying => self.in_flight += 1,
        }
        self.bytes = self.bytes.saturating_add(record.len as u64);
        self.oldest_ns = self.oldest_ns.max(now_ns.saturating_sub(record.since_ns));
    }
}

/// Counts the requests of a filter that end while it lives; see
/// [`BlobQueue::watch`](super::BlobQueue::watch).
#[must_use = "counting stops when the watch is dropped"]
pub struct Watch {
    seen: Rc<RefCell<Seen>>,
}

struct Seen {
    filter: Filter,
    stats: WatchStats,
}

/// What a [`Watch`] has counted.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct WatchStats {
    /// What became of the requests; `submitted` is how many ended.
    pub outcomes: Outcomes,
    /// The bytes that were read for them.
    pub bytes: u64,
    /// Nanoseconds from when the queue took a request until it was read.
    pub latency_ns: Histogram,
}

impl Watch {
    /// Gives what has been counted so far.
    #[must_use]
    pub fn stats(&self) -> WatchStats {
        self.seen.borrow().stats.clone()
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seen = self.seen.borrow();
        f.debug_struct("Watch")
            .field("filter", &seen.filter)
            .field("outcomes", &seen.stats.outcomes)
            .finish_non_exhaustive()
    }
}

/// The counters that the engine writes; the rest of [`QueueStats`] is known elsewhere.
#[derive(Default)]
pub(super) struct Counters {
    pub(super) totals: QueueStats,
    watches: Vec<Weak<RefCell<Seen>>>,
}

impl Counters {
    pub(super) fn watch(&mut self, filter: Filter) -> Watch {
        let seen = Rc::new(RefCell::new(Seen {
            filter,
            stats: WatchStats::default(),
        }));
        self.watches.retain(|watch| watch.strong_count() > 0);
        self.watches.push(Rc::downgrade(&seen));
        Watch { seen }
    }

    pub(super) fn submitted(&mut self, class: Class, held: usize) {
        self.totals.classes[class.index()].outcomes.submitted += 1;
        self.totals.held_max = self.totals.held_max.max(held);
    }

    /// Counts a request as one of another class.
    pub(super) fn moved(&mut self, from: Class, to: Class) {
        self.totals.classes[from.index()].outcomes.submitted -= 1;
        self.totals.classes[to.index()].outcomes.submitted += 1;
    }

    /// Counts a request that has ended.
    #[inline(always)]
    pub(super) fn ended(
        &mut self,
        record: &Record,
        tag: u64,
        result: &Result<usize, ReadError>,
        now_ns: u64,
    ) {
        let latency_ns = now_ns.saturating_sub(record.since_ns);
        let late = record.is_late(now_ns);
        let class = &mut self.totals.classes[record.class.index()];
        class.outcomes.add(result, late);
        if let Ok(len) = result {
            self.totals.bytes_asked += *len as u64;
            class.latency_ns.record(latency_ns);
        }
        if !self.watches.is_empty() {
            self.tell_watches(record, tag, result, late, latency_ns);
        }
    }

    #[cold]
    fn tell_watches(
        &mut self,
        record: &Record,
        tag: u64,
        result: &Result<usize, ReadError>,
        late: bool,
        latency_ns: u64,
    ) {
        self.watches.retain(|watch| watch.strong_count() > 0);
        for seen in self.watches.iter().filter_map(Weak::upgrade) {
            let seen = &mut *seen.borrow_mut();
            if !seen.filter.matches(tag, record.name.as_deref()) {
                continue;
            }
            seen.stats.outcomes.submitted += 1;
            seen.stats.outcomes.add(result, late);
            if let Ok(len) = result {
                seen.stats.bytes += *len as u64;
                seen.stats.latency_ns.record(latency_ns);
            }
        }
    }
}
