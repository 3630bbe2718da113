//! Which requests are next, and which of their neighbours go with them.

use super::State;
use crate::guard::guarded;
use crate::plan::{Limits, Plan, Want};
use crate::queue::Class;
use crate::queue::error::ReadError;
use crate::queue::limits::Flight;
use crate::queue::order::{Admit, Popped};
use crate::queue::outbox::Outbox;
use crate::queue::record::{self, Key, Place, Record};

use super::issue::Read;

/// What was chosen at one time. Keeps its memory.
#[derive(Default)]
pub(super) struct Window {
    pub(super) chosen: Vec<Chosen>,
    /// What the chosen ones count as in flight until their reads do.
    pub(super) flights: Vec<Flight>,
    pub(super) wants: Vec<(u64, Want)>,
    pub(super) plan: Plan,
    pub(super) reads: Vec<Read>,
}

/// A request that was chosen.
pub(super) struct Chosen {
    pub(super) key: Key,
    len: usize,
    /// Its destination, where that is yet to be made or measured; then as made.
    pub(super) to: Place,
    pub(super) error: Option<ReadError>,
}

impl Window {
    /// Calls the allocators and measures the destinations.
    pub(super) fn make_destinations(&mut self) {
        for chosen in &mut self.chosen {
            let mut dest = match std::mem::replace(&mut chosen.to, Place::Away) {
                Place::Fresh(dest) => dest,
                Place::Allocate(allocate) => match guarded(|| allocate(chosen.len)) {
                    Some(Ok(dest)) => dest,
                    Some(Err(error)) => {
                        chosen.error = Some(ReadError::Allocator(error.into()));
                        continue;
                    }
                    None => {
                        chosen.error = Some(ReadError::Panicked("the destination's allocator"));
                        continue;
                    }
                },
                Place::Here(_) | Place::Away => continue,
            };
            chosen.error = dest.reserve(chosen.len).err().map(ReadError::io);
            chosen.to = Place::Here(dest);
        }
    }
}

impl State {
    /// Fills the window with what is next; says whether there is anything to issue.
    pub(super) fn choose(
        &mut self,
        window: &mut Window,
        window_max: usize,
        out: &mut Outbox,
    ) -> bool {
        while window.chosen.len() < window_max {
            if self.launch_in_turn(out) {
                continue;
            }
            let Some(popped) = self.pop() else {
                if self.launch_put_off(out) {
                    continue;
                }
                break;
            };
            self.put_off.pass();
            let key = popped.value;
            if self.park(key) {
                continue;
            }
            let first = window.chosen.len();
            self.take_out(key, window);
            let mut bytes = popped.bytes;
            if self.merges(key) {
                bytes = self.gather(key, popped.class, bytes, window, window_max);
            }
            debug_assert!(window.chosen.len() > first);
            window
                .flights
                .push(self.in_flight.start(popped.class, bytes));
        }
        !window.chosen.is_empty() || self.lanes.is_due()
    }

    /// Takes what is next out of the order, if there is room for it.
    #[inline(always)]
    fn pop(&mut self) -> Option<Popped<Key>> {
        let (in_flight, put_off) = (&self.in_flight, &self.put_off);
        let admit = |class, bytes| match in_flight.admit(class, bytes) {
            Admit::Take if put_off.has(class) => Admit::ClassFull,
            admit => admit,
        };
        let popped = self.order.pop(self.now_ns, admit)?;
        let record = self.records.get_mut(popped.value);
        let record = record.expect("what is queued is held");
        record.ticket = None;
        self.engine_only -= usize::from(record.is_engine_only());
        Some(popped)
    }

    /// Takes what is next for a lane whose `read` has just ended, without the engine, and says
    /// whether there is anything. Not where that is for the engine to choose: it plans requests
    /// together, calls allocators, and runs after those who have been told something and may ask
    /// for what is more important.
    #[inline(always)]
    pub(super) fn take_next(&mut self, read: &mut Read, out: &mut Outbox) -> bool {
        self.follow_up(out);
        let apart = self.engine_only == 0 && self.put_off.is_empty();
        if !apart || !self.is_open() || out.tells_anybody() {
            return false;
        }
        while let Some(popped) = self.pop() {
            if !self.park(popped.value) {
                return self.read_next(popped.value, read, out);
            }
        }
        false
    }

