//! The bounded queue behind `local`: state, futures and what to do after the borrow.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::lock::Lock;
use super::permits::{HasPermits, Look, Permits, abandon, poll_look, wake_granted, wake_in_parts};
use super::{SendError, TryRecvError, TrySendError};
use crate::guard::guarded_each;

/// What the ends of a channel share.
pub(super) type Shared<T> = RefCell<Queue<T>>;

#[derive(Debug)]
pub(super) struct Queue<T> {
    items: VecDeque<T>,
    /// Free places that are promised to nobody.
    places: Permits,
    /// The receiver's, while it waits for an item: left by `Receiving`, taken by whoever ends the
    /// wait. So only the step from empty to not empty wakes.
    receiver: Option<Waker>,
    sender_count: usize,
    /// Set when the receiver is gone or has closed; senders fail from then on.
    closed: bool,
}

impl<T> Queue<T> {
    /// Makes a queue with one sender.
    ///
    /// # Panics
    ///
    /// Panics when `capacity` is zero.
    #[track_caller]
    pub(super) fn new(capacity: usize) -> Self {
        assert!(capacity > 0, "a channel needs a capacity of at least one");
        Self {
            items: VecDeque::with_capacity(capacity),
            places: Permits::new(capacity),
            receiver: None,
            sender_count: 1,
            closed: false,
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    fn push(&mut self, item: T) -> Option<Waker> {
        self.items.push_back(item);
        self.receiver.take()
    }

    /// Takes the first item, and its place back.
    pub(super) fn pop(&mut self) -> Option<T> {
        let item = self.items.pop_front();
        self.places.put(usize::from(item.is_some()));
        item
    }

    /// Takes up to `max` items, and their places back; returns how many.
    pub(super) fn pop_into(&mut self, out: &mut Vec<T>, max: usize) -> usize {
        let count = self.items.len().min(max);
        out.extend(self.items.drain(..count));
        self.places.put(count);
        count
    }

    /// Whether senders wait for places that are free, and `wake_granted` is due.
    fn owes_places(&self) -> bool {
        self.places.available() > 0 && self.places.is_waited_for()
    }

    /// Says, of a queue without items, whether one may still come.
    fn why_empty(&self) -> TryRecvError {
        if self.is_finished() {
            TryRecvError::Closed
        } else {
            TryRecvError::Empty
        }
    }

    /// No item will ever come again.
    fn is_finished(&self) -> bool {
        self.items.is_empty() && (self.closed || self.sender_count == 0)
    }
}

impl<T> HasPermits for Queue<T> {
    fn permits(&mut self) -> &mut Permits {
        &mut self.places
    }
}

pub(super) fn try_send<T>(shared: &Shared<T>, item: T) -> Result<(), TrySendError<T>> {
    let receiver = shared.with(|queue| {
        if queue.closed {
            Err(TrySendError::Closed(item))
        } else if queue.places.try_acquire(1) {
            Ok(queue.push(item))
        } else {
            Err(TrySendError::Full(item))
        }
    })?;
    receiver.into_iter().for_each(Waker::wake);
    Ok(())
}

pub(super) fn try_recv<T>(shared: &Shared<T>) -> Result<T, TryRecvError> {
    let (item, owes_places) = shared.with(|queue| match queue.pop() {
        Some(item) => Ok((item, queue.owes_places())),
        None => Err(queue.why_empty()),
    })?;
    if owes_places {
        wake_granted(shared);
    }
    Ok(item)
}

pub(super) fn add_sender<T>(shared: &Shared<T>) {
    shared.with(|queue| queue.sender_count += 1);
}

pub(super) fn remove_sender<T>(shared: &Shared<T>) {
    let receiver = shared.with(|queue| {
        queue.sender_count -= 1;
        if queue.sender_count == 0 {
            queue.receiver.take()
        } else {
            None
        }
    });
    receiver.into_iter().for_each(Waker::wake);
}

/// Refuses further items and sends the waiting senders away; what was sent stays.
pub(super) fn close<T>(shared: &Shared<T>) {
    shared.with(|queue| queue.closed = true);
    wake_in_parts(shared, |queue: &mut Queue<T>, wakes| {
        queue.places.release_all(wakes)
    });
}

/// Closes and drops what was sent, outside of the borrow.
pub(super) fn close_and_clear<T>(shared: &Shared<T>) {
    close(shared);
    let left = shared.with(|queue| (std::mem::take(&mut queue.items), queue.receiver.take()));
    let (items, receiver) = left;
    guarded_each(items.into_iter(), drop);
    drop(receiver);
}

/// Waits for a place and sends one item.
#[derive(Debug)]
pub(super) struct Sending<'a, T> {
    shared: &'a Shared<T>,
    item: Option<T>,
    /// The entry among the waiters, from the first `Pending` on.
    key: Option<usize>,
}

impl<'a, T> Sending<'a, T> {
    pub(super) fn new(shared: &'a Shared<T>, item: T) -> Self {
        Self {
            shared,
            item: Some(item),
            key: None,
        }
    }
}

/// Nothing is pinned inside: the item is only ever moved.
impl<T> Unpin for Sending<'_, T> {}

impl<T> Future for Sending<'_, T> {
    type Output = Result<(), SendError<T>>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let polled = poll_look(
            this.shared,
            context,
            |queue: &mut Queue<T>, waker, spare| {
                if queue.closed {
                    return (Look::Ready, None);
                }
                let look = queue.places.look(&mut this.key, 1, waker, spare);
                let sent = match look {
                    Look::Ready => Some(this.item.take().and_then(|item| queue.push(item))),
                    Look::Pending | Look::NeedWaker => None,
                };
                (look, sent)
            },
        );
        match polled {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(receiver)) => {
                receiver.into_iter().for_each(Waker::wake);
                Poll::Ready(Ok(()))
            }
            Poll::Ready(None) => match this.item.take() {
                Some(item) => Poll::Ready(Err(SendError(item))),
                None => Poll::Ready(Ok(())),
            },
        }
    }
}

