//! What a watched worker says of its polls.

use std::collections::HashMap;
use std::panic::Location;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{OnStall, Stall};

/// The key of the future of a `block_on`; no task is at this address.
pub(crate) const ROOT: usize = 1;

type Places = HashMap<usize, &'static Location<'static>>;

/// The words that a worker writes and the watching thread reads.
#[derive(Debug)]
pub(crate) struct Watch {
    pub(super) threshold: Duration,
    on_stall: Option<OnStall>,
    /// Odd while a poll is under way; grows by one when it begins and when it ends. Written by the
    /// worker only.
    sequence: AtomicU64,
    /// What is polled, good for as long as `sequence` stays what it is. Written by the worker only.
    polled: AtomicUsize,
    /// Where the tasks that are not finished were spawned.
    places: Mutex<Places>,
    /// The worker's number in its executor.
    worker: AtomicUsize,
    /// Written by the watching thread only.
    stalls: AtomicU64,
}

/// A poll is under way as long as this lives.
#[derive(Debug)]
pub(crate) struct Polling<'a>(&'a Watch);

impl Drop for Polling<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.step();
    }
}

impl Watch {
    pub(crate) fn new(threshold: Duration, on_stall: Option<OnStall>) -> Self {
        Self {
            threshold,
            on_stall,
            sequence: AtomicU64::new(0),
            polled: AtomicUsize::new(0),
            places: Mutex::default(),
            worker: AtomicUsize::new(0),
            stalls: AtomicU64::new(0),
        }
    }

    pub(crate) fn set_worker(&self, worker: usize) {
        self.worker.store(worker, Ordering::Relaxed);
    }

    /// How many polls were reported.
    pub(crate) fn stalls(&self) -> u64 {
        self.stalls.load(Ordering::Relaxed)
    }

    /// Says that the worker polls what has `key`, until the guard is dropped.
    #[inline]
    pub(crate) fn poll(&self, key: usize) -> Polling<'_> {
        self.polled.store(key, Ordering::Relaxed);
        self.step();
        Polling(self)
    }

    /// Remembers where what has `key` was spawned.
    pub(crate) fn place(&self, key: usize, spawned_at: &'static Location<'static>) {
        self.places().insert(key, spawned_at);
    }

    /// Remembers where the task that is being polled was spawned.
    pub(crate) fn place_polled(&self, spawned_at: &'static Location<'static>) {
        self.place(self.polled.load(Ordering::Relaxed), spawned_at);
    }

    /// Forgets what has ended.
    pub(crate) fn forget(&self, key: usize) {
        self.places().remove(&key);
    }

    /// The number of the poll that is under way; zero when there is none.
    pub(super) fn under_way(&self) -> u64 {
        let sequence = self.sequence.load(Ordering::Acquire);
        if sequence % 2 == 1 { sequence } else { 0 }
    }

    /// Counts a poll that has been going on for `lasted`. `None` when it has ended by now.
    pub(super) fn stalled(&self, sequence: u64, lasted: Duration) -> Option<Stall> {
        let polled = self.polled.load(Ordering::Relaxed);
        let spawned_at = self.places().get(&polled).copied();
        // What was read belongs to the poll only if no other has begun since.
        fence(Ordering::Acquire);
        if self.sequence.load(Ordering::Relaxed) != sequence {
            return None;
        }
        let spawned_at = spawned_at?;
        self.stalls.fetch_add(1, Ordering::Relaxed);
        Some(Stall {
            spawned_at,
            worker: self.worker.load(Ordering::Relaxed),
            lasted,
        })
    }

    /// Tells whoever wants to know: the program, or standard error where it said nothing.
    pub(super) fn report(&self, stall: &Stall) {
        match &self.on_stall {
            Some(on_stall) => (on_stall.0)(stall),
            None => eprintln!("corelane: {stall}"),
        }
    }

    /// Only the worker's thread writes, so a load and a store are enough. The store publishes
    /// `polled`; the fence keeps the next poll's `polled` behind the end of this one.
    #[inline]
    fn step(&self) {
        let next = self.sequence.load(Ordering::Relaxed).wrapping_add(1);
        self.sequence.store(next, Ordering::Release);
        fence(Ordering::Release);
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        // Nothing panics while it is held.
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch() -> Watch {
        Watch::new(Duration::from_millis(10), None)
    }

    #[test]
    fn a_poll_is_under_way_until_its_guard_is_dropped() {
        let watch = watch();
        assert_eq!(watch.under_way(), 0);
        let polling = watch.poll(8);
        let first = watch.under_way();
        assert_ne!(first, 0);
        drop(polling);
        assert_eq!(watch.under_way(), 0);
        let _polling = watch.poll(8);
        assert_ne!(watch.under_way(), first);
    }

    #[test]
    fn a_stall_names_the_place_of_the_task_that_is_polled() {
        let watch = watch();
        let here = Location::caller();
        watch.place(8, here);
        watch.place(16, Location::caller());
        watch.set_worker(3);
        let _polling = watch.poll(8);
        let lasted = Duration::from_millis(11);
        let stall = watch.stalled(watch.under_way(), lasted).unwrap();
        assert_eq!((stall.spawned_at, stall.worker), (here, 3));
        assert_eq!(stall.lasted, lasted);
        assert_eq!(watch.stalls(), 1);
    }

    #[test]
    fn a_poll_that_has_ended_meanwhile_is_no_stall() {
        let watch = watch();
        watch.place(8, Location::caller());
        let polling = watch.poll(8);
        let seen = watch.under_way();
        drop(polling);
        assert_eq!(watch.stalled(seen, Duration::MAX), None);
        let _polling = watch.poll(8);
        assert_eq!(watch.stalled(seen, Duration::MAX), None);
        assert_eq!(watch.stalls(), 0);
    }

    #[test]
    fn a_task_that_was_placed_by_its_own_poll_is_named() {
        let watch = watch();
        let _polling = watch.poll(8);
        assert_eq!(watch.stalled(watch.under_way(), Duration::ZERO), None);
        watch.place_polled(Location::caller());
        assert!(watch.stalled(watch.under_way(), Duration::ZERO).is_some());
        watch.forget(8);
        assert_eq!(watch.stalled(watch.under_way(), Duration::ZERO), None);
    }
}
