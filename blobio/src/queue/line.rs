//! Those who wait for a place in the queue, in order.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::task::Waker;

use super::batch::BatchState;
use super::request::Request;

/// Names a place in the line.
pub(super) type Ticket = u64;

/// Who waits, first come first served, and how many places are free.
pub(super) struct Line {
    free: usize,
    waiting: BTreeMap<Ticket, Waiting>,
    next: Ticket,
}

/// What a task that waits for a place takes in the queue's tables, in bytes: nodes of the line are
/// half full at the least.
pub const WAITER_LEN: usize = 2 * (size_of::<Ticket>() + size_of::<Waiting>()) + size_of::<u64>();

/// Who waits.
pub(super) enum Waiting {
    /// A task that wants one place. It has one as soon as it is not in the line any more.
    Task(Waker),
    /// The rest of a batch, which takes places as they come free.
    Batch(Box<Rest>),
}

/// The requests of a batch that the queue has not taken yet.
pub(super) struct Rest {
    pub(super) batch: Rc<BatchState>,
    /// Each with its index in the batch.
    pub(super) requests: VecDeque<(u32, Request)>,
}

impl Line {
    pub(super) fn new(places: usize) -> Self {
        Self {
            free: places,
            waiting: BTreeMap::new(),
            next: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Takes a place if one is free and nobody waits.
    pub(super) fn try_take(&mut self) -> bool {
        let taken = self.waiting.is_empty() && self.free > 0;
        self.free -= usize::from(taken);
        taken
    }

    /// Takes a place for the first in the line.
    pub(super) fn take_as_first(&mut self) -> bool {
        let taken = self.free > 0;
        self.free -= usize::from(taken);
        taken
    }

    pub(super) fn give_back(&mut self) {
        self.free += 1;
    }

    pub(super) fn is_free(&self) -> bool {
        self.free > 0
    }

    pub(super) fn new_ticket(&mut self) -> Ticket {
        self.next += 1;
        self.next
    }

    pub(super) fn insert(&mut self, ticket: Ticket, waiting: Waiting) {
        self.waiting.insert(ticket, waiting);
    }

    pub(super) fn remove(&mut self, ticket: Ticket) -> Option<Waiting> {
        self.waiting.remove(&ticket)
    }

    pub(super) fn first(&self) -> Option<(Ticket, &Waiting)> {
        self.waiting
            .first_key_value()
            .map(|(ticket, waiting)| (*ticket, waiting))
    }

    /// Takes the next request of the rest of a batch.
    pub(super) fn next_of_rest(
        &mut self,
        ticket: Ticket,
    ) -> Option<(Rc<BatchState>, u32, Request)> {
        let Some(Waiting::Batch(rest)) = self.waiting.get_mut(&ticket) else {
            return None;
        };
        let (index, request) = rest.requests.pop_front()?;
        Some((Rc::clone(&rest.batch), index, request))
    }

    /// Leaves `waker` with a task that waits, and gives back the one that it replaces; the waker
    /// itself when the task does not wait any more.
    pub(super) fn replace_waker(&mut self, ticket: Ticket, waker: Waker) -> Result<Waker, Waker> {
        match self.waiting.get_mut(&ticket) {
            Some(Waiting::Task(old)) => Ok(std::mem::replace(old, waker)),
            _ => Err(waker),
        }
    }

    /// Empties the line.
    pub(super) fn take_all(&mut self) -> impl Iterator<Item = Waiting> + use<> {
        std::mem::take(&mut self.waiting).into_values()
    }

    pub(super) fn rests_mut(&mut self) -> impl Iterator<Item = (Ticket, &mut Rest)> {
        self.waiting
            .iter_mut()
            .filter_map(|(ticket, waiting)| match waiting {
                Waiting::Batch(rest) => Some((*ticket, &mut **rest)),
                Waiting::Task(_) => None,
            })
    }
}
