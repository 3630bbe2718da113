//! Where the queued requests are: slots that are reused, each in the line of its class.

use std::num::NonZeroU64;

use super::{Class, Key};

/// No slot.
pub(super) const NONE: u32 = u32::MAX;

/// One queued request, or a free slot.
#[derive(Debug)]
pub(super) struct Slot<T> {
    /// `None` in a free slot.
    pub(super) value: Option<T>,
    pub(super) bytes: u64,
    /// When it came to the line it is in.
    pub(super) queued_ns: u64,
    /// Counts every request that ever came; `None` in a free slot. Tells users of a slot apart.
    pub(super) serial: Option<NonZeroU64>,
    prev: u32,
    /// In a free slot, the next free one.
    next: u32,
    /// The index in the heap of its class, written by the heap alone; `NONE` without deadline.
    pub(super) heap_index: u32,
    pub(super) class: Class,
}

#[derive(Clone, Copy, Debug)]
struct Line {
    head: u32,
    tail: u32,
    /// The last of those at its head that came again.
    again: u32,
    len: u32,
}

/// The slots and the four lines through them.
#[derive(Debug)]
pub(super) struct Slots<T> {
    slots: Vec<Slot<T>>,
    free: u32,
    len: u32,
    serial_last: NonZeroU64,
    lines: [Line; Class::COUNT],
}

impl<T> Slots<T> {
    pub(super) fn new() -> Self {
        let empty = Line {
            head: NONE,
            tail: NONE,
            again: NONE,
            len: 0,
        };
        Self {
            slots: Vec::new(),
            free: NONE,
            len: 0,
            serial_last: NonZeroU64::MIN,
            lines: [empty; Class::COUNT],
        }
    }

    pub(super) fn len(&self) -> u32 {
        self.len
    }

    pub(super) fn len_of(&self, class: Class) -> u32 {
        self.lines[class.index()].len
    }

    /// Gives the memory back. Nothing is queued; serials go on, so that old keys find nothing.
    pub(super) fn release(&mut self) {
        self.slots = Vec::new();
        self.free = NONE;
    }

    pub(super) fn capacity(&self) -> usize {
        self.slots.capacity()
    }

    pub(super) fn get(&self, slot: u32) -> &Slot<T> {
        &self.slots[at(slot)]
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> &mut Slot<T> {
        &mut self.slots[at(slot)]
    }

    /// Returns the slot of a request that is still queued.
    pub(super) fn find(&self, key: Key) -> Option<u32> {
        let slot = self.slots.get(at(key.slot))?;
        (slot.serial == Some(key.serial)).then_some(key.slot)
    }

    #[inline]
    pub(super) fn key(&self, slot: u32) -> Key {
        Key {
            slot,
            serial: self.get(slot).serial.expect("a slot in a line is filled"),
        }
    }

    pub(super) fn head(&self, class: Class) -> Option<u32> {
        let head = self.lines[class.index()].head;
        (head != NONE).then_some(head)
    }

    /// Returns the head of the line that all requests are in, if they are in one.
    #[inline]
    pub(super) fn sole_head(&self) -> Option<u32> {
        let holds_all = |line: &&Line| line.len == self.len;
        let line = self.lines.iter().find(holds_all)?;
        (line.head != NONE).then_some(line.head)
    }

    pub(super) fn next(&self, slot: u32) -> Option<u32> {
        let next = self.get(slot).next;
        (next != NONE).then_some(next)
    }

    /// Puts a request at the end of its line. The caller has seen that `len` is below `NONE`.
    #[inline(always)]
    pub(super) fn insert(&mut self, value: T, class: Class, bytes: u64, now_ns: u64) -> Key {
        self.serial_last = self.serial_last.saturating_add(1);
        let serial = self.serial_last;
        let filled = Slot {
            value: Some(value),
            bytes,
            queued_ns: now_ns,
            serial: Some(serial),
            prev: self.lines[class.index()].tail,
            next: NONE,
            heap_index: NONE,
            class,
        };
        let tail = filled.prev;
        let slot = match self.free {
            NONE => {
                let slot = u32::try_from(self.slots.len()).expect("fewer slots than NONE");
                self.slots.push(filled);
                slot
            }
            slot => {
                let place = self.get_mut(slot);
                let next = std::mem::replace(place, filled).next;
                self.free = next;
                slot
            }
        };
        self.len += 1;
        self.link_last(slot, class, tail);
        Key { slot, serial }
    }

    /// Puts a request ahead of its line, but behind those that came so before.
    pub(super) fn insert_again(
        &mut self,
        value: T,
        class: Class,
        bytes: u64,
        since_ns: u64,
    ) -> Key {
        let key = self.insert(value, class, bytes, since_ns);
        let slot = key.slot;
        self.unlink(slot);
        let line = &mut self.lines[class.index()];
        line.len += 1;
        let prev = std::mem::replace(&mut line.again, slot);
        let next = match prev {
            NONE => std::mem::replace(&mut line.head, slot),
            prev => std::mem::replace(&mut self.get_mut(prev).next, slot),
        };
        match next {
            NONE => self.lines[class.index()].tail = slot,
            next => self.get_mut(next).prev = slot,
        }
        let linked = self.get_mut(slot);
        (linked.prev, linked.next) = (prev, next);
        key
    }

    /// Takes a request out of its line and frees its slot.
    #[inline]
    pub(super) fn remove(&mut self, slot: u32) -> T {
        self.unlink(slot);
        let free = self.free;
        let freed = self.get_mut(slot);
        freed.serial = None;
        freed.next = free;
        let value = freed.value.take().expect("a slot in a line is filled");
        self.free = slot;
        self.len -= 1;
        value
    }

    /// Moves a request to the end of the line of another class.
    pub(super) fn move_to(&mut self, slot: u32, class: Class, now_ns: u64) {
        self.unlink(slot);
        let moved = self.get_mut(slot);
        moved.class = class;
        moved.queued_ns = now_ns;
        self.append(slot);
    }

    fn append(&mut self, slot: u32) {
        let class = self.get(slot).class;
        let tail = self.lines[class.index()].tail;
        let appended = self.get_mut(slot);
        appended.prev = tail;
        appended.next = NONE;
        self.link_last(slot, class, tail);
    }

    /// Makes a slot that knows `tail` before it the last of a line that ended with that.
    #[inline]
    fn link_last(&mut self, slot: u32, class: Class, tail: u32) {
        let line = &mut self.lines[class.index()];
        line.tail = slot;
        line.len += 1;
        match tail {
            NONE => line.head = slot,
            tail => self.get_mut(tail).next = slot,
        }
    }

    fn unlink(&mut self, slot: u32) {
        let &Slot {
            prev, next, class, ..
        } = self.get(slot);
        let class = class.index();
        self.lines[class].len -= 1;
        if self.lines[class].again == slot {
            self.lines[class].again = prev;
        }
        match prev {
            NONE => self.lines[class].head = next,
            prev => self.get_mut(prev).next = next,
        }
        match next {
            NONE => self.lines[class].tail = prev,
            next => self.get_mut(next).prev = prev,
        }
    }
}

/// A slot's number as an index.
pub(super) const fn at(slot: u32) -> usize {
    slot as usize
}
