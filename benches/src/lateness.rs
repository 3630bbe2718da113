//! A task that wants to run every millisecond, and how late it does: the time that something else
//! held the core.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use corelane::time::sleep_until;
use corelane::{JoinHandle, spawn_local};

use crate::Failure;

/// How often the task wants to run.
const PERIOD: Duration = Duration::from_millis(1);

/// The task, until it is asked how late it was.
pub(crate) struct Watcher {
    done: Rc<Cell<bool>>,
    task: JoinHandle<Vec<Duration>>,
}

/// How late the task was.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lateness {
    pub(crate) p99: Duration,
    pub(crate) max: Duration,
}

impl Watcher {
    /// Starts it on the current worker.
    pub(crate) fn start() -> Self {
        let done = Rc::<Cell<bool>>::default();
        let task = spawn_local(watch(Rc::clone(&done)));
        Self { done, task }
    }

    /// Ends it.
    pub(crate) async fn stop(self) -> Result<Lateness, Failure> {
        self.done.set(true);
        let mut late = self.task.await?;
        late.sort_unstable();
        Ok(Lateness {
            p99: late.get(late.len() * 99 / 100).copied().unwrap_or_default(),
            max: late.last().copied().unwrap_or_default(),
        })
    }
}

async fn watch(done: Rc<Cell<bool>>) -> Vec<Duration> {
    let mut late = Vec::with_capacity(4096);
    let mut due = Instant::now() + PERIOD;
    while !done.get() {
        sleep_until(due).await;
        let now = Instant::now();
        late.push(now.saturating_duration_since(due));
        due = (due + PERIOD).max(now);
    }
    late
}
