//! The slab of operations: owns each operation's memory from before it is submitted until after
//! its last completion.

use std::collections::VecDeque;
use std::mem;
use std::task::Waker;

use slab::Slab;

use super::lifecycle::Lifecycle;
use super::request::LaneId;
use super::{Dispose, Outcome};
use crate::buf::Erased;

/// Names an operation: slot in the low half, generation above it, the top bit clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct OpKey(u64);

/// User data with this bit set belongs to the driver itself.
pub(crate) const CONTROL: u64 = 1 << 63;

impl OpKey {
    #[inline]
    fn new(slot: usize, generation: u32) -> Self {
        let slot = u32::try_from(slot).expect("slots are bounded by live futures, far below 2^32");
        Self(u64::from(slot) | u64::from(generation) << 32)
    }

    /// Reads a key from a completion's user data.
    #[inline]
    pub(crate) fn from_user_data(user_data: u64) -> Option<Self> {
        (user_data & CONTROL == 0).then_some(Self(user_data))
    }

    #[inline]
    pub(crate) fn user_data(self) -> u64 {
        self.0
    }

    /// Returns how many operations were made after `first` and before this one, modulo 2^31.
    pub(crate) fn age_since(self, first: Self) -> u32 {
        self.generation().wrapping_sub(first.generation()) & (u32::MAX >> 1)
    }

    #[inline]
    fn slot(self) -> usize {
        usize::try_from(self.0 & u64::from(u32::MAX)).expect("32 bits fit a usize on Linux")
    }

    #[inline]
    fn generation(self) -> u32 {
        u32::try_from(self.0 >> 32).expect("the upper half has 32 bits")
    }
}

/// What a slot keeps of results that have arrived.
#[derive(Debug)]
pub(crate) enum Results {
    /// At most one result.
    One(Option<Outcome>),
    /// The ready queue of a multishot operation.
    #[allow(
        clippy::box_collection,
        reason = "one word, so that it does not widen every slot"
    )]
    Many(Box<VecDeque<Outcome>>),
}

impl Results {
    #[inline]
    fn push(&mut self, outcome: Outcome) {
        match self {
            Self::One(result) => *result = Some(outcome),
            Self::Many(results) => results.push_back(outcome),
        }
    }

    #[inline]
    fn pop(&mut self) -> Option<Outcome> {
        match self {
            Self::One(result) => result.take(),
            Self::Many(results) => results.pop_front(),
        }
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::One(result) => usize::from(result.is_some()),
            Self::Many(results) => results.len(),
        }
    }
}

/// What an operation brings into its slot.
#[derive(Debug)]
pub(crate) struct NewOp {
    pub(crate) memory: Erased,
    pub(crate) dispose: Dispose,
    pub(crate) results: Results,
}

/// One operation.
#[derive(Debug)]
pub(crate) struct Slot {
    generation: u32,
    /// Changed by the driver alone, through the table in `lifecycle`.
    pub(crate) lifecycle: Lifecycle,
    /// A multishot operation whose cancel has been sent because its ready queue is full.
    pub(crate) paused: bool,
    /// The line that the operation waited in and is charged to.
    pub(crate) lane: LaneId,
    pub(crate) waker: Option<Waker>,
    pub(crate) results: Results,
    pub(crate) dispose: Dispose,
}

impl Slot {
    #[inline]
    pub(crate) fn push_result(&mut self, outcome: Outcome) {
        self.results.push(outcome);
    }

    #[inline]
    pub(crate) fn pop_result(&mut self) -> Option<Outcome> {
        self.results.pop()
    }
}

/// An operation that has left the slab, to be dropped where user code may run.
#[derive(Debug)]
pub(crate) struct Removed {
    slot: Slot,
    memory: Option<Erased>,
}

impl Drop for Removed {
    fn drop(&mut self) {
        while let Some(outcome) = self.slot.results.pop() {
            dispose_of(self.slot.dispose, &mut self.memory, outcome);
        }
    }
}

/// Drops a result that nobody takes.
fn dispose_of(dispose: Dispose, memory: &mut Option<Erased>, outcome: Outcome) {
    if let Some(memory) = memory {
        dispose(memory, outcome);
    }
}

/// The operations of one driver.
#[derive(Debug, Default)]
pub(crate) struct OpSlab {
    slots: Slab<Slot>,
    /// The memory of each slot, at the same index: apart, so that the slots stay small and little
    /// is moved when an operation comes and goes. `None` where it has been taken, or where there
    /// is no operation.
    memory: Vec<Option<Erased>>,
    /// Generation of the next slot: unique among 2^31 operations, so that a key that outlives its
    /// operation never names another one.
    generation: u32,
    high_water: usize,
}

