//! Tells tasks of one core that something happened.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::lock::Lock;
use super::permits::{Look, poll_look, wake_in_parts};
use super::waiters::{Grant, Removed, Waiters};

/// Tells waiting tasks of one core that something happened; carries no value.
///
/// # Examples
///
/// ```
/// # futures_executor::block_on(async {
/// let notify = corelane::sync::Notify::new();
/// notify.notify_one(); // nobody waits: the permit is kept
/// notify.notified().await;
/// # });
/// ```
#[derive(Debug)]
pub struct Notify {
    state: RefCell<State>,
}

/// Waits for a notification: the future of [`Notify::notified`].
///
/// # Cancel safety
///
/// Dropping it loses no [`Notify::notify_one`]: one that it was given and did not use goes to the
/// next in the queue, or is kept. Its place in the queue is lost.
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct Notified<'a> {
    state: &'a RefCell<State>,
    /// The entry among the waiters, from the first `Pending` on.
    key: Option<usize>,
}

#[derive(Debug)]
struct State {
    waiters: Waiters,
    /// A `notify_one` that found nobody waiting.
    permit: bool,
}

impl Notify {
    /// Makes one without a permit.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            state: RefCell::new(State {
                waiters: Waiters::new(),
                permit: false,
            }),
        }
    }

    /// Waits for a notification, in the order of first polls, or takes the kept permit.
    pub fn notified(&self) -> Notified<'_> {
        Notified {
            state: &self.state,
            key: None,
        }
    }

    /// Wakes the first in the queue; keeps one permit, and no more, when nobody waits.
    pub fn notify_one(&self) {
        notify_one(&self.state);
    }

    /// Wakes all who wait now; keeps no permit.
    pub fn notify_waiters(&self) {
        // Who starts to wait while the wakers run is behind these and not meant.
        let mut left = self.state.with(|state| state.waiters.waiting_count());
        wake_in_parts(&self.state, |state: &mut State, wakes| {
            while left > 0 && !wakes.is_full() {
                let Some(waker) = state.waiters.grant_front(Grant::Keep) else {
                    return true;
                };
                wakes.push(waker);
                left -= 1;
            }
            left == 0
        });
    }
}

impl Default for Notify {
    fn default() -> Self {
        Self::new()
    }
}

impl Future for Notified<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        poll_look(this.state, context, |state: &mut State, waker, spare| {
            let look = match this.key {
                None if std::mem::take(&mut state.permit) => Look::Ready,
                None => match spare.take() {
                    None => Look::NeedWaker,
                    Some(waker) => {
                        this.key = Some(state.waiters.push_back(waker, 1));
                        Look::Pending
                    }
                },
                Some(key) if state.waiters.is_granted(key) => {
                    this.key = None;
                    state.waiters.remove(key);
                    Look::Ready
                }
                Some(key) if state.waiters.will_wake(key, waker) => Look::Pending,
                Some(key) => match spare {
                    None => Look::NeedWaker,
                    Some(spare) => {
                        state.waiters.swap_waker(key, spare);
                        Look::Pending
                    }
                },
            };
            (look, ())
        })
    }
}

impl Drop for Notified<'_> {
    fn drop(&mut self) {
        let Some(key) = self.key.take() else { return };
        let removed = self.state.with(|state| state.waiters.remove(key));
        if matches!(removed, Removed::Granted(Grant::PassOn)) {
            notify_one(self.state);
        }
    }
}

fn notify_one(state: &RefCell<State>) {
    let waker = state.with(|state| {
        let waker = state.waiters.grant_front(Grant::PassOn);
        state.permit |= waker.is_none();
        waker
    });
    waker.into_iter().for_each(Waker::wake);
}
