//! What one round took.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// What one round took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// Time that counts.
    pub(crate) elapsed: Duration,
    /// Time that the work took of all cores together, helper threads included.
    pub(crate) cpu: Duration,
    /// Items that were done in it.
    pub(crate) items: u64,
}

impl Sample {
    /// Wall time and processor time of an item, in nanoseconds.
    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    pub(crate) fn ns_per_item(self) -> (f64, f64) {
        let per_item = |time: Duration| time.as_nanos() as f64 / self.items as f64;
        (per_item(self.elapsed), per_item(self.cpu))
    }
}

/// Wall time and processor time of the whole process since a moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timer {
    wall: Instant,
    cpu: Duration,
}

impl Timer {
    /// Begins.
    pub(crate) fn start() -> Self {
        Self {
            wall: Instant::now(),
            cpu: process_time(),
        }
    }

    /// Ends, when `items` items are done.
    pub(crate) fn stop(self, items: u64) -> Sample {
        Sample {
            elapsed: self.wall.elapsed(),
            cpu: process_time().saturating_sub(self.cpu),
            items,
        }
    }
}

/// Time that this process has had of all cores together.
pub(crate) fn process_time() -> Duration {
    time_of(ClockId::ProcessCPUTime)
}

/// Time that the calling thread has had of its core.
pub(crate) fn thread_time() -> Duration {
    time_of(ClockId::ThreadCPUTime)
}

fn time_of(clock: ClockId) -> Duration {
    Duration::try_from(clock_gettime(clock)).expect("a time that has passed is not negative")
}
