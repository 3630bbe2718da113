//! Finding a task that keeps its core: what a worker says of its polls, and the thread that reads it.
//!
//! A worker that is watched counts up when a poll begins and when it ends, and says what it polls:
//! stores to memory of its own, and no look at a clock. One thread per process, started with the
//! first such worker and ended after the last, looks every half of the shortest threshold, and
//! reports a poll that it finds still going on. A worker that is not watched has none of this.

mod monitor;
mod watch;

use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use monitor::watch_over;
pub(crate) use watch::{ROOT, Watch};

/// Shortest threshold: the watching thread looks twice as often.
pub(crate) const THRESHOLD_MIN: Duration = Duration::from_millis(1);
/// Longest threshold.
pub(crate) const THRESHOLD_MAX: Duration = Duration::from_secs(3_600);

/// A poll that goes on for longer than
/// [`Config::stall_threshold`](crate::Config::stall_threshold): while it does, no other task of its
/// worker runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stall {
    /// Where the task was spawned; for the future of a `block_on`, where that was called.
    pub spawned_at: &'static Location<'static>,
    /// The worker's number in its executor; zero for a worker of its own.
    pub worker: usize,
    /// For how long the poll has been going on, at the least. It has not ended when it is reported.
    pub lasted: Duration,
}

impl fmt::Display for Stall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "worker {} has polled one task, spawned at {}, for {:?} or more",
            self.worker, self.spawned_at, self.lasted
        )
    }
}

/// Who is told of a stall.
#[derive(Clone)]
pub(crate) struct OnStall(Arc<dyn Fn(&Stall) + Send + Sync>);

impl OnStall {
    pub(crate) fn new(tell: impl Fn(&Stall) + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
    }
}

impl fmt::Debug for OnStall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnStall").finish_non_exhaustive()
    }
}
