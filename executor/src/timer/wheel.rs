//! The wheel: which slot a tick belongs to, and which slot comes next.
//!
//! Level 0 has one slot per tick; a slot of level `n` spans 64^n ticks. With `elapsed` as the tick
//! reached so far, these hold between calls:
//!
//! - An entry of level 0 is in the slot of its tick, in the same block of 64 as `elapsed` and not
//!   before it; what was inserted already due is in the slot of `elapsed` itself.
//! - An entry of level 1 to 4 has its highest digit (base 64) that differs from `elapsed` at that
//!   level, and the digit is its slot. It is therefore later than everything on lower levels.
//! - An entry of the top level is in one of the 63 slots that follow the slot of `elapsed`; one too
//!   far away waits in the last of them and is placed anew when that is reached.
//!
//! So the next slot to look at is the first one in use on the lowest level in use.

use slab::Slab;

use super::list::{Links, List};

const SLOT_BITS: u32 = 6;
const SLOT_COUNT: usize = 1 << SLOT_BITS;
const SLOT_MASK: u64 = (1 << SLOT_BITS) - 1;
const LEVEL_COUNT: usize = 7;
const LEVEL_TOP: u8 = 6;

/// The last tick (2 million years on), low enough that slot arithmetic cannot overflow.
pub(super) const TICK_MAX: u64 = 1 << 60;

const _: () = assert!(LEVEL_TOP as usize + 1 == LEVEL_COUNT);
const _: () = assert!(TICK_MAX.leading_zeros() > 1);

#[derive(Debug)]
pub(super) struct Wheel {
    /// Everything at a tick before this has fired. Advanced by `pop_due` alone.
    elapsed: u64,
    levels: [Level; LEVEL_COUNT],
}

#[derive(Debug)]
struct Level {
    /// Bit `i` is set exactly when `slots[i]` is not empty.
    occupied: u64,
    slots: [List; SLOT_COUNT],
}

/// A slot in use and the first tick that it spans.
#[derive(Clone, Copy)]
struct Next {
    level: u8,
    index: u8,
    tick: u64,
}

impl Wheel {
    pub(super) fn new() -> Self {
        const EMPTY: Level = Level {
            occupied: 0,
            slots: [List::EMPTY; SLOT_COUNT],
        };
        Self {
            elapsed: 0,
            levels: [EMPTY; LEVEL_COUNT],
        }
    }

    /// Links `slot`, whose entry is in no list, by its tick.
    pub(super) fn insert<E: AsMut<Links>>(&mut self, entries: &mut Slab<E>, slot: usize) {
        let links = entries[slot].as_mut();
        (links.level, links.index) = place(self.elapsed, links.tick);
        let (level, index) = (links.level, links.index);
        let level = &mut self.levels[usize::from(level)];
        level.occupied |= 1 << index;
        level.slots[usize::from(index)].push_back(entries, slot);
    }

    /// Unlinks `slot`, whose entry is linked here.
    pub(super) fn remove<E: AsMut<Links>>(&mut self, entries: &mut Slab<E>, slot: usize) {
        let links = entries[slot].as_mut();
        let (level, index) = (links.level, links.index);
        let level = &mut self.levels[usize::from(level)];
        let list = &mut level.slots[usize::from(index)];
        list.remove(entries, slot);
        if list.is_empty() {
            level.occupied &= !(1 << index);
        }
    }

    /// Unlinks and returns the first entry that is due at tick `now`; moves time on to `now` when
    /// there is none.
    pub(super) fn pop_due<E: AsMut<Links>>(
        &mut self,
        entries: &mut Slab<E>,
        now: u64,
    ) -> Option<usize> {
        loop {
            let next = self.next_slot().filter(|next| next.tick <= now);
            let Some(Next { level, index, tick }) = next else {
                self.elapsed = self.elapsed.max(now);
                return None;
            };
            self.elapsed = tick;
            if level == 0 {
                return self.pop(entries, level, index);
            }
            self.cascade(entries, level, index);
        }
    }

    /// Returns the tick at which `pop_due` has something to do: not after the first entry's.
    pub(super) fn next_tick<E: AsRef<Links>>(&self, entries: &Slab<E>) -> Option<u64> {
        let next = self.next_slot()?;
        let list = &self.levels[usize::from(next.level)].slots[usize::from(next.index)];
        let span_last = next.tick + ((1 << (SLOT_BITS * u32::from(next.level))) - 1);
        // A slot of one entry is exact, unless it holds an entry from beyond its span: a later
        // slot may then hold an earlier one.
        let exact = list
            .single()
            .map(|slot| entries[slot].as_ref().tick)
            .filter(|tick| (next.tick..=span_last).contains(tick));
        Some(exact.unwrap_or(next.tick))
    }

    fn pop<E: AsMut<Links>>(
        &mut self,
        entries: &mut Slab<E>,
        level: u8,
        index: u8,
    ) -> Option<usize> {
        let level = &mut self.levels[usize::from(level)];
        let list = &mut level.slots[usize::from(index)];
        let slot = list.pop_front(entries);
        if list.is_empty() {
            level.occupied &= !(1 << index);
        }
        slot
    }

    /// Places the entries of a slot anew, now that `elapsed` is the first tick of its span.
    fn cascade<E: AsMut<Links>>(&mut self, entries: &mut Slab<E>, level: u8, index: u8) {
        let level = &mut self.levels[usize::from(level)];
        level.occupied &= !(1 << index);
        let mut list = std::mem::replace(&mut level.slots[usize::from(index)], List::EMPTY);
        while let Some(slot) = list.pop_front(entries) {
            self.insert(entries, slot);
        }
    }

    fn next_slot(&self) -> Option<Next> {
        (0..=LEVEL_TOP).find_map(|level| {
            let occupied = self.levels[usize::from(level)].occupied;
            if occupied == 0 {
                return None;
            }
            let shift = SLOT_BITS * u32::from(level);
            let current = self.elapsed >> shift;
            // How many slots on, and around the end on the top level alone: lower levels never
            // hold a slot before the current one.
            let turned = occupied.rotate_right(u32::from(digit(current)));
            let bucket = current + u64::from(turned.trailing_zeros());
            Some(Next {
                level,
                index: digit(bucket),
                tick: bucket << shift,
            })
        })
    }
}

/// Returns level and slot for `tick` as seen from `elapsed`.
fn place(elapsed: u64, tick: u64) -> (u8, u8) {
    let tick = tick.max(elapsed);
    let differing_bits = u64::BITS - (elapsed ^ tick).leading_zeros();
    let level = differing_bits.saturating_sub(1) / SLOT_BITS;
    if level < u32::from(LEVEL_TOP) {
        return (
            low_byte(u64::from(level)),
            digit(tick >> (SLOT_BITS * level)),
        );
    }
    let shift = SLOT_BITS * u32::from(LEVEL_TOP);
    let bucket = (tick >> shift).min((elapsed >> shift) + SLOT_MASK);
    (LEVEL_TOP, digit(bucket))
}

/// The lowest base-64 digit.
fn digit(ticks: u64) -> u8 {
    low_byte(ticks & SLOT_MASK)
}

fn low_byte(value: u64) -> u8 {
    value.to_le_bytes()[0]
}
