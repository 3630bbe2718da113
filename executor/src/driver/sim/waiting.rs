//! Waiting in the simulated ring, in real time or on a simulated machine.

use std::time::{Duration, Instant};

use super::{LOOK, MORE, MULTISHOT_ENDS_PERCENT, Sim, kernel};
use crate::clock;
use crate::op::slab::KICK;
use crate::ring::Cqe;
use crate::sim::{Event, SimCounters};

/// Longest timed wait that may pass without progress although operations are due, and of a hundred
/// of those, how many do.
const DAWDLE_MAX: Duration = Duration::from_millis(5);
const DAWDLE_PERCENT: u8 = 25;

impl Sim {
    /// Lets time pass until there is a completion; in the kick's poll when nothing else can
    /// come, or when the seed says that everything is slow.
    pub(super) fn wait(&mut self, timeout: Option<Duration>) {
        let deadline = timeout.map(|timeout| clock::now() + timeout);
        let dawdle = timeout.is_some_and(|timeout| timeout <= DAWDLE_MAX)
            && self.rng.percent(DAWDLE_PERCENT);
        while self.ready.is_empty() {
            let comes = !self.cancelled.is_empty()
                || !self.overflow.is_empty()
                || self.running.iter().any(|op| op.due.is_some());
            if comes && !dawdle && !self.is_over(deadline) {
                self.pass();
                continue;
            }
            let looks = self.running.iter().any(|op| op.waits);
            assert!(
                self.kick.is_some() || timeout.is_some() || looks,
                "{self}: a wait that nothing can end: {} operations in flight",
                self.running.len()
            );
            let left = deadline.map(|at| at.saturating_duration_since(clock::now()));
            if looks {
                self.poll_kick(Some(left.map_or(LOOK, |left| left.min(LOOK))));
                self.pass();
            } else if self.machine.is_none() {
                self.poll_kick(left);
            } else {
                self.sleep(left);
            }
            if deadline.is_some_and(|at| at <= clock::now()) {
                return;
            }
        }
    }

    /// On a simulated machine: says whether a timed wait has lasted as long as it may.
    fn is_over(&self, deadline: Option<Instant>) -> bool {
        self.machine.is_some() && deadline.is_some_and(|at| at <= clock::now())
    }

    /// On a simulated machine: waits for the kick, which comes now or never, as all that happens
    /// is on this thread.
    fn sleep(&mut self, left: Option<Duration>) {
        self.poll_kick(Some(Duration::ZERO));
        if !self.ready.is_empty() {
            return;
        }
        let left = left.unwrap_or_else(|| panic!("{self}: a wait that nothing can end"));
        clock::pause(left);
        self.log(|ring| Event::TimedOut { ring });
    }

    pub(super) fn log(&self, event: impl FnOnce(u32) -> Event) {
        if let Some((machine, number)) = &self.machine {
            machine.log(&event(*number));
        }
    }

    pub(super) fn count(&self, change: impl FnOnce(&mut SimCounters)) {
        if let Some((machine, _)) = &self.machine {
            machine.count(change);
        }
    }

    /// Waits for the kick's eventfd and posts its completion.
    pub(super) fn poll_kick(&mut self, timeout: Option<Duration>) {
        if kernel::take_kick(self.kick, timeout) {
            self.log(|ring| Event::Kicked { ring });
            self.count(|counters| counters.kicks += 1);
            let ends = self.rng.percent(MULTISHOT_ENDS_PERCENT);
            if ends {
                self.kick = None;
            }
            self.post(Cqe {
                user_data: KICK,
                result: 1,
                flags: if ends { 0 } else { MORE },
            });
        }
    }
}
