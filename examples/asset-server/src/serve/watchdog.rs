//! A deadline that moves with every request, at the cost of a comparison.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use corelane::time::{Sleep, sleep_until};

/// A deadline. The timer below it is left alone while the deadline moves away, and set anew when
/// it fires too early.
#[derive(Debug)]
pub(super) struct Watchdog {
    timer: Sleep,
    deadline: Instant,
}

impl Watchdog {
    pub(super) fn new(deadline: Instant) -> Self {
        Self {
            timer: sleep_until(deadline),
            deadline,
        }
    }

    pub(super) fn set(&mut self, deadline: Instant) {
        self.deadline = deadline;
        if deadline < self.timer.deadline() {
            self.timer.reset(deadline);
        }
    }

    /// Moves the deadline nearer, never away.
    pub(super) fn tighten(&mut self, deadline: Instant) {
        self.set(self.deadline.min(deadline));
    }

    /// Ready when the deadline is over.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(Pin::new(&mut self.timer).poll(context));
            if self.deadline <= Instant::now() {
                return Poll::Ready(());
            }
            self.timer.reset(self.deadline);
        }
    }

    /// Waits for a future; `None` when the deadline was over first.
    pub(super) async fn bound<F: Future>(&mut self, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        poll_fn(|context| match future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => self.poll(context).map(|()| None),
        })
        .await
    }
}
