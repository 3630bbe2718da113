//! A bounded channel between tasks of one core: many senders, one receiver, no atomics.

use std::cell::RefCell;
use std::rc::Rc;

use super::queue::{
    Queue, Receiving, Sending, Shared, add_sender, close, close_and_clear, remove_sender, try_recv,
    try_send,
};
use super::{SendError, TryRecvError, TrySendError};

/// Sends to one [`Receiver`]; clones share its places in turn.
#[derive(Debug)]
pub struct Sender<T> {
    queue: Rc<Shared<T>>,
}

/// Receives what its [`Sender`]s send, in the order in which they got their places.
#[derive(Debug)]
pub struct Receiver<T> {
    queue: Rc<Shared<T>>,
    capacity: usize,
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
/// let (sender, mut receiver) = corelane::sync::local::bounded(16);
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
    let queue = Rc::new(RefCell::new(Queue::new(capacity)));
    (
        Sender {
            queue: Rc::clone(&queue),
        },
        Receiver { queue, capacity },
    )
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
        Sending::new(&self.queue, value).await
    }

    /// Sends a value if a place is free and no sender waits for one.
    ///
    /// # Errors
    ///
    /// Gives the value back when there is no place, or the receiver is gone or has closed.
    pub fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        try_send(&self.queue, value)
    }

    /// Says whether every send fails from now on.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.queue.borrow().is_closed()
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
        Receiving::new(&self.queue, Queue::pop).await
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
        out.reserve(self.capacity.min(max));
        Receiving::new(&self.queue, |queue| queue.pop_into(out, max)).await
    }

    /// Receives the next value if there is one.
    ///
    /// # Errors
    ///
    /// Says whether one may still come.
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        try_recv(&self.queue)
    }

    /// Makes every send fail from now on; what was sent can still be received.
    pub fn close(&mut self) {
        close(&self.queue);
    }

    /// Returns how many values wait to be received.
    #[must_use]
    pub fn len(&self) -> usize {
        self.queue.borrow().len()
    }

    /// Says whether no value waits to be received.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        add_sender(&self.queue);
        Self {
            queue: Rc::clone(&self.queue),
        }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        remove_sender(&self.queue);
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        close_and_clear(&self.queue);
    }
}