    /// Says whether the engine may find something to choose. It may be wrong about that, but not
    /// when it says no.
    #[inline]
    pub(super) fn may_choose(&self) -> bool {
        let may_go = |class: &Class| {
            self.order.len_of(*class) > 0 && self.in_flight.admit(*class, 0) == Admit::Take
        };
        !self.put_off.is_empty() || Class::ALL.iter().any(may_go)
    }

    /// Moves a request from the order to the window.
    fn take_out(&mut self, key: Key, window: &mut Window) {
        let record = self.records.get_mut(key).expect("what is queued is held");
        record.state = record::State::Chosen;
        if std::mem::take(&mut record.near) {
            let near = (record.blob.id, record.piece_pos(), key);
            self.near.remove(&near);
        }
        let to = match &record.to {
            Place::Here(_) | Place::Away => Place::Away,
            Place::Fresh(_) | Place::Allocate(_) => std::mem::replace(&mut record.to, Place::Away),
        };
        window.chosen.push(Chosen {
            key,
            len: record.len,
            to,
            error: None,
        });
    }

    fn merges(&self, key: Key) -> bool {
        let record = self.records.get(key);
        let may = self.shared_bytes < self.merge_max && self.put_off.is_empty();
        may && record.is_some_and(Record::merges)
    }

    /// Takes the neighbours of a request that a merged read could serve as well, and gives the
    /// bytes of all of them. Which of them share a read is for the plan to say.
    fn gather(
        &mut self,
        key: Key,
        class: Class,
        mut bytes: u64,
        window: &mut Window,
        window_max: usize,
    ) -> u64 {
        let Some(record) = self.records.get(key) else {
            return bytes;
        };
        let (blob, limits) = (record.blob.id, record.blob.limits);
        let align = record.blob.align();
        let pos = record.piece_pos();
        let mut span = Span::of(pos, record.piece_len(), align);
        for forwards in [true, false] {
            while window.chosen.len() < window_max {
                let next = if forwards {
                    self.near.range((blob, pos, Key::MIN)..).next()
                } else {
                    self.near.range(..(blob, pos, Key::MIN)).next_back()
                };
                let Some(&(of, at, next)) = next else { break };
                let Some(record) = self.records.get(next).filter(|_| of == blob) else {
                    break;
                };
                let len = record.piece_len();
                let other = Span::of(at, len, align);
                let joined = span.with(&other);
                let sum = bytes.saturating_add(len as u64);
                let fits = self.in_flight.admit(class, sum) == Admit::Take;
                if !span.may_join(&other, &limits) || !fits || record.has_more() {
                    break;
                }
                span = joined;
                bytes = sum;
                self.dequeue(next);
                self.take_out(next, window);
            }
        }
        bytes
    }
}

/// A range of a blob, widened to its alignment, that one read might have.
#[derive(Clone, Copy)]
struct Span {
    start: u64,
    end: u64,
    /// The bytes that are asked of it; those that are asked twice may count twice.
    asked: u64,
    /// There are blocks in it that nobody asked for.
    bridged: bool,
}

impl Span {
    fn of(pos: u64, len: usize, align: u64) -> Self {
        let end = pos.saturating_add(len as u64);
        Self {
            start: pos - pos % align,
            end: end.checked_next_multiple_of(align).unwrap_or(u64::MAX),
            asked: len as u64,
            bridged: false,
        }
    }

    fn with(&self, other: &Self) -> Self {
        Self {
            start: self.start.min(other.start),
            end: self.end.max(other.end),
            asked: self.asked.saturating_add(other.asked),
            bridged: self.bridged || self.gap(other) > 0,
        }
    }

    fn gap(&self, other: &Self) -> u64 {
        let behind = other.start.saturating_sub(self.end);
        behind.max(self.start.saturating_sub(other.end))
    }

    fn len(&self) -> u64 {
        self.end - self.start
    }

    /// Says whether the plan is likely to make one read of both.
    fn may_join(&self, other: &Self, limits: &Limits) -> bool {
        let joined = self.with(other);
        let read_max = u64::from(limits.read_max);
        let overlap = self.start < other.end && other.start < self.end;
        let len_max = if overlap {
            read_max
        } else {
            limits.span_max.min(read_max)
        };
        let permille = u128::from(limits.amplification_max.max(1000));
        let little = u128::from(joined.len()) * 1000 <= u128::from(joined.asked) * permille;
        self.gap(other) <= limits.gap_max && joined.len() <= len_max && (!joined.bridged || little)
    }
}
