//! The futures of a channel: a sender in line for a place, a receiver that waits for a value.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::places::Refused;
use super::shared::{Shared, Waits};
use crate::sync::SendError;
use crate::sync::lock::Lock;
use crate::sync::permits::{HasPermits, Look, abandon, poll_look, wake_granted};

/// Waits for a place and sends one value.
#[derive(Debug)]
pub(super) struct Sending<'a, T> {
    shared: &'a Shared<T>,
    value: Option<T>,
    /// The entry in the line, from the first `Pending` on.
    key: Option<usize>,
}

impl<'a, T> Sending<'a, T> {
    pub(super) fn new(shared: &'a Shared<T>, value: T) -> Self {
        Self {
            shared,
            value: Some(value),
            key: None,
        }
    }

    /// Sends under the lock, once it is this one's turn.
    #[cold]
    fn poll_in_line(&mut self, context: &Context<'_>) -> Poll<Result<(), SendError<T>>> {
        let Self { shared, value, key } = self;
        let mut places_came = false;
        let polled = poll_look(*shared, context, |waits: &mut Waits, waker, spare| {
            if shared.is_closed() {
                return (Look::Ready, false);
            }
            let places = waits.permits();
            let look = places.look(key, 1, waker, spare);
            let is_sent = matches!(look, Look::Ready);
            if is_sent && let Some(value) = value.take() {
                shared.send_gated(value);
            }
            places_came = !is_sent && places.available() > 0;
            (look, is_sent)
        });
        match polled {
            Poll::Pending => {
                if places_came {
                    wake_granted(*shared);
                }
                Poll::Pending
            }
            Poll::Ready(true) => {
                shared.tell_receiver();
                Poll::Ready(Ok(()))
            }
            Poll::Ready(false) => {
                Poll::Ready(value.take().map_or(Ok(()), |value| Err(SendError(value))))
            }
        }
    }
}

/// Nothing is pinned inside: the value is only ever moved.
impl<T> Unpin for Sending<'_, T> {}

impl<T> Future for Sending<'_, T> {
    type Output = Result<(), SendError<T>>;

    #[inline]
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if this.key.is_none() {
            let Some(value) = this.value.take() else {
                return Poll::Ready(Ok(()));
            };
            match this.shared.send_now(value) {
                Ok(()) => return Poll::Ready(Ok(())),
                Err(Refused::Closed(value)) => return Poll::Ready(Err(SendError(value))),
                Err(Refused::Full(value) | Refused::Gated(value)) => this.value = Some(value),
            }
        }
        this.poll_in_line(context)
    }
}

impl<T> Drop for Sending<'_, T> {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            abandon(self.shared, key, 1);
        }
    }
}

/// Waits until the first value is there, or none will come.
#[derive(Debug)]
pub(super) struct Receiving<'a, T> {
    shared: &'a Shared<T>,
    /// Set while a waker of this future may be under the lock.
    waiting: bool,
}

impl<'a, T> Receiving<'a, T> {
    pub(super) fn new(shared: &'a Shared<T>) -> Self {
        Self {
            shared,
            waiting: false,
        }
    }
}

impl<T> Future for Receiving<'_, T> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let shared = this.shared;
        if shared.is_ready() {
            return Poll::Ready(());
        }
        let polled = poll_look(
            shared.waits(),
            context,
            |waits: &mut Waits, waker, spare| {
                if !waits.wakes_receiver(waker) {
                    if spare.is_none() {
                        return (Look::NeedWaker, None);
                    }
                    waits.swap_receiver(spare);
                }
                if shared.begin_to_wait() {
                    return (Look::Ready, shared.take_receiver(waits));
                }
                (Look::Pending, None)
            },
        );
        this.waiting = polled.is_pending();
        // The waker, if it is not needed, has left the lock to be dropped.
        polled.map(drop)
    }
}

impl<T> Drop for Receiving<'_, T> {
    fn drop(&mut self) {
        if self.waiting {
            let shared = self.shared;
            let waker = shared.waits().with(|waits| shared.take_receiver(waits));
            drop(waker);
        }
    }
}
