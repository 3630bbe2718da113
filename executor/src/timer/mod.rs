//! Timers of one worker: a hierarchical wheel over a slab.
//!
//! The store is pure: it never reads a clock, never calls a waker and never drops one. Every waker
//! leaves it by value, because waking or dropping one may run code that comes back for the store
//! while it is still borrowed.
//!
//! Time counts in ticks of a sixteenth of a millisecond since `origin`. A deadline is rounded up to
//! a tick and `now` is rounded down, so a timer fires up to one tick late and never early.

mod list;
#[cfg(test)]
mod tests;
mod wheel;

use std::fmt;
use std::task::Waker;
use std::time::{Duration, Instant};

use slab::Slab;

use list::Links;
use wheel::{TICK_MAX, Wheel};

const TICKS_PER_SEC: u64 = 16_000;
const NANOS_PER_TICK: u64 = 1_000_000_000 / TICKS_PER_SEC;

/// Names one pending timer; a key of a timer that has fired or was cancelled finds nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TimerKey {
    slot: usize,
    generation: u64,
}

/// The pending timers of one worker.
///
/// Memory grows with the high-water mark of pending timers only: inserting into a freed slot,
/// cancelling and firing do not allocate.
pub(crate) struct Timers {
    origin: Instant,
    wheel: Wheel,
    entries: Slab<Entry>,
    /// Distinguishes the users of a slot. 64 bits do not wrap within a process's life.
    generation_next: u64,
}

/// A pending timer. `links` belong to the wheel; the rest is written by `Timers` alone.
struct Entry {
    waker: Waker,
    generation: u64,
    links: Links,
}

impl Timers {
    /// Makes an empty store whose tick zero is `origin`.
    pub(crate) fn new(origin: Instant) -> Self {
        Self {
            origin,
            wheel: Wheel::new(),
            entries: Slab::new(),
            generation_next: 0,
        }
    }

    /// Arms a timer that hands `waker` to the first [`Timers::expire`] at or after `deadline`.
    pub(crate) fn insert(&mut self, deadline: Instant, waker: Waker) -> TimerKey {
        let generation = self.generation_next;
        self.generation_next += 1;
        let links = Links::new(self.tick_ceil(deadline));
        let slot = self.entries.insert(Entry {
            waker,
            generation,
            links,
        });
        self.wheel.insert(&mut self.entries, slot);
        TimerKey { slot, generation }
    }

    /// Says whether the timer would wake the same task as `waker`; `None` when it is not pending.
    ///
    /// Lets a re-polled future skip the clone that [`Timers::replace_waker`] asks for.
    pub(crate) fn will_wake(&self, key: TimerKey, waker: &Waker) -> Option<bool> {
        self.get(key).map(|entry| entry.waker.will_wake(waker))
    }

    /// Exchanges the waker of a pending timer and returns the former one.
    ///
    /// # Errors
    ///
    /// Gives `waker` back when the timer is not pending: it has fired or was cancelled.
    pub(crate) fn replace_waker(&mut self, key: TimerKey, waker: Waker) -> Result<Waker, Waker> {
        match self.entries.get_mut(key.slot) {
            Some(entry) if entry.generation == key.generation => {
                Ok(std::mem::replace(&mut entry.waker, waker))
            }
            _ => Err(waker),
        }
    }

    /// Disarms a timer and returns its waker; `None` when it is not pending.
    pub(crate) fn cancel(&mut self, key: TimerKey) -> Option<Waker> {
        self.get(key)?;
        self.wheel.remove(&mut self.entries, key.slot);
        Some(self.entries.remove(key.slot).waker)
    }

    /// Appends the wakers of up to `limit` timers whose deadline is not after `now`, in the order
    /// of their ticks, and returns how many.
    ///
    /// When the limit cut it short, [`Timers::next_deadline`] is not after `now`. A `now` earlier
    /// than a former one fires nothing that was not due then.
    pub(crate) fn expire(&mut self, now: Instant, limit: usize, out: &mut Vec<Waker>) -> usize {
        let now_tick = self.tick_floor(now);
        let mut fired = 0;
        while fired < limit {
            let Some(slot) = self.wheel.pop_due(&mut self.entries, now_tick) else {
                break;
            };
            out.push(self.entries.remove(slot).waker);
            fired += 1;
        }
        fired
    }

    /// Returns when to call [`Timers::expire`] next: never after the first timer can fire.
    ///
    /// For a far timer it may be earlier, at most once per level of the wheel; each `expire` at
    /// the returned instant either fires a timer or makes the next answer later.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let tick = self.wheel.next_tick(&self.entries)?;
        let since = Duration::from_secs(tick / TICKS_PER_SEC)
            + Duration::from_nanos(tick % TICKS_PER_SEC * NANOS_PER_TICK);
        self.origin.checked_add(since)
    }

    /// Returns how many timers are pending.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    fn get(&self, key: TimerKey) -> Option<&Entry> {
        self.entries
            .get(key.slot)
            .filter(|entry| entry.generation == key.generation)
    }

    fn tick_ceil(&self, instant: Instant) -> u64 {
        let since = instant.saturating_duration_since(self.origin);
        u64::try_from(since.as_nanos().div_ceil(NANOS_PER_TICK.into()))
            .unwrap_or(TICK_MAX)
            .min(TICK_MAX)
    }

    /// Stays below `TICK_MAX`, so that a deadline clamped to it does not fire early.
    fn tick_floor(&self, instant: Instant) -> u64 {
        let since = instant.saturating_duration_since(self.origin);
        u64::try_from(since.as_nanos() / u128::from(NANOS_PER_TICK))
            .unwrap_or(TICK_MAX)
            .min(TICK_MAX - 1)
    }
}

impl AsMut<Links> for Entry {
    fn as_mut(&mut self) -> &mut Links {
        &mut self.links
    }
}

impl AsRef<Links> for Entry {
    fn as_ref(&self) -> &Links {
        &self.links
    }
}

impl fmt::Debug for Timers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timers")
            .field("pending", &self.len())
            .field("next_deadline", &self.next_deadline())
            .finish_non_exhaustive()
    }
}
