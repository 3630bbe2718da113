//! Process-wide limits: how many connections, how many bytes in flight.
//!
//! A limit is a fixed number of credits. Each worker keeps a few at hand in a place of its own,
//! which is nobody else's cache line; it refills from the common store and gives a surplus back.
//! When the store is empty it takes what others keep at hand, so no credit lies idle while somebody
//! is refused. The sum of store, places and permits is always the limit: it is never exceeded. A
//! take that runs beside another worker's refill may miss the few credits on their way and be
//! refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A limit that all workers share.
#[derive(Debug)]
pub struct Limit {
    max: u64,
    /// How many credits a worker takes beyond what it needs.
    batch: u64,
    store: Place,
    at_hand: Box<[Place]>,
}

/// Credits that lie somewhere, on cache lines of their own (two: the prefetcher takes pairs).
#[derive(Debug, Default)]
#[repr(align(128))]
struct Place(AtomicU64);

impl Place {
    /// Takes `wanted`, or as much of it as there is.
    fn take_up_to(&self, wanted: u64) -> u64 {
        let mut there = self.0.load(Ordering::Relaxed);
        loop {
            let taken = there.min(wanted);
            if taken == 0 {
                return 0;
            }
            let left = there - taken;
            // Credits guard no memory: what they stand for is handed over by other means.
            let swap = Ordering::Relaxed;
            match self.0.compare_exchange_weak(there, left, swap, swap) {
                Ok(_) => return taken,
                Err(now) => there = now,
            }
        }
    }

    fn give(&self, credits: u64) -> u64 {
        self.0.fetch_add(credits, Ordering::Relaxed) + credits
    }
}

impl Limit {
    /// Makes a limit for some number of workers. With `batch` 0 every take and every release goes
    /// to the common store.
    pub fn new(max: u64, workers: usize, batch: u64) -> Arc<Self> {
        let limit = Self {
            max,
            batch,
            store: Place::default(),
            at_hand: (0..workers).map(|_| Place::default()).collect(),
        };
        limit.store.give(max);
        Arc::new(limit)
    }

    /// Takes credits for a worker, all or none.
    ///
    /// # Panics
    /// If there is no such worker.
    pub fn try_take(self: &Arc<Self>, worker: usize, credits: u64) -> Option<Permit> {
        let mut taken = self.at_hand[worker].take_up_to(credits);
        if taken < credits {
            let need = credits - taken;
            let got = self.store.take_up_to(need.saturating_add(self.batch));
            if got > need {
                self.at_hand[worker].give(got - need);
            }
            taken += got.min(need);
        }
        for place in &self.at_hand {
            if taken == credits {
                break;
            }
            taken += place.take_up_to(credits - taken);
        }
        if taken < credits {
            self.store.give(taken);
            return None;
        }
        Some(Permit {
            limit: Arc::clone(self),
            worker,
            credits,
        })
    }

    /// Returns the limit.
    pub fn max(&self) -> u64 {
        self.max
    }

    /// Returns how many credits are taken; beside running workers, about how many.
    pub fn in_use(&self) -> u64 {
        let free: u64 = self
            .at_hand
            .iter()
            .chain([&self.store])
            .map(|place| place.0.load(Ordering::Relaxed))
            .sum();
        self.max.saturating_sub(free)
    }

    fn release(&self, worker: usize, credits: u64) {
        let at_hand = self.at_hand[worker].give(credits);
        if at_hand > self.batch.saturating_mul(2) {
            let surplus = self.at_hand[worker].take_up_to(at_hand - self.batch);
            self.store.give(surplus);
        }
    }
}

/// Credits taken from a limit, given back on drop.
#[must_use = "dropping a permit gives its credits back"]
#[derive(Debug)]
pub struct Permit {
    limit: Arc<Limit>,
    worker: usize,
    credits: u64,
}

impl Permit {
    /// Returns how many credits it holds.
    pub fn credits(&self) -> u64 {
        self.credits
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.limit.release(self.worker, self.credits);
    }
}
