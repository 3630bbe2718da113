//! The slab of operations: owns each operation's memory from before it is submitted until after
//! its last completion.
//!
//! A slot is written and emptied where it is, field by field: moving one in and out takes longer than
//! the rest of an operation's way.

use std::collections::VecDeque;
use std::mem;
use std::task::Waker;

use super::lifecycle::Lifecycle;
use super::request::LaneId;
use super::{Dispose, Outcome};
use crate::buf::{Erased, Loose};

/// Names an operation: slot in the low half, generation above it, the top bit clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct OpKey(u64);

/// User data with this bit set belongs to the driver itself: a request to cancel the operation that the
/// rest names, or, where that is no slot, the kick.
const CONTROL: u64 = 1 << 63;
/// User data of the kick's completions.
pub(crate) const KICK: u64 = CONTROL | NONE as u64;

impl OpKey {
    #[inline]
    fn new(slot: u32, generation: u32) -> Self {
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

    /// The user data of requests to cancel the operation.
    pub(crate) fn cancel_data(self) -> u64 {
        self.0 | CONTROL
    }

    /// Reads a key from the user data of a request to cancel.
    pub(crate) fn from_cancel_data(user_data: u64) -> Option<Self> {
        let key = Self(user_data & !CONTROL);
        (user_data & CONTROL != 0 && key.index() != NONE).then_some(key)
    }

    /// Returns how many operations were made after `first` and before this one, modulo 2^31.
    pub(crate) fn age_since(self, first: Self) -> u32 {
        self.generation().wrapping_sub(first.generation()) & (u32::MAX >> 1)
    }

    #[inline]
    fn slot(self) -> usize {
        self.index() as usize
    }

    #[inline]
    fn index(self) -> u32 {
        u32::try_from(self.0 & u64::from(u32::MAX)).expect("cut to 32 bits")
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

/// What an operation brings into its slot besides its memory.
#[derive(Debug)]
pub(crate) struct NewOp {
    pub(crate) dispose: Dispose,
    pub(crate) results: Results,
}

/// The generation of a slot without an operation: no key has it, as theirs have 31 bits.
const VACANT: u32 = u32::MAX;
/// No slot.
const NONE: u32 = u32::MAX;

/// One operation.
#[derive(Debug)]
pub(crate) struct Slot {
    generation: u32,
    /// The next vacant slot, while this is one.
    next_vacant: u32,
    /// Changed by the driver alone, through the table in `lifecycle`.
    pub(crate) lifecycle: Lifecycle,
    /// A multishot operation whose cancel has been sent because its ready queue is full.
    pub(crate) paused: bool,
    /// How often a request to cancel it has missed.
    pub(crate) missed: u8,
    /// The line that the operation waited in and is charged to.
    pub(crate) lane: LaneId,
    pub(crate) waker: Option<Waker>,
    pub(crate) results: Results,
    pub(crate) dispose: Dispose,
    /// `None` where there is no operation.
    memory: Option<Erased>,
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
    waker: Option<Waker>,
    results: Results,
    dispose: Dispose,
    memory: Option<Erased>,
}

impl Drop for Removed {
    fn drop(&mut self) {
        while let Some(outcome) = self.results.pop() {
            dispose_of(self.dispose, &mut self.memory, outcome);
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
#[derive(Debug)]
pub(crate) struct OpSlab {
    slots: Vec<Slot>,
    /// The slot that was vacated last, which is the next to be used.
    vacant: u32,
    len: usize,
    /// Generation of the next slot: unique among 2^31 operations, so that a key that outlives its
    /// operation never names another one.
    generation: u32,
}

impl Default for OpSlab {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            vacant: NONE,
            len: 0,
            generation: 0,
        }
    }
}

impl OpSlab {
    /// Adds an operation that is not submitted yet.
    #[inline(always)]
    pub(crate) fn insert<M: 'static>(
        &mut self,
        new: NewOp,
        memory: Loose<M>,
        lane: LaneId,
        waker: Waker,
    ) -> (OpKey, &mut Slot) {
        // The planted bug: a key names whatever is in its slot.
        #[cfg(corelane_planted = "slot_reuse")]
        {
            self.generation = 0;
        }
        let generation = self.generation;
        self.generation = generation.wrapping_add(1) & (u32::MAX >> 1);
        if self.vacant == NONE {
            self.grow();
        }
        let index = self.vacant;
        self.len += 1;
        let slot = &mut self.slots[index as usize];
        self.vacant = slot.next_vacant;
        slot.generation = generation;
        slot.lifecycle = Lifecycle::Queued;
        slot.paused = false;
        slot.missed = 0;
        slot.lane = lane;
        slot.dispose = new.dispose;
        // Nothing was left in a vacant slot that would have to be dropped.
        mem::forget(slot.waker.replace(waker));
        mem::forget(mem::replace(&mut slot.results, new.results));
        mem::forget(slot.memory.replace(Erased::of(memory)));
        (OpKey::new(index, generation), slot)
    }

    /// Adds a vacant slot to a slab that has none.
    #[cold]
    #[inline(never)]
    fn grow(&mut self) {
        let index = u32::try_from(self.slots.len()).ok();
        let index = index.filter(|index| *index != NONE);
        self.vacant = index.expect("slots are bounded by live futures, far below 2^32");
        self.slots.push(Slot {
            generation: VACANT,
            next_vacant: NONE,
            lifecycle: Lifecycle::Completed,
            paused: false,
            missed: 0,
            lane: LaneId::Prompt,
            waker: None,
            results: Results::One(None),
            dispose: |_, _| {},
            memory: None,
        });
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
        let memory = Erased::take_from(&mut slot.memory);
        let waker = slot.waker.take();
        if !matches!(slot.results, Results::One(None)) {
            slot.results = Results::One(None);
        }
        self.vacate(key);
        (memory, waker)
    }

    /// Gives a slot back whose waker, results and memory were taken out.
    #[inline(always)]
    fn vacate(&mut self, key: OpKey) {
        let slot = &mut self.slots[key.slot()];
        slot.generation = VACANT;
        slot.next_vacant = self.vacant;
        self.vacant = key.index();
        self.len -= 1;
    }

    /// Takes an operation out, with all that is left in it.
    pub(crate) fn remove(&mut self, key: OpKey) -> Option<Removed> {
        let slot = self.get_mut(key)?;
        let removed = Removed {
            waker: slot.waker.take(),
            results: mem::replace(&mut slot.results, Results::One(None)),
            dispose: slot.dispose,
            memory: slot.memory.take(),
        };
        self.vacate(key);
        Some(removed)
    }

    /// Drops a result of an operation that nobody takes.
    pub(crate) fn dispose_of(&mut self, key: OpKey, outcome: Outcome) {
        if let Some(slot) = self.get_mut(key) {
            dispose_of(slot.dispose, &mut slot.memory, outcome);
        }
    }

    /// Frees the memory under the kernel: the planted defect that the drop storm must find.
    #[cfg(corelane_planted = "free_on_drop")]
    pub(crate) fn plant_free(&mut self, key: OpKey) {
        if let Some(slot) = self.get_mut(key) {
            slot.memory = Some(Erased::new(()));
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Returns the most operations that there ever were: a slot is added when all others are in use.
    pub(crate) fn high_water(&self) -> usize {
        self.slots.len()
    }

    /// Forgets the slots whose memory the backend may touch, for ever, and hands out who waits
    /// for them.
    pub(crate) fn leak_in_flight(&mut self, wakers: &mut Vec<Waker>) {
        for key in self.in_flight() {
            if let Some(mut removed) = self.remove(key) {
                wakers.extend(removed.waker.take());
                mem::forget(removed);
            }
        }
    }

    /// Lists the operations whose memory the backend may touch.
    pub(crate) fn in_flight(&self) -> Vec<OpKey> {
        self.keys(|slot| slot.lifecycle.is_in_flight())
    }

    fn keys(&self, wanted: impl Fn(&Slot) -> bool) -> Vec<OpKey> {
        (0..)
            .zip(&self.slots)
            .filter(|(_, slot)| slot.generation != VACANT && wanted(slot))
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
            dispose: |_, _| {},
            results: Results::One(None),
        };
        slab.insert(new, Loose::new(()), LaneId::Prompt, Waker::noop().clone())
            .0
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
