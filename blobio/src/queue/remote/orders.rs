//! What other threads ask of the queue's worker besides reads, and what they wish for a read.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use crate::async_reader::runtime::oneshot;
use crate::guard::guarded;
use crate::queue::record::Key;
use crate::queue::{Class, QueueStats};

/// What is done at once, in order.
pub(super) enum Order {
    /// Do what the handle's wishes are.
    Attend(Arc<Handle>),
    /// Let go of blobs that have no ticket any more.
    Sweep,
    Cancel(u64, u64, oneshot::Sender<usize>),
    Count(oneshot::Sender<Box<QueueStats>>),
}

/// The orders that wait. Those of handles and tickets are no more than there are of these.
#[derive(Default)]
pub(super) struct Orders {
    state: Mutex<OrdersState>,
}

#[derive(Default)]
struct OrdersState {
    waiting: Vec<Order>,
    /// Set when nobody will carry orders out, or give any.
    closed: bool,
    worker: Option<Waker>,
}

/// A request or a batch as both sides know it.
pub(super) struct Handle {
    orders: Arc<Orders>,
    wishes: Mutex<Wishes>,
    /// An order to attend to the wishes is waiting.
    called: AtomicBool,
}

#[derive(Default)]
pub(super) struct Wishes {
    pub(super) cancel: bool,
    pub(super) class: Option<Class>,
    pub(super) deadline: Option<Option<Instant>>,
    /// What the queue knows it by; written by the worker.
    known: Known,
}

#[derive(Clone, Copy, Default)]
pub(super) enum Known {
    #[default]
    NotYet,
    One(Key),
    Batch(u64),
}

impl Orders {
    fn lock(&self) -> MutexGuard<'_, OrdersState> {
        // Nothing panics while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves an order; it is dropped when nobody is there to carry it out.
    pub(super) fn give(&self, order: Order) {
        let refused;
        let worker;
        {
            let mut state = self.lock();
            if state.closed {
                (refused, worker) = (Some(order), None);
            } else {
                state.waiting.push(order);
                (refused, worker) = (None, state.worker.take());
            }
        }
        drop(refused);
        worker.into_iter().for_each(Waker::wake);
    }

    pub(super) fn close(&self) {
        let (waiting, worker) = {
            let mut state = self.lock();
            state.closed = true;
            (std::mem::take(&mut state.waiting), state.worker.take())
        };
        for order in waiting {
            // With a reply that will not come somebody is woken.
            guarded(|| drop(order));
        }
        worker.into_iter().for_each(Waker::wake);
    }

    /// Takes the orders that wait; none when there will be no more.
    pub(super) fn poll_take(&self, cx: &mut Context<'_>) -> Poll<Option<Vec<Order>>> {
        let waker = cx.waker().clone();
        let old;
        {
            let mut state = self.lock();
            if !state.waiting.is_empty() {
                return Poll::Ready(Some(std::mem::take(&mut state.waiting)));
            }
            if state.closed {
                return Poll::Ready(None);
            }
            old = state.worker.replace(waker);
        }
        drop(old);
        Poll::Pending
    }
}

impl Handle {
    pub(super) fn new(orders: &Arc<Orders>) -> Arc<Self> {
        Arc::new(Self {
            orders: Arc::clone(orders),
            wishes: Mutex::default(),
            called: AtomicBool::new(false),
        })
    }

    fn wishes(&self) -> MutexGuard<'_, Wishes> {
        // Nothing panics while it is held.
        self.wishes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a wish, and has the worker attend to it.
    pub(super) fn wish(self: &Arc<Self>, wish: impl FnOnce(&mut Wishes)) {
        wish(&mut self.wishes());
        if !self.called.swap(true, Ordering::AcqRel) {
            self.orders.give(Order::Attend(Arc::clone(self)));
        }
    }
}

impl Handle {
    /// Takes the wishes if the queue knows the request, and what by; leaves them otherwise.
    pub(super) fn attend(&self) -> Option<(Known, Wishes)> {
        self.called.store(false, Ordering::Release);
        let mut wishes = self.wishes();
        let known = wishes.known;
        if matches!(known, Known::NotYet) {
            return None;
        }
        let taken = std::mem::take(&mut *wishes);
        wishes.known = known;
        Some((known, taken))
    }

    /// Notes what the queue knows the request by.
    pub(super) fn set_known(&self, known: Known) {
        self.wishes().known = known;
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.wishes().cancel
    }
}