impl OpSlab {
    /// Adds an operation that is not submitted yet.
    #[inline]
    pub(crate) fn insert(
        &mut self,
        new: NewOp,
        lane: LaneId,
        waker: Option<Waker>,
    ) -> (OpKey, &mut Slot) {
        // The planted bug: a key names whatever is in its slot.
        #[cfg(corelane_planted = "slot_reuse")]
        {
            self.generation = 0;
        }
        let generation = self.generation;
        self.generation = generation.wrapping_add(1) & (u32::MAX >> 1);
        self.high_water = self.high_water.max(self.slots.len() + 1);
        let entry = self.slots.vacant_entry();
        let index = entry.key();
        match self.memory.get_mut(index) {
            Some(place) => *place = Some(new.memory),
            None => self.memory.push(Some(new.memory)),
        }
        let slot = entry.insert(Slot {
            generation,
            lifecycle: Lifecycle::Queued,
            paused: false,
            lane,
            waker,
            results: new.results,
            dispose: new.dispose,
        });
        (OpKey::new(index, generation), slot)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, key: OpKey) -> Option<&mut Slot> {
        self.slots
            .get_mut(key.slot())
            .filter(|slot| slot.generation == key.generation())
    }

    /// Takes an operation out whose last result has been taken: its memory, for the output that is
    /// made of it, and the waker that was left.
    ///
    /// # Panics
    ///
    /// When the memory is of another type.
    #[inline(always)]
    pub(crate) fn finish<T: 'static>(&mut self, key: OpKey) -> (T, Option<Waker>) {
        let slot = self.get_mut(key).expect("an operation is finished once");
        assert!(
            !slot.lifecycle.is_in_flight(),
            "the backend may still touch the memory"
        );
        let waker = slot.waker.take();
        if let Results::Many(_) = slot.results {
            slot.results = Results::One(None);
        }
        // Nothing is left in it. To drop it would mean to move it out, which takes longer than all
        // of the rest: its fields were written one by one a moment ago.
        mem::forget(self.slots.remove(key.slot()));
        let memory = Erased::take_from(&mut self.memory[key.slot()]);
        (memory, waker)
    }

    /// Takes an operation out, with all that is left in it.
    pub(crate) fn remove(&mut self, key: OpKey) -> Option<Removed> {
        self.get_mut(key)?;
        Some(Removed {
            slot: self.slots.remove(key.slot()),
            memory: self.memory[key.slot()].take(),
        })
    }

    /// Drops a result of an operation that nobody takes.
    pub(crate) fn dispose_of(&mut self, key: OpKey, outcome: Outcome) {
        if let Some(slot) = self.get_mut(key) {
            let dispose = slot.dispose;
            dispose_of(dispose, &mut self.memory[key.slot()], outcome);
        }
    }

    /// Frees the memory under the kernel: the planted defect that the drop storm must find.
    #[cfg(corelane_planted = "free_on_drop")]
    pub(crate) fn plant_free(&mut self, key: OpKey) {
        self.memory[key.slot()] = Some(Erased::new(()));
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn high_water(&self) -> usize {
        self.high_water
    }

    /// Forgets the slots whose memory the backend may touch, for ever, and hands out who waits
    /// for them.
    pub(crate) fn leak_in_flight(&mut self, wakers: &mut Vec<Waker>) {
        for key in self.in_flight() {
            if let Some(mut removed) = self.remove(key) {
                wakers.extend(removed.slot.waker.take());
                mem::forget(removed);
            }
        }
    }

    /// Lists the operations whose memory the backend may touch.
    pub(crate) fn in_flight(&self) -> Vec<OpKey> {
        self.keys(|slot| slot.lifecycle.is_in_flight())
    }

    fn keys(&self, wanted: impl Fn(&Slot) -> bool) -> Vec<OpKey> {
        self.slots
            .iter()
            .filter(|(_, slot)| wanted(slot))
            .map(|(index, slot)| OpKey::new(index, slot.generation))
            .collect()
    }
}

impl Drop for OpSlab {
    fn drop(&mut self) {
        for key in self.keys(|_| true) {
            drop(self.remove(key));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insert(slab: &mut OpSlab) -> OpKey {
        let new = NewOp {
            memory: Erased::new(()),
            dispose: |_, _| {},
            results: Results::One(None),
        };
        slab.insert(new, LaneId::Prompt, None).0
    }

    #[test]
    fn a_key_does_not_name_the_next_operation_in_its_slot() {
        let mut slab = OpSlab::default();
        let first = insert(&mut slab);
        assert!(slab.remove(first).is_some());
        let second = insert(&mut slab);
        assert_eq!(first.slot(), second.slot());
        assert!(slab.get_mut(first).is_none());
        assert!(slab.remove(first).is_none());
        assert!(slab.get_mut(second).is_some());
    }

    #[test]
    fn generations_wrap_below_the_control_bit() {
        let mut slab = OpSlab::default();
        slab.generation = u32::MAX >> 1;
        let last = insert(&mut slab);
        assert_eq!(last.user_data() & CONTROL, 0);
        let next = insert(&mut slab);
        assert_eq!(next.generation(), 0);
    }
}
