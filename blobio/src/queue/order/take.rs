//! Taking what was found: who pays for it, and what is said of it.

use super::shares::AGED;
use super::slots::Slot;
use super::{Order, Popped, Reason};

impl<T> Order<T> {
    /// Takes the request that [`sole`](Self::sole) has found: it has no deadline.
    #[inline]
    pub(super) fn take_sole(&mut self, slot: u32, now_ns: u64) -> Popped<T> {
        let key = self.slots.key(slot);
        let &Slot {
            class,
            bytes,
            queued_ns,
            ..
        } = self.slots.get(slot);
        self.shares.serve(class.index());
        self.charge(class.index(), bytes);
        let value = self.slots.remove(slot);
        if self.is_empty() {
            self.shares.level();
        }
        Popped {
            key,
            value,
            class,
            bytes,
            waited_ns: now_ns.saturating_sub(queued_ns),
            deadline_ns: None,
            reason: Reason::Share,
        }
    }

    /// Charges a line for a request of `bytes` that is taken in its turn.
    #[inline]
    fn charge(&mut self, line: usize, bytes: u64) {
        let cost = self.policy.cost(bytes);
        self.shares.charge(line, cost);
        let made_up = cost.saturating_mul(u64::from(self.policy.urgent_ratio));
        self.urgent_debt = self.urgent_debt.saturating_sub(made_up);
    }

    pub(super) fn take_in_turn(&mut self, line: usize, slot: u32, now_ns: u64) -> Popped<T> {
        self.charge(line, self.slots.get(slot).bytes);
        let reason = match line {
            AGED => Reason::Age,
            _ => Reason::Share,
        };
        self.popped(slot, reason, now_ns)
    }

    pub(super) fn take_urgent(&mut self, slot: u32, now_ns: u64, alone: bool) -> Popped<T> {
        let taken = self.slots.get(slot);
        let cost = self.policy.cost(taken.bytes);
        let line = taken.class.index();
        if !alone {
            self.urgent_debt = self.urgent_debt.saturating_add(cost);
        }
        self.shares
            .charge_ahead(line, cost, self.policy.urgent_burst);
        self.popped(slot, Reason::Deadline, now_ns)
    }

    fn popped(&mut self, slot: u32, reason: Reason, now_ns: u64) -> Popped<T> {
        let taken = self.slots.get(slot);
        let Slot { class, bytes, .. } = *taken;
        let waited_ns = now_ns.saturating_sub(taken.queued_ns);
        Popped {
            key: self.slots.key(slot),
            deadline_ns: self.deadlines[class.index()].get(&self.slots, slot),
            value: self.take(slot),
            class,
            bytes,
            waited_ns,
            reason,
        }
    }

    /// Takes a slot out of its line and its heap.
    pub(super) fn take(&mut self, slot: u32) -> T {
        let class = self.slots.get(slot).class.index();
        self.deadlines[class].set(&mut self.slots, slot, None);
        let value = self.slots.remove(slot);
        if self.is_empty() {
            self.shares.level();
        }
        value
    }
}
