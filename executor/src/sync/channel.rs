//! A bounded channel between cores and threads: many senders, one receiver.
//!
//! A sender holds the lock for one push. The receiver takes all that is there under one lock, and gives
//! the values out one by one without it; it is not woken while it has something to do. So a busy channel
//! costs neither a wake nor a lock per value on the receiving side. The places of values that the
//! receiver has given out are free at once.

use std::collections::VecDeque;
use std::sync::Arc;

use super::lock::{Lock, Mutex};
use super::queue::{
    Queue, Receiving, Sending, add_sender, close, close_and_clear, give_back, remove_sender,
    try_send, try_take_ahead,
};
use super::returns::Returns;
use super::{SendError, TryRecvError, TrySendError};

type Shared<T> = Arc<Mutex<Queue<T>>>;

/// Sends to one [`Receiver`]; clones share its places in turn.
#[derive(Debug)]
pub struct Sender<T> {
    queue: Shared<T>,
}

/// Receives what its [`Sender`]s send, in the order in which they got their places.
#[derive(Debug)]
pub struct Receiver<T> {
    queue: Shared<T>,
    /// What was taken out of the queue at once and not given out yet. Its places are still taken.
    ahead: VecDeque<T>,
    /// How many values were ever given out, wrapping.
    emptied: usize,
    returns: Arc<Returns>,
    capacity: usize,
}

/// Makes a channel with room for `capacity` values, allocated at once: on the way, and with the
/// receiver.
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
    let returns = Arc::new(Returns::new());
    let queue = Queue::with_returns(capacity, Arc::clone(&returns));
    let queue = Arc::new(Mutex::new(queue));
    let sender = Sender {
        queue: Arc::clone(&queue),
    };
    let receiver = Receiver {
        queue,
        ahead: VecDeque::with_capacity(capacity),
        emptied: 0,
        returns,
        capacity,
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
        Sending::new(&*self.queue, value).await
    }

    /// Sends a value if a place is free and no sender waits for one.
    ///
    /// # Errors
    ///
    /// Gives the value back when there is no place, or the receiver is gone or has closed.
    pub fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        try_send(&*self.queue, value)
    }

    /// Says whether every send fails from now on.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.queue.with(|queue| queue.is_closed())
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
        if self.ahead.is_empty() {
            self.take_ahead().await;
        }
        self.give_out()
    }

    /// Appends up to `max` values to `out` as soon as there is one, and returns how many.
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
        if self.ahead.is_empty() {
            self.take_ahead().await;
        }
        let count = self.ahead.len().min(max);
        out.reserve(self.capacity.min(max));
        out.extend(self.ahead.drain(..count));
        self.gave_out(count);
        count
    }

    /// Receives the next value if there is one.
    ///
    /// # Errors
    ///
    /// Says whether one may still come.
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        if self.ahead.is_empty() {
            try_take_ahead(&*self.queue, &mut self.ahead)?;
        }
        self.give_out().ok_or(TryRecvError::Empty)
    }

    /// Makes every send fail from now on; what was sent can still be received.
    pub fn close(&mut self) {
        close(&*self.queue);
    }

    /// Returns how many values wait to be received.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ahead.len() + self.queue.with(|queue| queue.len())
    }

    /// Says whether no value waits to be received.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits until values are there and takes all of them, or until none can come.
    async fn take_ahead(&mut self) {
        let ahead = &mut self.ahead;
        Receiving::new(&*self.queue, |queue| queue.take_ahead(ahead)).await;
    }

    fn give_out(&mut self) -> Option<T> {
        let value = self.ahead.pop_front()?;
        self.gave_out(1);
        Some(value)
    }

    /// Frees the places of values that were given out.
    fn gave_out(&mut self, count: usize) {
        self.emptied = self.emptied.wrapping_add(count);
        if self.returns.publish(self.emptied) {
            give_back(&*self.queue);
        }
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        add_sender(&*self.queue);
        Self {
            queue: Arc::clone(&self.queue),
        }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        remove_sender(&*self.queue);
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        close_and_clear(&*self.queue);
    }
}
