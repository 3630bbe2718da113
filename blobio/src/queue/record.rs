//! The requests that a queue holds: one slab, keys that go stale.

use std::rc::Rc;
use std::task::Waker;

use slab::Slab;

use super::Class;
use super::batch::BatchState;
use super::blob::Entry;
use super::error::ReadError;
use super::handle::Finished;
use super::order;
use super::request::{Allocator, Request, To};
use crate::async_reader::Destination;
use crate::async_reader::runtime::oneshot;

/// What a queued request takes in the queue's tables, in bytes: its record, its tag, its place in
/// the order and with its deadline, and its place among its neighbours, where that is kept.
pub const RECORD_LEN: usize = size_of::<Record>()
    + size_of::<usize>()
    + size_of::<u64>()
    + order::Order::<Key>::RECORD_LEN
    + order::Order::<Key>::DEADLINE_LEN
    + 2 * size_of::<(u64, u64, Key)>()
    + size_of::<usize>();

/// The requests that the tables have room for after their first growth.
const GROWTH_MIN: usize = 64;

/// Names a request for as long as the queue holds it, and nothing after that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Key {
    slot: u32,
    serial: u32,
}

/// A request from its submission until its result is taken.
pub(super) struct Record {
    serial: u32,
    pub(super) state: State,
    pub(super) class: Class,
    pub(super) exact: bool,
    /// Not to share a read, because one that it shared has failed.
    pub(super) alone: bool,
    /// A read that it shared has failed: the piece is to be read again.
    pub(super) again: bool,
    /// Its destination counts among those that the queue has had made.
    pub(super) begun: bool,
    /// Reads under way that a part of the piece comes from.
    pub(super) parts: u16,
    /// Its place in the order, while it is `Queued`.
    pub(super) ticket: Option<order::Key>,
    pub(super) blob: Rc<Entry>,
    pub(super) pos: u64,
    pub(super) len: usize,
    /// The bytes that are read: those of the pieces before the current one.
    pub(super) done: usize,
    /// Where the blob was found to end, counted from `pos`; `usize::MAX` while it was not.
    pub(super) end: usize,
    /// Nanoseconds on the queue's clock.
    pub(super) since_ns: u64,
    pub(super) deadline_ns: Option<u64>,
    pub(super) name: Option<Box<str>>,
    /// How it ends when its destination is back: it was cancelled meanwhile, or a read failed.
    pub(super) error: Option<ReadError>,
    pub(super) to: Place,
    pub(super) target: Target,
}

/// What becomes of a request, in this order; back to `Queued` for each further piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// In the order.
    Queued,
    /// Taken out of the order because it would hold too much memory besides what does already.
    Parked,
    /// Out of the order, and about to be issued.
    Chosen,
    /// A read is under way.
    Flying,
    /// The result waits for the handle.
    Done,
}

/// Where the destination is.
pub(super) enum Place {
    /// The caller has yet to make it.
    Allocate(Allocator),
    /// Here, as it was given: still to be emptied and measured.
    Fresh(Destination),
    /// Here, with the bytes of the pieces so far.
    Here(Destination),
    /// With a read, or given back.
    Away,
}

/// Who is told.
pub(super) enum Target {
    /// A handle, and whom to wake.
    Handle(Option<Waker>),
    /// The result of a handle's request.
    Finished(Finished),
    Batch(Rc<BatchState>, u32),
    Remote(oneshot::Sender<Finished>),
    /// Nobody.
    Detached,
}

impl Key {
    /// Comes before all others.
    pub(super) const MIN: Self = Self { slot: 0, serial: 0 };
}

impl From<To> for Place {
    fn from(to: To) -> Self {
        match to {
            To::Ready(dest) => Self::Fresh(dest),
            To::Allocate(allocate) => Self::Allocate(allocate),
        }
    }
}

impl Place {
    /// Gives the destination if it is here.
    pub(super) fn take_ready(&mut self) -> Option<Destination> {
        match std::mem::replace(self, Self::Away) {
            Self::Fresh(dest) | Self::Here(dest) => Some(dest),
            Self::Away => None,
            // Code of others, dropped with the record.
            allocate @ Self::Allocate(_) => {
                *self = allocate;
                None
            }
        }
    }

    pub(super) fn is_away(&self) -> bool {
        matches!(self, Self::Away)
    }
}

impl Record {
    pub(super) fn new(request: Request, now_ns: u64, target: Target) -> Self {
        let options = request.options;
        Self {
            serial: 0,
            state: State::Queued,
            class: options.class,
            exact: options.exact,
            alone: false,
            again: false,
            begun: false,
            parts: 0,
            ticket: None,
            blob: request.blob.entry,
            pos: options.pos,
            len: options.len,
            done: 0,
            end: usize::MAX,
            since_ns: now_ns,
            deadline_ns: None,
            name: options.name,
            error: None,
            to: request.to.into(),
            target,
        }
    }

    /// Says whether it may share a read with its neighbours.
    pub(super) fn merges(&self) -> bool {
        self.blob.merges() && !self.alone
    }

