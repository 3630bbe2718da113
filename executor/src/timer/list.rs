//! Doubly linked lists threaded through slab entries by index.

use slab::Slab;

/// No neighbour.
const NIL: usize = usize::MAX;

/// What the wheel keeps in an entry.
#[derive(Debug)]
pub(super) struct Links {
    /// The tick at which the timer fires. Written once.
    pub(super) tick: u64,
    /// Where the entry is linked: level and slot of the wheel. Written by `Wheel::link`.
    pub(super) level: u8,
    pub(super) index: u8,
    /// Neighbours in that list. Written by `List`.
    previous: usize,
    next: usize,
}

impl Links {
    /// Makes links of an entry that is in no list yet.
    pub(super) fn new(tick: u64) -> Self {
        Self {
            tick,
            level: 0,
            index: 0,
            previous: NIL,
            next: NIL,
        }
    }
}

/// Head and tail of one list; first in, first out.
#[derive(Debug, Clone, Copy)]
pub(super) struct List {
    head: usize,
    tail: usize,
}

impl List {
    pub(super) const EMPTY: Self = Self {
        head: NIL,
        tail: NIL,
    };

    pub(super) fn is_empty(&self) -> bool {
        self.head == NIL
    }

    /// Returns the only member of a list of one.
    pub(super) fn single(&self) -> Option<usize> {
        (self.head == self.tail && self.head != NIL).then_some(self.head)
    }

    pub(super) fn push_back<E: AsMut<Links>>(&mut self, entries: &mut Slab<E>, slot: usize) {
        let links = entries[slot].as_mut();
        links.previous = self.tail;
        links.next = NIL;
        match self.tail {
            NIL => self.head = slot,
            tail => entries[tail].as_mut().next = slot,
        }
        self.tail = slot;
    }

    /// Unlinks `slot`, which must be in this list.
    pub(super) fn remove<E: AsMut<Links>>(&mut self, entries: &mut Slab<E>, slot: usize) {
        let links = entries[slot].as_mut();
        let (previous, next) = (links.previous, links.next);
        match previous {
            NIL => self.head = next,
            previous => entries[previous].as_mut().next = next,
        }
        match next {
            NIL => self.tail = previous,
            next => entries[next].as_mut().previous = previous,
        }
    }

    pub(super) fn pop_front<E: AsMut<Links>>(&mut self, entries: &mut Slab<E>) -> Option<usize> {
        let slot = self.head;
        if slot == NIL {
            return None;
        }
        self.remove(entries, slot);
        Some(slot)
    }
}
