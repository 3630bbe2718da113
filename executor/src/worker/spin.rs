//! Looking for work for a while before a park.
//!
//! To put a thread to sleep and to wake it from another core takes some ten microseconds, and more in a
//! virtual machine. A worker that is woken about as soon looks for work instead, for no longer than that
//! takes, so that a wrong guess costs about what the sleep would have (Karlin, Manasse, McGeoch and Owicki,
//! "Competitive Randomized Algorithms for Non-Uniform Problems", 1990), and wrong guesses become rare.
//! What it waits for must come from another thread: completions of its own ring are no reason.

use std::cell::Cell;
use std::time::{Duration, Instant};

use super::Core;
use crate::clock;
use crate::ring::Wait;

/// How long a worker looks for work that is expected soon.
const SPIN: Duration = Duration::from_micros(50);

/// A park that a kick ended within this time was not worth it: the spin, and the time that it takes the
/// worker itself to wake up.
const SHORT_PARK: Duration = Duration::from_micros(100);

/// How many parks at most go by without a spin after spins in vain.
const PARKS_SKIPPED_MAX: u32 = 64;

/// Whether a spin is likely to be worth its time. Pure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Outlook {
    /// A kick came soon the last time, or a message while the worker spun.
    expects_soon: bool,
    /// Short parks that are to go by before one is believed, and what that was at first.
    skips_left: u32,
    skips: u32,
}

impl Outlook {
    /// Notes how long a park took that a kick ended.
    fn parked(mut self, took: Duration) -> Self {
        if took < SHORT_PARK {
            self.expects_soon = self.skips_left == 0;
            self.skips_left = self.skips_left.saturating_sub(1);
        }
        self
    }

    /// Notes whether a spin found what another thread sent. After one in vain, twice as many short parks go by as
    /// after the one before.
    fn spun(self, found: bool) -> Self {
        if found {
            return Self {
                expects_soon: true,
                ..Self::default()
            };
        }
        let skips = (self.skips * 2).clamp(1, PARKS_SKIPPED_MAX);
        Self {
            expects_soon: false,
            skips_left: skips,
            skips,
        }
    }
}

/// What ended a spin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    /// What another thread sent.
    Message,
    /// What would have come without it: a completion, a timer.
    Other,
    Nothing,
}

/// What a worker knows of its parks.
#[derive(Debug, Default)]
pub(super) struct Spinning {
    outlook: Cell<Outlook>,
    /// When the worker parked, until it is known whether a kick ended that.
    parked: Cell<Option<Instant>>,
}

impl Spinning {
    pub(super) fn park(&self, now: Instant) {
        self.parked.set(Some(now));
    }

    /// Notes that the park is over, if there was one.
    pub(super) fn unpark(&self, kicked: bool) {
        if let Some(parked) = self.parked.take()
            && kicked
        {
            let took = clock::elapsed(parked);
            self.outlook.set(self.outlook.get().parked(took));
        }
    }
}

impl Core {
    /// Looks for work for as long as the configuration says, or as it is likely to come. True when there
    /// is some.
    pub(super) fn spin(&self, until: Option<Instant>, interrupted: impl Fn() -> bool) -> bool {
        let outlook = &self.spinning.outlook;
        let limit = match self.config.spin_before_park {
            Some(limit) => limit,
            None if outlook.get().expects_soon => SPIN,
            None => Duration::ZERO,
        };
        if limit.is_zero() {
            return false;
        }
        let found = self.spin_for(limit, until, interrupted);
        outlook.set(outlook.get().spun(found == Found::Message));
        found != Found::Nothing
    }

    fn spin_for(
        &self,
        limit: Duration,
        until: Option<Instant>,
        interrupted: impl Fn() -> bool,
    ) -> Found {
        let start = clock::now();
        if self.driver.borrow_mut().has_unsubmitted() {
            self.enter(Wait::No);
        }
        self.unpark();
        loop {
            let pending = self.driver.borrow_mut().pending_or_unseen();
            let has_buffer = || self.pool_if_made().is_some_and(|pool| pool.has_news());
            if self.local.take_remote() > 0 || interrupted() || has_buffer() {
                return Found::Message;
            }
            if (pending.ready || pending.deferred) && self.submit_and_reap().completions > 0
                || !self.local.is_empty()
            {
                return Found::Other;
            }
            let now = clock::now();
            let timer_due = self.next_deadline().is_some_and(|due| due <= now);
            if timer_due || until.is_some_and(|until| until <= now) {
                return Found::Other;
            }
            if now - start >= limit {
                return Found::Nothing;
            }
            clock::spin();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_micros(99);
    const LATE: Duration = SHORT_PARK;

    #[test]
    fn a_short_park_is_a_reason_to_spin_and_a_long_one_is_not() {
        let outlook = Outlook::default();
        assert!(!outlook.expects_soon);
        assert!(!outlook.parked(LATE).expects_soon);
        assert!(outlook.parked(SOON).expects_soon);
        assert!(outlook.parked(SOON).parked(LATE).spun(true).expects_soon);
    }

    #[test]
    fn spins_in_vain_become_rare_and_one_that_finds_something_is_believed() {
        let mut outlook = Outlook::default();
        let mut spins = 0;
        for _ in 0..10_000 {
            if outlook.expects_soon {
                spins += 1;
                outlook = outlook.spun(false);
            }
            outlook = outlook.parked(SOON);
        }
        assert!((100..200).contains(&spins), "{spins} of 10,000 parks");
        assert_eq!(outlook.spun(true).skips, 0);
    }
}
