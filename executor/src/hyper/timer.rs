//! Sleeps that are `Send + Sync`, as hyper wants them, though a worker's timers are neither.
//!
//! A sleep holds no reference to its worker, only the key of its timer and what tells workers
//! apart. The timer itself is looked up in the worker that is current when the sleep is polled,
//! reset or dropped.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use ::hyper::rt::{Sleep, Timer};

use crate::time;
use crate::timer::TimerKey;
use crate::worker::stats::Published;
use crate::worker::{Core, context};

/// Gives hyper the timers of the worker on which its sleeps are polled first.
///
/// A sleep stays with that worker.
///
/// # Panics
///
/// Polling a sleep panics outside of a worker, and on another worker than the first time.
///
/// # Cancel safety
///
/// Dropping a sleep takes its timer out. Dropped on another thread, it leaves the timer to run
/// out, which may wake its task once for nothing.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct HyperTimer;

impl HyperTimer {
    /// Makes the timer; it holds nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

impl Timer for HyperTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(time::sleep(duration).deadline())
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(KeyedSleep {
            deadline,
            armed: None,
        })
    }

    fn reset(&self, sleep: &mut Pin<Box<dyn Sleep>>, new_deadline: Instant) {
        if let Some(own) = sleep.as_mut().downcast_mut_pin::<KeyedSleep>() {
            let own = own.get_mut();
            own.disarm();
            own.deadline = new_deadline;
        } else {
            *sleep = self.sleep_until(new_deadline);
        }
    }
}

struct KeyedSleep {
    deadline: Instant,
    /// Set by the first poll, cleared when the timer has fired or was taken out.
    armed: Option<Armed>,
}

/// A timer of one worker.
struct Armed {
    key: TimerKey,
    /// Which worker: no two share their counters, and the address is in use as long as this is.
    worker: Arc<Published>,
}

impl Armed {
    fn is_of(&self, core: &Core) -> bool {
        Arc::ptr_eq(&self.worker, core.published())
    }
}

impl KeyedSleep {
    fn disarm(&mut self) {
        let Some(armed) = self.armed.take() else {
            return;
        };
        let waker = context::try_with(|core| {
            armed
                .is_of(core)
                .then(|| core.timers.borrow_mut().cancel(armed.key))
                .flatten()
        });
        // The waker is user code: dropped after the borrow has ended.
        drop(waker);
    }
}

impl Sleep for KeyedSleep {}

impl Future for KeyedSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let core = context::current();
        if let Some(armed) = &self.armed {
            assert!(
                armed.is_of(&core),
                "a sleep of corelane's HyperTimer was polled on another worker than before: \
                 it cannot move between workers"
            );
            let key = armed.key;
            let same = core.timers.borrow().will_wake(key, cx.waker());
            match same {
                Some(true) => return Poll::Pending,
                Some(false) => {
                    let waker = cx.waker().clone();
                    let replaced = core.timers.borrow_mut().replace_waker(key, waker);
                    if replaced.is_ok() {
                        return Poll::Pending;
                    }
                    // It fired while the waker was cloned.
                    self.armed = None;
                    return Poll::Ready(());
                }
                None => {
                    self.armed = None;
                    return Poll::Ready(());
                }
            }
        }
        if self.deadline <= time::now() {
            return Poll::Ready(());
        }
        let waker = cx.waker().clone();
        let key = core.timers.borrow_mut().insert(self.deadline, waker);
        self.armed = Some(Armed {
            key,
            worker: Arc::clone(core.published()),
        });
        Poll::Pending
    }
}

impl Drop for KeyedSleep {
    fn drop(&mut self) {
        self.disarm();
    }
}

const _: fn() = || {
    fn assert_send_sync<T: Send + Sync>() {}
    assert_send_sync::<KeyedSleep>();
};