impl<T> Drop for Sending<'_, T> {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            abandon(self.shared, key, 1);
        }
    }
}

/// Waits for items, or until none can come, and lets `take` have the queue; the answer of `take` is the
/// output.
#[derive(Debug)]
pub(super) struct Receiving<'a, T, F> {
    shared: &'a Shared<T>,
    take: F,
    /// Set while a waker of this future is with the queue.
    waiting: bool,
    items: PhantomData<fn() -> T>,
}

impl<'a, T, F, R> Receiving<'a, T, F>
where
    F: FnMut(&mut Queue<T>) -> R + Unpin,
{
    pub(super) fn new(shared: &'a Shared<T>, take: F) -> Self {
        Self {
            shared,
            take,
            waiting: false,
            items: PhantomData,
        }
    }
}

impl<T, F, R> Future for Receiving<'_, T, F>
where
    F: FnMut(&mut Queue<T>) -> R + Unpin,
{
    type Output = R;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<R> {
        let this = self.get_mut();
        let polled = poll_look(
            this.shared,
            context,
            |queue: &mut Queue<T>, waker, spare| {
                if !queue.items.is_empty() || queue.is_finished() {
                    let value = (this.take)(queue);
                    return (Look::Ready, Some((value, queue.owes_places())));
                }
                match &queue.receiver {
                    Some(stored) if stored.will_wake(waker) => (Look::Pending, None),
                    _ if spare.is_none() => (Look::NeedWaker, None),
                    _ => {
                        std::mem::swap(&mut queue.receiver, spare);
                        (Look::Pending, None)
                    }
                }
            },
        );
        this.waiting = polled.is_pending();
        match polled {
            Poll::Ready(Some((value, owes_places))) => {
                if owes_places {
                    wake_granted(this.shared);
                }
                Poll::Ready(value)
            }
            _ => Poll::Pending,
        }
    }
}

impl<T, F> Drop for Receiving<'_, T, F> {
    fn drop(&mut self) {
        if self.waiting {
            let waker = self.shared.with(|queue| queue.receiver.take());
            drop(waker);
        }
    }
}
