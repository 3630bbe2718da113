//! The deadlines of one class: a heap whose entries know where they are.

use super::slots::{NONE, Slots, at};

/// A deadline and the slot of its request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Due {
    pub(super) deadline_ns: u64,
    pub(super) slot: u32,
}

/// A binary heap, earliest first and, of those, first come first. Each slot in it has its index
/// in `Slot::heap_index`, so that any entry can be moved or taken out in O(log n).
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    heap: Vec<Due>,
}

impl Deadlines {
    pub(super) fn first(&self) -> Option<Due> {
        self.heap.first().copied()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    /// Gives the memory back. Nothing has a deadline.
    pub(super) fn release(&mut self) {
        self.heap = Vec::new();
    }

    pub(super) fn capacity(&self) -> usize {
        self.heap.capacity()
    }

    pub(super) fn get<T>(&self, slots: &Slots<T>, slot: u32) -> Option<u64> {
        let index = slots.get(slot).heap_index;
        (index != NONE).then(|| self.heap[at(index)].deadline_ns)
    }

    /// Gives a slot a deadline, another one, or none.
    pub(super) fn set<T>(&mut self, slots: &mut Slots<T>, slot: u32, deadline_ns: Option<u64>) {
        let index = slots.get(slot).heap_index;
        match (index, deadline_ns) {
            (NONE, None) => {}
            (NONE, Some(deadline_ns)) => {
                self.heap.push(Due { deadline_ns, slot });
                self.up(slots, self.heap.len() - 1);
            }
            (index, Some(deadline_ns)) => {
                self.heap[at(index)].deadline_ns = deadline_ns;
                self.settle(slots, at(index));
            }
            (index, None) => {
                slots.get_mut(slot).heap_index = NONE;
                self.heap.swap_remove(at(index));
                if at(index) < self.heap.len() {
                    self.settle(slots, at(index));
                }
            }
        }
    }

    /// Moves the entry at `index`, which may be out of order either way, to its place.
    fn settle<T>(&mut self, slots: &mut Slots<T>, index: usize) {
        let index = self.up(slots, index);
        self.down(slots, index);
    }

    fn up<T>(&mut self, slots: &mut Slots<T>, mut index: usize) -> usize {
        while index > 0 && self.before(slots, index, (index - 1) / 2) {
            self.heap.swap(index, (index - 1) / 2);
            self.note(slots, index);
            index = (index - 1) / 2;
        }
        self.note(slots, index);
        index
    }

    fn down<T>(&mut self, slots: &mut Slots<T>, mut index: usize) {
        loop {
            let children = [2 * index + 1, 2 * index + 2];
            let mut least = index;
            for child in children {
                if child < self.heap.len() && self.before(slots, child, least) {
                    least = child;
                }
            }
            if least == index {
                return self.note(slots, index);
            }
            self.heap.swap(index, least);
            self.note(slots, index);
            index = least;
        }
    }

    fn before<T>(&self, slots: &Slots<T>, left: usize, right: usize) -> bool {
        let [left, right] = [self.heap[left], self.heap[right]];
        match left.deadline_ns.cmp(&right.deadline_ns) {
            std::cmp::Ordering::Equal => slots.get(left.slot).serial < slots.get(right.slot).serial,
            order => order.is_lt(),
        }
    }

    fn note<T>(&self, slots: &mut Slots<T>, index: usize) {
        let slot = self.heap[index].slot;
        slots.get_mut(slot).heap_index = u32::try_from(index).expect("no more than the slots");
    }
}
