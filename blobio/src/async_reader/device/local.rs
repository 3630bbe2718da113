//! One thread's part of a device: the credits it holds, its reads in flight, and its own line.
//!
//! A thread with no read in flight holds no credits, and one that somebody else waits for spares
//! none: so whoever waits is waiting for a read that is in flight, whose end gives back.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::shared::Shared;

/// A thread's part of a device.
#[derive(Debug)]
pub(crate) struct Local {
    shared: Arc<Shared>,
    /// Credits held and not in use.
    spare: Cell<u32>,
    /// Credits in use.
    used: Cell<u32>,
    /// Whether this thread is in the device's line: for the first of `waiting`.
    lined_up: Cell<bool>,
    waiting: RefCell<VecDeque<Waiting>>,
    next_ticket: Cell<u64>,
}

/// A read that waits; the first one is woken by the device's line as well.
#[derive(Debug)]
struct Waiting {
    ticket: u64,
    waker: Waker,
}

impl Local {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            spare: Cell::new(0),
            used: Cell::new(0),
            lined_up: Cell::new(false),
            waiting: RefCell::default(),
            next_ticket: Cell::new(0),
        }
    }

    /// Waits for leave to have a read of `len` bytes at the device.
    pub(crate) fn acquire(self: &Rc<Self>, len: usize) -> Acquire {
        Acquire {
            local: Rc::clone(self),
            weight: self.shared.weight(len),
            ticket: None,
        }
    }

    /// Names the thread's part in the device's line.
    fn id(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// Takes credits for the first of those that wait here.
    fn take(&self, weight: u32, waker: &Waker) -> bool {
        let taken = self.take_spare(weight) || self.take_shared(weight, waker);
        if taken {
            self.used.set(self.used.get() + weight);
            self.leave_line();
        }
        taken
    }

    fn take_spare(&self, weight: u32) -> bool {
        let spare = self.spare.get();
        let enough = spare >= weight;
        if enough {
            self.spare.set(spare - weight);
        }
        enough
    }

    fn take_shared(&self, weight: u32, waker: &Waker) -> bool {
        let missing = weight - self.spare.get();
        if !self.lined_up.get() && !self.shared.has_line() && self.refill(missing, weight) {
            return true;
        }
        // Others may wait for what would lie here.
        self.give_spare();
        self.lined_up.set(true);
        self.shared.line_up(self.id(), waker.clone()) && self.refill(weight, weight)
    }

    /// Takes at least `missing` credits from the device, so that `weight` are here, and uses them.
    fn refill(&self, missing: u32, weight: u32) -> bool {
        let want = if self.lined_up.get() {
            missing
        } else {
            missing.max(self.shared.batch())
        };
        let Some(taken) = self.shared.take(missing, want) else {
            return false;
        };
        self.spare.set(self.spare.get() + taken);
        self.take_spare(weight)
    }

    fn give_spare(&self) {
        let spare = self.spare.take();
        if spare > 0 {
            self.shared.give(spare);
        }
    }

    fn leave_line(&self) {
        if self.lined_up.take() {
            self.shared.leave(self.id());
        }
    }

    fn release(&self, weight: u32) {
        self.used.set(self.used.get() - weight);
        self.spare.set(self.spare.get() + weight);
        if self.used.get() == 0 || self.shared.has_line() {
            self.give_spare();
        }
    }

    fn is_first(&self, ticket: u64) -> bool {
        let waiting = self.waiting.borrow();
        waiting.front().is_some_and(|first| first.ticket == ticket)
    }

    /// Takes a read out of the line here; another one that is first then tries for itself.
    fn forget(&self, ticket: u64) {
        let was_first = self.is_first(ticket);
        let mut waiting = self.waiting.borrow_mut();
        let at = waiting.iter().position(|waiting| waiting.ticket == ticket);
        let gone = at.and_then(|at| waiting.remove(at));
        let first = waiting.front().map(|first| first.waker.clone());
        drop(waiting);
        drop(gone);
        if was_first {
            match first {
                Some(first) => first.wake(),
                None => self.leave_line(),
            }
        }
    }

    fn wait(&self, waker: Waker) -> u64 {
        let ticket = self.next_ticket.get();
        self.next_ticket.set(ticket + 1);
        self.shared.count_wait();
        let waiting = Waiting { ticket, waker };
        self.waiting.borrow_mut().push_back(waiting);
        ticket
    }

    fn set_waker(&self, ticket: u64, waker: Waker) {
        let mut waiting = self.waiting.borrow_mut();
        let entry = waiting.iter_mut().find(|entry| entry.ticket == ticket);
        let replaced = entry.map(|entry| std::mem::replace(&mut entry.waker, waker));
        drop(waiting);
        drop(replaced);
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        debug_assert_eq!(self.used.get(), 0, "a permit keeps its thread's part alive");
        self.leave_line();
        self.give_spare();
    }
}

/// The future of a [`Permit`].
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub(crate) struct Acquire {
    local: Rc<Local>,
    weight: u32,
    ticket: Option<u64>,
}

impl Future for Acquire {
    type Output = Permit;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Permit> {
        let local = Rc::clone(&self.local);
        let waker = cx.waker().clone();
        let turn = match self.ticket {
            None => local.waiting.borrow().is_empty(),
            Some(ticket) => local.is_first(ticket),
        };
        if turn && local.take(self.weight, &waker) {
            if let Some(ticket) = self.ticket.take() {
                local.forget(ticket);
            }
            let weight = self.weight;
            return Poll::Ready(Permit { local, weight });
        }
        match self.ticket {
            None => self.ticket = Some(local.wait(waker)),
            Some(ticket) => local.set_waker(ticket, waker),
        }
        Poll::Pending
    }
}

impl Drop for Acquire {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.local.forget(ticket);
        }
    }
}

/// Leave to have one read at the device, given back on drop.
///
/// It goes with the read's buffer, so that it is held for as long as the kernel works on the read,
/// whatever becomes of the future.
#[derive(Debug)]
pub(crate) struct Permit {
    local: Rc<Local>,
    weight: u32,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.local.release(self.weight);
    }
}
