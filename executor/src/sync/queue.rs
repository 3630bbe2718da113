//! The bounded queue behind `local` and `channel`: state, futures and what to do after the lock.

use std::collections::VecDeque;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::lock::Lock;
use super::permits::{HasPermits, Look, Permits, abandon, poll_look, wake_granted, wake_in_parts};
use super::returns::Returns;
use super::{SendError, TryRecvError, TrySendError};

#[derive(Debug)]
pub(super) struct Queue<T> {
    items: VecDeque<T>,
    /// Free places that are promised to nobody.
    places: Permits,
    /// Where a receiver that takes values ahead counts the places that it has emptied since.
    returns: Option<Arc<Returns>>,
    /// How many of those are in `places` again, wrapping. Written by `reclaim`.
    reclaimed: usize,
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
            returns: None,
            reclaimed: 0,
            receiver: None,
            sender_count: 1,
            closed: false,
        }
    }

    /// Makes one whose receiver takes values ahead: their places are free again when it says so in
    /// `returns`.
    #[track_caller]
    pub(super) fn with_returns(capacity: usize, returns: Arc<Returns>) -> Self {
        Self {
            returns: Some(returns),
            ..Self::new(capacity)
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

    /// Takes back the places that the receiver has emptied.
    fn reclaim(&mut self) {
        if let Some(returns) = &self.returns {
            let emptied = returns.emptied();
            self.places.put(emptied.wrapping_sub(self.reclaimed));
            self.reclaimed = emptied;
        }
    }

    /// Takes them back if there is no other.
    fn look_for_place(&mut self) {
        if self.places.available() == 0 {
            self.reclaim();
        }
    }

    /// Asks the receiver for places, for a sender that has begun to wait; true when some have come in
    /// the meantime, and `wake_granted` is due.
    fn ask_for_places(&mut self) -> bool {
        let Some(returns) = &self.returns else {
            return false;
        };
        returns.ask();
        self.reclaim();
        self.places.available() > 0
    }

    /// Takes all items, in exchange for `empty`; their places stay taken.
    pub(super) fn take_ahead(&mut self, empty: &mut VecDeque<T>) {
        std::mem::swap(&mut self.items, empty);
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

pub(super) fn try_send<T>(lock: &impl Lock<Queue<T>>, item: T) -> Result<(), TrySendError<T>> {
    let receiver = lock.with(|queue| {
        if queue.closed {
            Err(TrySendError::Closed(item))
        } else {
            queue.look_for_place();
            if queue.places.try_acquire(1) {
                Ok(queue.push(item))
            } else {
                Err(TrySendError::Full(item))
            }
        }
    })?;
    receiver.into_iter().for_each(Waker::wake);
    Ok(())
}

pub(super) fn try_recv<T>(lock: &impl Lock<Queue<T>>) -> Result<T, TryRecvError> {
    let (item, owes_places) = lock.with(|queue| match queue.pop() {
        Some(item) => Ok((item, queue.owes_places())),
        None => Err(queue.why_empty()),
    })?;
    if owes_places {
        wake_granted(lock);
    }
    Ok(item)
}

/// Takes all items, in exchange for `empty`, if there are any.
pub(super) fn try_take_ahead<T>(
    lock: &impl Lock<Queue<T>>,
    empty: &mut VecDeque<T>,
) -> Result<(), TryRecvError> {
    lock.with(|queue| {
        if queue.items.is_empty() {
            return Err(queue.why_empty());
        }
        queue.take_ahead(empty);
        Ok(())
    })
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
        let mut places_came = false;
        let polled = poll_look(this.lock, context, |queue: &mut Queue<T>, waker, spare| {
            if queue.closed {
                return (Look::Ready, None);
            }
            queue.look_for_place();
            let look = queue.places.look(&mut this.key, 1, waker, spare);
            let sent = match look {
                Look::Ready => Some(this.item.take().and_then(|item| queue.push(item))),
                Look::Pending => {
                    places_came = queue.ask_for_places();
                    None
                }
                Look::NeedWaker => None,
            };
            (look, sent)
        });
        match polled {
            Poll::Pending => {
                if places_came {
                    wake_granted(this.lock);
                }
                Poll::Pending
            }
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

/// Gives the places back that the receiver has emptied, as a sender asked for it.
pub(super) fn give_back<T>(lock: &impl Lock<Queue<T>>) {
    let owes_places = lock.with(|queue| {
        queue.reclaim();
        if let Some(returns) = &queue.returns
            && !queue.places.is_waited_for()
        {
            returns.stop_asking();
        }
        queue.owes_places()
    });
    if owes_places {
        wake_granted(lock);
    }
}

/// Waits for items, or until none can come, and lets `take` have the queue; the answer of `take` is the
/// output.
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
    F: FnMut(&mut Queue<T>) -> R + Unpin,
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
    F: FnMut(&mut Queue<T>) -> R + Unpin,
{
    type Output = R;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<R> {
        let this = self.get_mut();
        let polled = poll_look(this.lock, context, |queue: &mut Queue<T>, waker, spare| {
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
        });
        this.waiting = polled.is_pending();
        match polled {
            Poll::Ready(Some((value, owes_places))) => {
                if owes_places {
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
