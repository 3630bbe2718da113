//! A bounded channel between cores and threads: many senders, one receiver.
//!
//! A value goes into one of `capacity` numbered places, and out again, without a lock: a busy channel
//! costs an exchange for a value, and no wake. Those who wait, senders for a place and the receiver for
//! a value, stand under a lock, which the other side takes only while somebody does. Senders that wait
//! are served in turn, and nobody passes them.
//!
//! # Safety
//!
//! This is an unsafe room. There is one receiver, its methods that take values out need `&mut`, and its
//! drop takes out the last ones: so places are emptied by one at a time.

#![allow(unsafe_code, reason = "the receiver is the one who may empty places")]

mod futures;
mod patience;
mod places;
mod shared;

use std::sync::Arc;

use self::futures::{Receiving, Sending};
use self::patience::Patience;
use self::shared::Shared;
use super::{SendError, TryRecvError, TrySendError};

/// Sends to one [`Receiver`]; clones share its places in turn.
#[derive(Debug)]
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
}

/// Receives what its [`Sender`]s send, in the order in which they got their places.
#[derive(Debug)]
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
    patience: Patience,
}

/// Makes a channel with room for `capacity` values, allocated at once.
///
/// # Panics
///
/// Panics when `capacity` is zero.
///
/// # Examples
///
/// ```
/// # futures_executor::block_on(async {
/// let (sender, mut receiver) = corelane::sync::channel::bounded(16);
/// sender.send("mesh").await.unwrap();
/// sender.send("texture").await.unwrap();
/// drop(sender);
/// let mut batch = Vec::new();
/// assert_eq!(receiver.recv_batch(&mut batch, 16).await, 2);
/// assert_eq!(batch, ["mesh", "texture"]);
/// assert_eq!(receiver.recv().await, None);
/// # });
/// ```
#[must_use]
#[track_caller]
pub fn bounded<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(Shared::new(capacity));
    let sender = Sender {
        shared: Arc::clone(&shared),
    };
    let receiver = Receiver {
        shared,
        patience: Patience::default(),
    };
    (sender, receiver)
}

impl<T> Sender<T> {
    /// Sends a value, once it has a place and every earlier sender had theirs.
    ///
    /// # Errors
    ///
    /// Gives the value back when the receiver is gone or has closed.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future before it is ready sends nothing and drops the value; a place it was
    /// given goes to the next sender.
    pub async fn send(&self, value: T) -> Result<(), SendError<T>> {
        Sending::new(&self.shared, value).await
    }

    /// Sends a value if a place is free and no sender waits for one.
    ///
    /// # Errors
    ///
    /// Gives the value back when there is no place, or the receiver is gone or has closed.
    pub fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        self.shared.try_send(value)
    }

    /// Says whether every send fails from now on.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.is_closed()
    }
}

impl<T> Receiver<T> {
    /// Receives the next value; `None` when there is none and no sender is left, or after
    /// [`Receiver::close`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future before it is ready loses no value.
    pub async fn recv(&mut self) -> Option<T> {
        if let Some(value) = self.pop_one() {
            return Some(value);
        }
        self.wait().await;
        self.pop_one()
    }

    /// Appends up to `max` values to `out` as soon as there is one, and returns how many; at most as
    /// many as the channel has room for.
    ///
    /// Returns 0 when `max` is 0, or when no value is there and none will come. Allocates only if
    /// `out` lacks room for a full channel or `max` values.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future before it is ready loses no value and leaves `out` as it was.
    pub async fn recv_batch(&mut self, out: &mut Vec<T>, max: usize) -> usize {
        if max == 0 {
            return 0;
        }
        let mut count = self.pop_into(out, max);
        if count == 0 {
            self.wait().await;
            count = self.pop_into(out, max);
        }
        count
    }

    /// Receives the next value if there is one.
    ///
    /// # Errors
    ///
    /// Says whether one may still come. [`Empty`](TryRecvError::Empty) is also the answer while the
    /// sender whose turn it is has been stopped between taking its place and filling it, even if later
    /// ones have filled theirs.
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        if let Some(value) = self.pop_one() {
            return Ok(value);
        }
        self.shared.await_first();
        // What is on its way is not taken for the end: its place is.
        self.pop_one().ok_or_else(|| self.shared.why_empty())
    }

    /// Makes every send fail from now on; what was sent can still be received.
    pub fn close(&mut self) {
        self.shared.close();
    }

    /// Returns how many values wait to be received, or are on their way into their places.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.len()
    }

    /// Says whether no value waits to be received, or is on its way into its place.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits until the first value is there, or none will come.
    async fn wait(&mut self) {
        if !self.patience.stay(|| self.shared.is_ready()) {
            Receiving::new(&self.shared).await;
        }
    }

    /// Takes the first value and frees its place.
    #[inline]
    fn pop_one(&mut self) -> Option<T> {
        // SAFETY: this is the receiver, and is borrowed exclusively.
        let value = unsafe { self.shared.pop() }?;
        self.shared.tell_senders();
        Some(value)
    }

    /// Takes up to `max` values and frees their places.
    fn pop_into(&mut self, out: &mut Vec<T>, max: usize) -> usize {
        // No more than that: the places that are freed here are filled again meanwhile.
        let most = self.shared.capacity().min(max);
        out.reserve(most);
        let mut count = 0;
        while count < most {
            // SAFETY: as in `pop_one`.
            let Some(value) = (unsafe { self.shared.pop() }) else {
                break;
            };
            out.push(value);
            count += 1;
        }
        if count > 0 {
            self.shared.tell_senders();
        }
        count
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.shared.add_sender();
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.shared.remove_sender();
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        // SAFETY: this is the receiver, and its end.
        unsafe { self.shared.abandon() };
    }
}
