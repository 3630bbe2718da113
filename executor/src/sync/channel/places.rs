//! The places of a channel: a ring of numbered ones, filled by many and emptied by one, without a lock.
//!
//! A position counts through the places, lap after lap; its lowest bits are left free for flags. The
//! number in a place says whose turn it is: the position itself while that one may fill it, the position
//! with [`FILLED`] while its value is there. A sender takes a position by moving `tail`, writes the value
//! and sets the number; the receiver takes the value and sets the number of the next lap.
//!
//! While senders wait in line, the gate is closed, and a flag in `tail` says so: nobody takes a position
//! past them then but under the lock of the channel. Another flag in `tail` ends all sending.
//!
//! After D. Vyukov's bounded queue, and the channel of the standard library for laps of any length.
//!
//! # Safety
//!
//! This is an unsafe room. A value is written by whoever moved `tail` past its place while the number
//! of the place said that it is free, and read once, by whoever may empty ([`Places::pop`]), after the
//! number said that it is filled. Between the two nobody else touches it. No code of the user's runs in
//! here but the drops in `Places::drop`.
#![allow(
    unsafe_code,
    reason = "values that are there or not by the number of their place, and are shared between threads"
)]

use std::fmt;
use std::mem::MaybeUninit;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crossbeam_utils::CachePadded;

use crate::guard::guarded;
use crate::shim::{AtomicUsize, UnsafeCell};

/// In `tail`: senders wait in line, and who sends does so under the lock.
const GATED: usize = 1;
/// In `tail`: every send fails.
const CLOSED: usize = 2;
/// In the number of a place: its value is there.
const FILLED: usize = 1;
/// From one position to the next: above the flags.
const STEP: usize = 4;

pub(super) struct Places<T> {
    /// The position that is filled next, and flags. Moved by senders: by an exchange while there are
    /// no flags, by a store under the lock while the gate is closed.
    tail: CachePadded<AtomicUsize>,
    /// The position that is emptied next. Moved by whoever may empty.
    head: CachePadded<AtomicUsize>,
    places: Box<[Place<T>]>,
    /// From a position to the same place one lap on: a power of two, so that positions may wrap.
    lap: usize,
}

struct Place<T> {
    number: AtomicUsize,
    value: UnsafeCell<MaybeUninit<T>>,
}

/// Why a value got no place; it comes back.
#[derive(Debug)]
pub(super) enum Refused<T> {
    /// Every place is taken.
    Full(T),
    /// Others wait in line.
    Gated(T),
    /// Nothing is sent any more.
    Closed(T),
}

// SAFETY: a value is moved in by one thread and out by another, which `T: Send` allows. No reference to
// one is ever handed out, so that `T` need not be `Sync`.
unsafe impl<T: Send> Send for Places<T> {}
// SAFETY: as above; who reads and writes a place at which time is the protocol at the head.
unsafe impl<T: Send> Sync for Places<T> {}

/// No code of the user's runs between two steps that belong together.
impl<T> UnwindSafe for Places<T> {}
impl<T> RefUnwindSafe for Places<T> {}

impl<T> Places<T> {
    /// Makes `capacity` free places.
    ///
    /// # Panics
    ///
    /// Panics when `capacity` is zero.
    #[track_caller]
    pub(super) fn new(capacity: usize) -> Self {
        assert!(capacity > 0, "a channel needs a capacity of at least one");
        // Before any arithmetic with it: there is no memory for one that would overflow below.
        let mut places = Vec::with_capacity(capacity);
        places.extend((0..capacity).map(|index| Place {
            number: AtomicUsize::new(index * STEP),
            value: UnsafeCell::new(MaybeUninit::uninit()),
        }));
        Self {
            tail: CachePadded::new(AtomicUsize::new(0)),
            head: CachePadded::new(AtomicUsize::new(0)),
            places: places.into_boxed_slice(),
            lap: capacity.next_power_of_two() * STEP,
        }
    }

    pub(super) fn capacity(&self) -> usize {
        self.places.len()
    }

    /// Fills the next place. To be followed by a look at whether the receiver waits.
    #[inline]
    pub(super) fn push(&self, value: T) -> Result<(), Refused<T>> {
        let mut tail = self.tail.load(Relaxed);
        loop {
            if tail & CLOSED != 0 {
                return Err(Refused::Closed(value));
            }
            if tail & GATED != 0 {
                return Err(Refused::Gated(value));
            }
            let place = &self.places[self.index(tail)];
            if place.number.load(Acquire) == tail {
                // Whatever was in the place is seen to be gone by the load above.
                let next = self.next(tail);
                match (self.tail).compare_exchange_weak(tail, next, Relaxed, Relaxed) {
                    Ok(_) => {
                        place.fill(tail, value);
                        return Ok(());
                    }
                    Err(now) => tail = now,
                }
            } else {
                // It is still taken, or somebody was faster: who has seen their number sees their tail.
                let now = self.tail.load(Relaxed);
                if now == tail {
                    return Err(Refused::Full(value));
                }
                tail = now;
            }
        }
    }