    /// Says whether only the engine may choose it, while it is queued: to take its neighbours
    /// along, or because others are to make its destination.
    pub(super) fn is_engine_only(&self) -> bool {
        self.merges() || matches!(self.to, Place::Allocate(_))
    }

    /// Says whether no code of others runs when it is dropped, now that somebody else has its blob.
    pub(super) fn is_plain(&self) -> bool {
        Rc::strong_count(&self.blob) > 1
            && self.error.is_none()
            && self.to.is_away()
            && matches!(self.target, Target::Detached)
    }

    /// Gives where the next piece begins.
    pub(super) fn piece_pos(&self) -> u64 {
        self.pos.saturating_add(self.done as u64)
    }

    /// Gives the destination to a read of the next piece, which has `len` bytes.
    pub(super) fn take_piece(&mut self, len: usize) -> Option<Destination> {
        let dest = self.to.take_ready()?;
        Some(match self.done {
            0 => dest,
            done => dest.into_window(done, len),
        })
    }

    /// Says whether a read of `len` bytes that others share may go to its destination.
    pub(super) fn can_host(&self, len: usize) -> bool {
        let readable = match &self.to {
            Place::Here(dest) => !matches!(dest, Destination::Region(_)),
            _ => false,
        };
        readable && self.parts == 1 && self.piece_len() == len
    }

    /// Says whether there is another piece after the next, if the blob does not end before.
    pub(super) fn has_more(&self) -> bool {
        self.done + self.piece_len() < self.len
    }

    /// Gives the length of the next piece: at most the longest read of the blob, ending at a
    /// multiple of its alignment if another one follows.
    pub(super) fn piece_len(&self) -> usize {
        let read_max = self.blob.read_max;
        let at = self.piece_pos();
        let rest = self.len - self.done;
        let rest = rest.min(usize::try_from(u64::MAX - at).unwrap_or(usize::MAX));
        if rest <= read_max {
            return rest;
        }
        let end = at + read_max as u64;
        let aligned = end - end % self.blob.align();
        usize::try_from(aligned.saturating_sub(at))
            .ok()
            .filter(|len| *len > 0)
            .unwrap_or(read_max)
    }
}

/// The records, by key.
pub(super) struct Records {
    slots: Slab<Record>,
    /// The tags, by slot: apart, so that looking through all of them touches little memory.
    tags: Vec<u64>,
    serial: u32,
    /// How many there usually are at most: the tables do not grow past it by doubling.
    usual_max: usize,
}

impl Records {
    pub(super) fn new(usual_max: usize) -> Self {
        Self {
            slots: Slab::new(),
            tags: Vec::new(),
            serial: 0,
            usual_max,
        }
    }

    fn grow(&mut self) {
        let len = self.slots.len();
        if len < self.slots.capacity() || len >= self.usual_max {
            return;
        }
        let more = len.clamp(GROWTH_MIN, self.usual_max.max(GROWTH_MIN));
        let more = more.min(self.usual_max - len);
        self.slots.reserve_exact(more);
        self.tags.reserve_exact(more);
    }

    pub(super) fn insert(&mut self, tag: u64, mut record: Record) -> Key {
        self.serial = self.serial.wrapping_add(1);
        record.serial = self.serial;
        self.grow();
        let slot = self.slots.insert(record);
        if self.tags.len() <= slot {
            self.tags.resize(slot + 1, 0);
        }
        self.tags[slot] = tag;
        Key {
            slot: u32::try_from(slot).expect("a queue holds fewer than 2^32 requests"),
            serial: self.serial,
        }
    }

    pub(super) fn get(&self, key: Key) -> Option<&Record> {
        let record = self.slots.get(key.slot as usize)?;
        (record.serial == key.serial).then_some(record)
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut Record> {
        let record = self.slots.get_mut(key.slot as usize)?;
        (record.serial == key.serial).then_some(record)
    }

    /// Drops a record where it is.
    pub(super) fn discard(&mut self, key: Key) {
        if self.get(key).is_some() {
            drop(self.slots.remove(key.slot as usize));
        }
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<Record> {
        self.get(key)?;
        Some(self.slots.remove(key.slot as usize))
    }

    pub(super) fn tag(&self, key: Key) -> u64 {
        self.tags[key.slot as usize]
    }

    /// Gives the records whose tag has the bits of `value` where `mask` has ones.
    pub(super) fn tagged(&self, mask: u64, value: u64) -> impl Iterator<Item = (Key, &Record)> {
        let wanted = value & mask;
        let slots = self.tags.iter().enumerate();
        slots
            .filter(move |(_, tag)| **tag & mask == wanted)
            .filter_map(|(slot, _)| Some(self.entry(slot, self.slots.get(slot)?)))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Key, &Record)> {
        self.slots
            .iter()
            .map(|(slot, record)| self.entry(slot, record))
    }

    fn entry<'a>(&self, slot: usize, record: &'a Record) -> (Key, &'a Record) {
        let slot = u32::try_from(slot).expect("a queue holds fewer than 2^32 requests");
        let key = Key {
            slot,
            serial: record.serial,
        };
        (key, record)
    }
}
