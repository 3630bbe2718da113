//! The thread that looks at the watched workers of the process.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use super::{Stall, watch::Watch};
use crate::guard::guarded;
use crate::sys::affinity;
use crate::trace;

/// The watched workers, and whether the thread that looks at them runs.
#[derive(Debug, Default)]
struct Monitor {
    watched: Vec<Watched>,
    running: bool,
}

static MONITOR: Mutex<Monitor> = Mutex::new(Monitor {
    watched: Vec::new(),
    running: false,
});
/// A worker came, or went.
static CHANGED: Condvar = Condvar::new();

/// Looks at `watch` from now on, until it is dropped. `cores` are where the looking thread may run:
/// a pinned worker would pass its own core on.
///
/// # Errors
///
/// When the thread cannot be started.
pub(crate) fn watch_over(watch: &Arc<Watch>, cores: Vec<usize>) -> io::Result<()> {
    let mut monitor = lock();
    if !monitor.running {
        thread::Builder::new()
            .name("corelane-stall".to_owned())
            .spawn(move || look_until_alone(&cores))?;
        monitor.running = true;
    }
    monitor.watched.push(Watched::new(watch));
    CHANGED.notify_one();
    Ok(())
}

impl Drop for Watch {
    fn drop(&mut self) {
        // Under the lock: the thread that has just seen the worker alive, and is about to wait, would
        // miss a word in between, and stay for a period that may be half an hour. No watch is dropped
        // while the lock is held.
        let monitor = lock();
        CHANGED.notify_all();
        drop(monitor);
    }
}

/// One worker, and what was seen of it.
#[derive(Debug)]
struct Watched {
    watch: Weak<Watch>,
    threshold: Duration,
    seen: Seen,
}

/// What was seen of the polls of one worker: pure.
#[derive(Debug, Default)]
struct Seen {
    /// The poll that was under way at the last look.
    sequence: u64,
    /// For how long it has been seen.
    lasted: Duration,
    reported: bool,
}

impl Seen {
    /// Takes in that the poll `sequence` is under way (zero: none), `elapsed` after the last look.
    /// True when it is to be reported: once.
    fn look(&mut self, sequence: u64, elapsed: Duration, threshold: Duration) -> bool {
        if sequence == 0 || sequence != self.sequence {
            *self = Self {
                sequence,
                ..Self::default()
            };
            return false;
        }
        self.lasted = self.lasted.saturating_add(elapsed);
        !self.reported && self.lasted >= threshold
    }
}

impl Watched {
    fn new(watch: &Arc<Watch>) -> Self {
        Self {
            watch: Arc::downgrade(watch),
            threshold: watch.threshold,
            seen: Seen::default(),
        }
    }
}

/// Looks every half of the shortest threshold, until no worker is left.
fn look_until_alone(cores: &[usize]) {
    // Where it is refused, the thread looks from the core that it has.
    let _ = affinity::restrict_thread(cores);
    let mut last = Instant::now();
    let mut monitor = lock();
    loop {
        monitor.watched.retain(|it| it.watch.strong_count() > 0);
        let Some(period) = monitor.period() else {
            monitor.running = false;
            return;
        };
        monitor = CHANGED
            .wait_timeout(monitor, period)
            .unwrap_or_else(PoisonError::into_inner)
            .0;
        let now = Instant::now();
        // A process that was stopped, or a thread that did not get to run, has seen nothing: no
        // more than one period counts.
        let looks = monitor.look((now - last).min(period));
        last = now;
        drop(monitor);
        for (watch, stall) in looks {
            if let Some(stall) = stall {
                guarded(|| trace::stalled(stall.spawned_at, stall.worker, stall.lasted));
                guarded(|| watch.report(&stall));
            }
            // Perhaps the last of a worker that went meanwhile, with what the program gave it.
            guarded(|| drop(watch));
        }
        monitor = lock();
    }
}

impl Monitor {
    fn period(&self) -> Option<Duration> {
        self.watched.iter().map(|it| it.threshold / 2).min()
    }

    /// Looks at every worker. What is to be reported, and what may be dropped, is for when the lock
    /// was given back.
    fn look(&mut self, elapsed: Duration) -> Vec<(Arc<Watch>, Option<Stall>)> {
        let look = |watched: &mut Watched| {
            let watch = watched.watch.upgrade()?;
            let seen = &mut watched.seen;
            let due = seen.look(watch.under_way(), elapsed, watched.threshold);
            let stall = due
                .then(|| watch.stalled(seen.sequence, seen.lasted))
                .flatten();
            seen.reported |= stall.is_some();
            Some((watch, stall))
        };
        self.watched.iter_mut().filter_map(look).collect()
    }
}

fn lock() -> MutexGuard<'static, Monitor> {
    // Nothing of the user's runs while it is held.
    MONITOR.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const HUNG: Duration = Duration::from_secs(20);

    #[test]
    fn a_worker_that_goes_just_before_the_wait_is_not_missed() {
        let watch = Arc::new(Watch::new(Duration::from_secs(3_600), None));
        let seen = Arc::downgrade(&watch);
        // As the looking thread does: it holds the lock from its look to its wait.
        let monitor = lock();
        assert_eq!(seen.strong_count(), 1);
        let (done, when_done) = mpsc::channel();
        let dropping = thread::spawn(move || {
            drop(watch);
            let _ = done.send(());
        });
        while seen.strong_count() > 0 {
            thread::yield_now();
        }
        // One that does not wait for the lock has come and gone by now.
        let _ = when_done.recv_timeout(5 * TEN);
        let start = Instant::now();
        let waited = CHANGED.wait_timeout(monitor, HUNG);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
        assert!(start.elapsed() < HUNG, "nobody was told");
        dropping.join().unwrap();
    }

    const TEN: Duration = Duration::from_millis(10);
    const FIVE: Duration = Duration::from_millis(5);

    #[test]
    fn a_poll_is_reported_once_when_it_was_seen_for_the_threshold() {
        let mut seen = Seen::default();
        let looks = [7, 7, 7, 7].map(|sequence| {
            let due = seen.look(sequence, FIVE, TEN);
            seen.reported |= due;
            due
        });
        // What came before the first look does not count, as nobody knows how long it was.
        assert_eq!(looks, [false, false, true, false]);
        assert!(!seen.look(9, FIVE, TEN));
        assert!(!seen.look(9, FIVE, TEN));
        assert!(seen.look(9, FIVE, TEN), "another poll is another stall");
    }

    #[test]
    fn polls_that_follow_each_other_are_no_stall() {
        let mut seen = Seen::default();
        for sequence in (1..100).step_by(2) {
            assert!(!seen.look(sequence, FIVE, TEN));
        }
    }

    #[test]
    fn an_idle_worker_is_no_stall() {
        let mut seen = Seen::default();
        for sequence in [0, 0, 5, 0, 5, 0, 0, 0] {
            assert!(!seen.look(sequence, FIVE, TEN));
        }
    }
}
