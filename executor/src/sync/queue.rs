//! The bounded queue behind `local` and `channel`: state, futures and what to do after the lock.

use std::collections::VecDeque;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::lock::Lock;
use super::permits::{HasPermits, Look, Permits, abandon, poll_look, wake_granted, wake_in_parts};
use super::{SendError, TryRecvError, TrySendError};

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

    /// Takes places back; returns whether senders wait for them and `wake_granted` is due.
    fn free(&mut self, count: usize) -> bool {
        self.places.put(count);
        self.places.is_waited_for()
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

pub(super) fn try_send<T>(lock: &impl Lock<Queue<T>>, item: T) -> Result<(), TrySendError<T>> {
    let receiver = lock.with(|queue| {
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

pub(super) fn try_recv<T>(lock: &impl Lock<Queue<T>>) -> Result<T, TryRecvError> {
    let (item, waited_for) = lock.with(|queue| match queue.items.pop_front() {
        Some(item) => Ok((item, queue.free(1))),
        None if queue.is_finished() => Err(TryRecvError::Closed),
        None => Err(TryRecvError::Empty),
    })?;
    if waited_for {
        wake_granted(lock);
    }
    Ok(item)
}

pub(super) fn add_sender<T>(lock: &impl Lock<Queue<T>>) {
    lock.with(|queue| queue.sender_count += 1);
}

pub(super) fn remove_sender<T>(lock: &impl Lock<Queue<T>>) {
    let receiver = lock.with(|queue| {
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
pub(super) fn close<T>(lock: &impl Lock<Queue<T>>) {
    lock.with(|queue| queue.closed = true);
    wake_in_parts(lock, |queue: &mut Queue<T>, wakes| {
        queue.places.release_all(wakes)
    });
}

/// Closes and drops what was sent, outside of the lock.
pub(super) fn close_and_clear<T>(lock: &impl Lock<Queue<T>>) {
    close(lock);
    let left = lock.with(|queue| (std::mem::take(&mut queue.items), queue.receiver.take()));
    drop(left);
}

/// Waits for a place and sends one item.
#[derive(Debug)]
pub(super) struct Sending<'a, T, L: Lock<Queue<T>>> {
    lock: &'a L,
    item: Option<T>,
    /// The entry among the waiters, from the first `Pending` on.
    key: Option<usize>,
}

impl<'a, T, L: Lock<Queue<T>>> Sending<'a, T, L> {
    pub(super) fn new(lock: &'a L, item: T) -> Self {
        Self {
            lock,
            item: Some(item),
            key: None,
        }
    }
}

/// Nothing is pinned inside: the item is only ever moved.
impl<T, L: Lock<Queue<T>>> Unpin for Sending<'_, T, L> {}

impl<T, L: Lock<Queue<T>>> Future for Sending<'_, T, L> {
    type Output = Result<(), SendError<T>>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let polled = poll_look(this.lock, context, |queue: &mut Queue<T>, waker, spare| {
            if queue.closed {
                return (Look::Ready, None);
            }
            let look = queue.places.look(&mut this.key, 1, waker, spare);
            let sent = match look {
                Look::Ready => Some(this.item.take().and_then(|item| queue.push(item))),
                Look::Pending | Look::NeedWaker => None,
            };
            (look, sent)
        });
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

impl<T, L: Lock<Queue<T>>> Drop for Sending<'_, T, L> {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            abandon(self.lock, key, 1);
        }
    }
}

/// Waits for items and lets `take` have them; the answer of `take` is the output.
#[derive(Debug)]
pub(super) struct Receiving<'a, T, L: Lock<Queue<T>>, F> {
    lock: &'a L,
    take: F,
    /// Set while a waker of this future is with the queue.
    waiting: bool,
    items: PhantomData<fn() -> T>,
}

impl<'a, T, L, F, R> Receiving<'a, T, L, F>
where
    L: Lock<Queue<T>>,
    F: FnMut(&mut VecDeque<T>) -> R + Unpin,
{
    pub(super) fn new(lock: &'a L, take: F) -> Self {
        Self {
            lock,
            take,
            waiting: false,
            items: PhantomData,
        }
    }
}

impl<T, L, F, R> Future for Receiving<'_, T, L, F>
where
    L: Lock<Queue<T>>,
    F: FnMut(&mut VecDeque<T>) -> R + Unpin,
{
    type Output = R;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<R> {
        let this = self.get_mut();
        let polled = poll_look(this.lock, context, |queue: &mut Queue<T>, waker, spare| {
            if !queue.items.is_empty() || queue.is_finished() {
                let before = queue.items.len();
                let value = (this.take)(&mut queue.items);
                let waited_for = queue.free(before - queue.items.len());
                return (Look::Ready, Some((value, waited_for)));
            }
            match &queue.receiver {
                Some(stored) if stored.will_wake(waker) => (Look::Pending, None),
                _ if spare.is_none() => (Look::NeedWaker, None),
                _ => {
                    std::mem::swap(&mut queue.receiver, spare);
                    (Look::Pending, None)
                }
            }
        });
        this.waiting = polled.is_pending();
        match polled {
            Poll::Ready(Some((value, waited_for))) => {
                if waited_for {
                    wake_granted(this.lock);
                }
                Poll::Ready(value)
            }
            _ => Poll::Pending,
        }
    }
}

impl<T, L: Lock<Queue<T>>, F> Drop for Receiving<'_, T, L, F> {
    fn drop(&mut self) {
        if self.waiting {
            let waker = self.lock.with(|queue| queue.receiver.take());
            drop(waker);
        }
    }
}
