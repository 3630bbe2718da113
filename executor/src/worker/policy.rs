//! When a turn stops polling, when it enters the ring, and how it waits: pure decisions over
//! values.

use std::time::{Duration, Instant};

use crate::ring::{Pending, Wait};

/// How much one turn may do.
///
/// A turn always takes its messages, expires its timers and looks at the ring; the budget bounds
/// the polls of tasks in between. Without a bound of either kind a turn ends when as many tasks
/// were polled as the configuration says, or its reap interval is over, so that timers and messages
/// of tasks that never rest are not late.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TurnBudget {
    polls: Option<usize>,
    time: Option<Duration>,
}

impl TurnBudget {
    /// Bounds the number of task polls; without it, the worker's configuration does.
    #[must_use]
    pub const fn polls(polls: usize) -> Self {
        Self {
            polls: Some(polls),
            time: None,
        }
    }

    /// Bounds the time as well: no task is polled after it is over. A task that runs longer is
    /// not interrupted.
    #[must_use]
    pub const fn time(mut self, time: Duration) -> Self {
        self.time = Some(time);
        self
    }

    pub(super) fn polls_max(&self, configured: usize) -> usize {
        self.polls.unwrap_or(configured)
    }

    /// Says whether the turn ends when the reap interval is over, as nothing else was asked for.
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Returns when the time is over, for a turn that began at `start`.
    pub(super) fn end(&self, start: Instant) -> Option<Instant> {
        self.time.and_then(|time| start.checked_add(time))
    }
}

/// What to do about completions between two task polls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// Nothing.
    Pass,
    /// Take what is in the queue.
    Reap,
    /// Enter the ring so that deferred completions appear, then take them.
    EnterAndReap,
}

/// Decides after a task poll. `since_enter` is asked only when the ring has deferred work.
pub(super) fn look(
    pending: Pending,
    polls_since_enter: usize,
    poll_batch: usize,
    reap_interval: Duration,
    since_enter: impl FnOnce() -> Duration,
) -> Look {
    if pending.deferred && (polls_since_enter >= poll_batch || since_enter() >= reap_interval) {
        return Look::EnterAndReap;
    }
    if pending.ready {
        Look::Reap
    } else {
        Look::Pass
    }
}

/// Decides how a park waits: until the earlier of the caller's limit and the next timer.
pub(super) fn wait(now: Instant, until: Option<Instant>, next_timer: Option<Instant>) -> Wait {
    let deadline = match (until, next_timer) {
        (Some(until), Some(timer)) => Some(until.min(timer)),
        (until, timer) => until.or(timer),
    };
    match deadline {
        None => Wait::Completion,
        Some(deadline) if deadline <= now => Wait::No,
        Some(deadline) => Wait::Timeout(deadline - now),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Pending = Pending {
        ready: false,
        deferred: false,
    };
    const MS: Duration = Duration::from_millis(1);

    fn no_clock() -> Duration {
        panic!("the clock is not needed here")
    }

    #[test]
    fn the_clock_is_read_only_for_deferred_work() {
        assert_eq!(look(IDLE, 100, 8, MS, no_clock), Look::Pass);
        let ready = Pending {
            ready: true,
            ..IDLE
        };
        assert_eq!(look(ready, 100, 8, MS, no_clock), Look::Reap);
    }

    #[test]
    fn deferred_work_is_fetched_by_count_or_by_time() {
        let deferred = Pending {
            deferred: true,
            ..IDLE
        };
        assert_eq!(look(deferred, 8, 8, MS, no_clock), Look::EnterAndReap);
        assert_eq!(look(deferred, 7, 8, MS, || MS), Look::EnterAndReap);
        assert_eq!(look(deferred, 7, 8, MS, || MS / 2), Look::Pass);
        let both = Pending {
            ready: true,
            deferred: true,
        };
        assert_eq!(look(both, 7, 8, MS, || MS / 2), Look::Reap);
    }

    #[test]
    fn a_park_ends_at_the_earlier_deadline() {
        let now = Instant::now();
        assert_eq!(wait(now, None, None), Wait::Completion);
        assert_eq!(
            wait(now, Some(now + MS), Some(now + 2 * MS)),
            Wait::Timeout(MS)
        );
        assert_eq!(wait(now, None, Some(now + 2 * MS)), Wait::Timeout(2 * MS));
        assert_eq!(wait(now, Some(now), None), Wait::No);
    }
}