    /// Fills the next place. Under the lock, with the gate closed and a place free.
    pub(super) fn push_gated(&self, value: T) {
        let flagged = self.tail.load(Relaxed);
        debug_assert!(flagged & GATED != 0, "others may move the tail");
        let tail = flagged & !(GATED | CLOSED);
        let place = &self.places[self.index(tail)];
        assert_eq!(place.number.load(Acquire), tail, "no place is free");
        self.tail
            .store(self.next(tail) | flagged & (GATED | CLOSED), Relaxed);
        place.fill(tail, value);
    }

    /// Takes the first value, if it is there, and frees its place.
    ///
    /// # Safety
    ///
    /// One thread at a time, each of which has seen what the one before did.
    #[inline]
    pub(super) unsafe fn pop(&self) -> Option<T> {
        let head = self.head.load(Relaxed);
        let place = &self.places[self.index(head)];
        if place.number.load(Acquire) != head | FILLED {
            return None;
        }
        // SAFETY: the number says that whoever took this position has written the value, and the load
        // above has seen that. Nobody else empties now, by the contract, and the number that is set
        // next makes sure that it is not read again.
        let value = (place.value).with_mut(|value| unsafe { value.cast::<T>().read() });
        place.number.store(head.wrapping_add(self.lap), Release);
        self.head.store(self.next(head), Release);
        Some(value)
    }

    /// Says whether the first value is there. For whoever may empty.
    pub(super) fn is_first_there(&self) -> bool {
        let head = self.head.load(Relaxed);
        self.places[self.index(head)].number.load(Acquire) == head | FILLED
    }

    /// Says whether nothing is there, nor on its way, and every send fails. For whoever may empty.
    pub(super) fn is_finished(&self) -> bool {
        // One load: a position that was taken before the flag was set is seen with it.
        let tail = self.tail.load(Acquire);
        tail & CLOSED != 0 && tail & !(GATED | CLOSED) == self.head.load(Relaxed)
    }

    /// Returns how many places were taken and not emptied yet, those included that a sender is about to
    /// fill.
    pub(super) fn taken(&self) -> usize {
        // In this order: the tail is never behind a head that was seen before it.
        let head = self.head.load(Acquire);
        let tail = self.tail.load(Acquire) & !(GATED | CLOSED);
        self.distance(head, tail)
    }

    /// Returns how far a tail is ahead of a head, at most the capacity: a head that has just freed a place
    /// is written after the place, which may be filled by then.
    fn distance(&self, head: usize, tail: usize) -> usize {
        let lap_of = |position: usize| position & !(self.lap - 1);
        let laps = lap_of(tail).wrapping_sub(lap_of(head)) / self.lap;
        let ahead = laps * self.capacity() + self.index(tail);
        ahead.saturating_sub(self.index(head)).min(self.capacity())
    }

    pub(super) fn is_closed(&self) -> bool {
        self.tail.load(Relaxed) & CLOSED != 0
    }

    /// Makes every later push fail. Under the lock.
    pub(super) fn close(&self) {
        self.tail.fetch_or(CLOSED, Release);
    }

    /// Makes every later push fail but those under the lock. Under the lock.
    pub(super) fn close_gate(&self) {
        self.tail.fetch_or(GATED, Relaxed);
    }

    /// Lets everybody push again. Under the lock.
    pub(super) fn open_gate(&self) {
        self.tail.fetch_and(!GATED, Relaxed);
    }

    #[inline]
    fn index(&self, position: usize) -> usize {
        (position & (self.lap - 1)) / STEP
    }

    #[inline]
    fn next(&self, position: usize) -> usize {
        if self.index(position) + 1 < self.capacity() {
            position + STEP
        } else {
            (position & !(self.lap - 1)).wrapping_add(self.lap)
        }
    }
}

impl<T> Place<T> {
    /// By whoever took `position`, once.
    #[inline]
    fn fill(&self, position: usize, value: T) {
        // SAFETY: the pointer is valid. The number was seen to be `position`, so the former value was
        // moved out, and nobody else touches the place between the move of `tail` past the position
        // and the store below.
        (self.value).with_mut(|place| unsafe { place.write(MaybeUninit::new(value)) });
        self.number.store(position | FILLED, Release);
    }
}

impl<T> Drop for Places<T> {
    fn drop(&mut self) {
        // SAFETY: `self` is borrowed exclusively, so nobody else is in here, and whoever gave that
        // borrow has seen what all others did.
        while let Some(value) = unsafe { self.pop() } {
            guarded(|| drop(value));
        }
    }
}

impl<T> fmt::Debug for Places<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Places")
            .field("capacity", &self.capacity())
            .field("taken", &self.taken())
            .field("gated", &(self.tail.load(Relaxed) & GATED != 0))
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, not(corelane_loom)))]
mod tests {
    use super::*;

    /// From every position of some laps, the last ones before positions wrap among them, to all that may
    /// be ahead of it: a full channel, and one more.
    #[test]
    fn the_distance_counts_whole_laps() {
        for capacity in 1..=9 {
            let places = Places::<()>::new(capacity);
            let last_laps = 0_usize.wrapping_sub(2 * places.lap);
            for start in [0, last_laps] {
                let mut head = start;
                for _ in 0..4 * capacity {
                    let mut tail = head;
                    for ahead in 0..=capacity + 1 {
                        assert_eq!(places.distance(head, tail), ahead.min(capacity));
                        tail = places.next(tail);
                    }
                    head = places.next(head);
                }
            }
        }
    }
}
