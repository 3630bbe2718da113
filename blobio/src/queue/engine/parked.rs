//! Who waits for memory: requests of several pieces whose destinations are yet to be allocated.
//!
//! Memory is given by turns. Whose turn is first has what is free, or else waits until enough is;
//! nobody begins whose turn is after that. What was given counts from then on, though the request
//! has still to come up in the order.

use std::collections::BTreeSet;

use super::State;
use crate::queue::record::{self, Key, Place, Record, TREE_LEN};

/// How many may begin ahead of the oldest once it has waited long, before it has its turn.
const AHEAD_MAX: u32 = 16;

// The other tree of a request is that of neighbours, in which it is not meanwhile.
const _: () = assert!(size_of::<Turn>() + size_of::<(u64, Key)>() <= TREE_LEN);

/// The turn of a request: by class, then deadline, then arrival.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Turn {
    class: usize,
    deadline_ns: u64,
    since_ns: u64,
    key: Key,
}

impl Turn {
    pub(super) fn of(key: Key, record: &Record) -> Self {
        Self {
            class: record.class.index(),
            deadline_ns: record.deadline_ns().unwrap_or(u64::MAX),
            since_ns: record.since_ns,
            key,
        }
    }

    fn age(&self) -> (u64, Key) {
        (self.since_ns, self.key)
    }
}

/// Those that wait. While there are any, others have memory and will give it back.
pub(super) struct Parked {
    turns: BTreeSet<Turn>,
    /// The same ones, the oldest first.
    ages: BTreeSet<(u64, Key)>,
    /// How long the oldest waits before it has its turn whatever its class.
    age_after_ns: u64,
    /// How many began ahead of the oldest since one that was had its turn.
    ahead: u32,
}

impl Parked {
    pub(super) fn new(age_after_ns: u64) -> Self {
        Self {
            turns: BTreeSet::new(),
            ages: BTreeSet::new(),
            age_after_ns,
            ahead: 0,
        }
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.turns.len()
    }

    fn insert(&mut self, turn: Turn) {
        self.turns.insert(turn);
        self.ages.insert(turn.age());
    }

    pub(super) fn remove(&mut self, turn: &Turn) {
        self.turns.remove(turn);
        self.ages.remove(&turn.age());
    }

    /// Gives a request another turn, if it is one of these.
    pub(super) fn change(&mut self, old: &Turn, new: Turn) {
        if self.turns.remove(old) {
            self.turns.insert(new);
        }
    }

    /// Gives the oldest if it has its turn for that.
    fn aged(&self, now_ns: u64) -> Option<(u64, Key)> {
        let oldest = *self.ages.first()?;
        let waited_ns = now_ns.saturating_sub(oldest.0);
        (self.ahead >= AHEAD_MAX && waited_ns >= self.age_after_ns).then_some(oldest)
    }

    /// Gives the one whose turn is first.
    fn first(&self, now_ns: u64) -> Option<Key> {
        let aged = self.aged(now_ns).map(|(_, key)| key);
        aged.or_else(|| self.turns.first().map(|turn| turn.key))
    }

    /// Says whether the turn of somebody else is before all of theirs.
    fn are_after(&self, turn: &Turn, now_ns: u64) -> bool {
        match self.aged(now_ns) {
            Some(oldest) => turn.age() < oldest,
            None => self.turns.first().is_none_or(|first| turn < first),
        }
    }

    /// Notes that one begins, of these or not.
    fn began(&mut self, turn: &Turn) {
        let passes = self.ages.first().is_some_and(|age| turn.age() > *age);
        self.ahead = if passes {
            self.ahead.saturating_add(1)
        } else {
            0
        };
    }
}

impl State {
    /// Puts a request aside whose destination, half full between two pieces, would take too much
    /// memory besides those that are, or memory that somebody else waits for.
    #[inline]
    pub(super) fn park(&mut self, key: Key) -> bool {
        let record = self.records.get_mut(key).expect("what is queued is held");
        let allocates = match &record.to {
            Place::Allocate(_) => true,
            Place::Fresh(dest) => dest.capacity() < record.len,
            Place::Here(_) | Place::Away => false,
        };
        allocates && !record.begun && record.has_more() && !self.begin(key)
    }

    /// Gives a request its memory, or parks it.
    fn begin(&mut self, key: Key) -> bool {
        let record = self.records.get_mut(key).expect("what is queued is held");
        let turn = Turn::of(key, record);
        let fits = fits(self.begun_bytes, record.len, self.begun_max);
        if fits && self.parked.are_after(&turn, self.now_ns) {
            record.begun = true;
            self.begun_bytes = self.begun_bytes.saturating_add(record.len as u64);
            self.parked.began(&turn);
            return true;
        }
        debug_assert!(self.begun_bytes > 0);
        record.state = record::State::Parked;
        self.parked.insert(turn);
        if std::mem::take(&mut record.near) {
            self.near.remove(&(record.blob.id, record.piece_pos(), key));
        }
        false
    }

    /// Gives memory to those who wait for it, as far as there is enough.
    pub(super) fn unpark(&mut self) {
        while let Some(key) = self.parked.first(self.now_ns) {
            let record = self.records.get_mut(key).expect("what is parked is held");
            if !fits(self.begun_bytes, record.len, self.begun_max) {
                return;
            }
            let turn = Turn::of(key, record);
            record.begun = true;
            self.begun_bytes = self.begun_bytes.saturating_add(record.len as u64);
            self.parked.began(&turn);
            self.parked.remove(&turn);
            self.enqueue_again(key);
        }
    }
}

/// Says whether a destination of `len` bytes fits besides others: a single one may be larger.
fn fits(begun_bytes: u64, len: usize, begun_max: u64) -> bool {
    begun_bytes == 0 || begun_bytes.saturating_add(len as u64) <= begun_max
}
