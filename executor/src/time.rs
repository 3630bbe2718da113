//! Sleeping and deadlines, on the current worker's timers.
//!
//! No operation is submitted for a timer: the worker's next deadline bounds its wait in the ring.
//! The resolution is a sixteenth of a millisecond; nothing fires early.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::clock;
use crate::timer::TimerKey;
use crate::worker::{Core, context};

/// Waits until `duration` has passed.
///
/// # Panics
///
/// The future panics when it is first polled outside of a worker.
///
/// # Cancel safety
///
/// Dropping the future takes the timer out.
///
/// # Examples
///
/// ```
/// # #[corelane::main]
/// # async fn main() {
/// use std::time::{Duration, Instant};
/// let start = Instant::now();
/// corelane::time::sleep(Duration::from_millis(5)).await;
/// assert!(start.elapsed() >= Duration::from_millis(5));
/// # }
/// ```
pub fn sleep(duration: Duration) -> Sleep {
    let now = clock::now();
    // A deadline beyond the clock's range is as good as never.
    sleep_until(now.checked_add(duration).unwrap_or(now + FAR))
}

/// Returns the time that timers and deadlines are held against: the system's monotonic clock, or
/// the virtual one of a simulation (feature `sim`) that runs on this thread.
#[must_use]
#[inline]
pub fn now() -> Instant {
    clock::now()
}

/// Returns a time that costs no look at the clock: when the current worker last began to poll
/// tasks or looked for completions. Outside of a worker, the time.
///
/// It is behind [`now`] by no more than what has run since: tasks for about
/// [`Config::reap_interval`](crate::Config::reap_interval), or one that does not yield for longer.
/// For what is counted often and need not be exact.
#[must_use]
#[inline]
pub fn recent() -> Instant {
    context::look(Core::slice_start).unwrap_or_else(clock::now)
}

const FAR: Duration = Duration::from_secs(60 * 60 * 24 * 365 * 30);

/// Waits until `deadline`.
///
/// # Panics
///
/// The future panics when it is first polled outside of a worker.
///
/// # Cancel safety
///
/// Dropping the future takes the timer out.
pub fn sleep_until(deadline: Instant) -> Sleep {
    Sleep {
        deadline,
        timer: None,
    }
}

/// The future of [`sleep`] and [`sleep_until`].
#[must_use = "a sleep does nothing unless it is awaited"]
pub struct Sleep {
    deadline: Instant,
    timer: Option<(Rc<Core>, TimerKey)>,
}

impl Sleep {
    /// Returns when the sleep ends.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Moves the end of the sleep.
    pub fn reset(&mut self, deadline: Instant) {
        self.disarm();
        self.deadline = deadline;
    }

    fn disarm(&mut self) {
        if let Some((core, key)) = self.timer.take() {
            let waker = core.timers.borrow_mut().cancel(key);
            // The waker is user code: dropped after the borrow has ended.
            drop(waker);
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let Some((core, key)) = &self.timer {
            let armed = core.timers.borrow().will_wake(*key, cx.waker());
            match armed {
                Some(true) => return Poll::Pending,
                Some(false) => {
                    let waker = cx.waker().clone();
                    let replaced = core.timers.borrow_mut().replace_waker(*key, waker);
                    if replaced.is_ok() {
                        return Poll::Pending;
                    }
                    // It fired while the waker was cloned.
                    self.timer = None;
                    return Poll::Ready(());
                }
                None => {
                    self.timer = None;
                    return Poll::Ready(());
                }
            }
        }
        if self.deadline <= clock::now() {
            return Poll::Ready(());
        }
        let core = context::current();
        let waker = cx.waker().clone();
        let key = core.timers.borrow_mut().insert(self.deadline, waker);
        self.timer = Some((core, key));
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.disarm();
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sleep")
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

/// Bounds the time that `future` may take.
///
/// The future is polled first, so that one that is ready is never timed out.
///
/// # Errors
///
/// [`Elapsed`] when the time is over; the future is dropped with the `Timeout`.
///
/// # Cancel safety
///
/// That of the inner future.
pub fn timeout<F: Future>(duration: Duration, future: F) -> Timeout<F> {
    Timeout {
        future: Box::pin(future),
        sleep: sleep(duration),
    }
}

/// The future of [`timeout`].
#[must_use = "a timeout does nothing unless it is awaited"]
pub struct Timeout<F> {
    future: Pin<Box<F>>,
    sleep: Sleep,
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(output) = self.future.as_mut().poll(cx) {
            return Poll::Ready(Ok(output));
        }
        Pin::new(&mut self.sleep)
            .poll(cx)
            .map(|()| Err(Elapsed(())))
    }
}

impl<F> fmt::Debug for Timeout<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timeout")
            .field("sleep", &self.sleep)
            .finish_non_exhaustive()
    }
}

/// The time of a [`timeout`] was over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed(());

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the deadline has elapsed")
    }
}

impl Error for Elapsed {}

impl From<Elapsed> for std::io::Error {
    fn from(elapsed: Elapsed) -> Self {
        Self::new(std::io::ErrorKind::TimedOut, elapsed)
    }
}

/// Ticks every `period`; the first tick is one period from now.
///
/// # Panics
///
/// Panics when `period` is zero.
#[must_use]
#[track_caller]
pub fn interval(period: Duration) -> Interval {
    assert!(
        !period.is_zero(),
        "an interval needs a period longer than zero"
    );
    Interval {
        period,
        sleep: sleep(period),
    }
}

/// A series of ticks; made by [`interval`].
#[derive(Debug)]
pub struct Interval {
    period: Duration,
    sleep: Sleep,
}

impl Interval {
    /// Waits for the next tick and returns when it was due. Ticks that were missed are skipped:
    /// the next one is on the grid of the first, after now.
    ///
    /// # Cancel safety
    ///
    /// No tick is lost.
    pub async fn tick(&mut self) -> Instant {
        (&mut self.sleep).await;
        let due = self.sleep.deadline;
        let behind = clock::now().saturating_duration_since(due);
        let skipped = behind.as_nanos() / self.period.as_nanos();
        let steps = u32::try_from(skipped).unwrap_or(u32::MAX - 1) + 1;
        self.sleep.reset(due + self.period * steps);
        due
    }
}
