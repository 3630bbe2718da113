//! The requests that a queue holds: one slab, keys that go stale.

use std::io;
use std::rc::Rc;
use std::task::Waker;

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
/// the order and with its deadline, and its place among its neighbours or among those that wait for
/// memory, where that is kept.
pub const RECORD_LEN: usize = size_of::<Slot>()
    + size_of::<u64>()
    + order::Order::<Key>::RECORD_LEN
    + order::Order::<Key>::DEADLINE_LEN
    + 2 * TREE_LEN
    + size_of::<usize>();

/// What its place among others takes in trees, whose nodes may be half full.
pub(super) const TREE_LEN: usize = 2 * size_of::<(u64, u64, Key)>();

/// No deadline.
const NEVER: u64 = u64::MAX;
/// No slot.
const NONE: u32 = u32::MAX;

/// The requests that the tables have room for after their first growth.
const GROWTH_MIN: usize = 64;

/// Names a request for as long as the queue holds it, and nothing after that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Key {
    // First, so that keys are in order of arrival, unless it has wrapped around.
    serial: u32,
    slot: u32,
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
    /// It is among those whose neighbours are looked for; only while it is `Queued`.
    pub(super) near: bool,
    /// Its destination counts among those that the queue has made or will.
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
    /// [`NEVER`] without one.
    deadline_ns: u64,
    pub(super) name: Option<Box<str>>,
    /// How it ends when its destination is back: it was cancelled meanwhile, or a read failed.
    pub(super) error: Option<Box<ReadError>>,
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
    /// The result of a handle's request, whose destination is where it was.
    Finished(Result<usize, ReadError>),
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
    #[inline(always)]
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
    #[inline]
    fn new(serial: u32, request: Request, now_ns: u64, target: Target) -> Self {
        let options = request.options;
        Self {
            serial,
            state: State::Queued,
            class: options.class,
            exact: options.exact,
            alone: false,
            again: false,
            near: false,
            begun: false,
            parts: 0,
            ticket: None,
            blob: request.blob.entry,
            pos: options.pos,
            len: options.len,
            done: 0,
            end: usize::MAX,
            since_ns: now_ns,
            deadline_ns: NEVER,
            name: options.name,
            error: None,
            to: request.to.into(),
            target,
        }
    }

    #[inline]
    pub(super) fn deadline_ns(&self) -> Option<u64> {
        (self.deadline_ns != NEVER).then_some(self.deadline_ns)
    }

    pub(super) fn set_deadline_ns(&mut self, deadline_ns: Option<u64>) {
        self.deadline_ns = deadline_ns.unwrap_or(NEVER);
    }

    /// Says whether it has ended after its deadline.
    #[inline]
    pub(super) fn is_late(&self, now_ns: u64) -> bool {
        now_ns > self.deadline_ns
    }

    /// Notes how it ends, and gives the error back if that is known already: dropping it may call
    /// code of others.
    #[must_use]
    pub(super) fn fail(&mut self, error: ReadError) -> Option<ReadError> {
        if self.error.is_some() {
            return Some(error);
        }
        self.error = Some(Box::new(error));
        None
    }

    /// Fails where a blob gave back another destination than it was given, or has filled less of it than
    /// the `got` bytes of the piece that it claims: the pieces that follow would find no room, or a gap.
    pub(super) fn measure(&mut self, to: &Destination, got: usize) {
        let (want, filled) = (self.done.saturating_add(got), to.filled_len());
        if !to.holds(want, self.len) {
            let room = to.capacity();
            let lie = ReadError::io(io::Error::new(
                io::ErrorKind::InvalidData,
                format!(
                    "a blob claims {want} bytes of a read of {}, and gave back a destination with {filled} \
                     bytes and room for {room}",
                    self.len
                ),
            ));
            // Its own, with no code of others in it.
            drop(self.fail(lie));
        }
    }

    /// Says whether it may share a read with its neighbours.
    pub(super) fn merges(&self) -> bool {
        self.blob.merges(self.len) && !self.alone
    }

    /// Says whether only the engine may choose it, while it is queued: to take its neighbours
    /// along, or because others are to make its destination.
    pub(super) fn is_engine_only(&self) -> bool {
        self.near || matches!(self.to, Place::Allocate(_))
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
    #[inline(always)]
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
    #[inline(always)]
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
    slots: Vec<Slot>,
    /// The tags, by slot: apart, so that looking through all of them touches little memory.
    tags: Vec<u64>,
    /// The free slot that is used next.
    free: u32,
    serial: u32,
    /// How many there usually are at most: the tables do not grow past it by doubling.
    usual_max: usize,
}

/// A place for a record. A record is made in it and dropped in it: it is not small.
enum Slot {
    /// The free slot after this one.
    Free(u32),
    Held(Record),
}

impl Records {
    pub(super) fn new(usual_max: usize) -> Self {
        Self {
            slots: Vec::new(),
            tags: Vec::new(),
            free: NONE,
            serial: 0,
            usual_max,
        }
    }

    /// Makes a slot where none is free.
    #[cold]
    fn add_slot(&mut self) {
        let len = self.slots.len();
        if len == self.slots.capacity() && len < self.usual_max {
            let more = len.clamp(GROWTH_MIN, self.usual_max.max(GROWTH_MIN));
            let more = more.min(self.usual_max - len);
            self.slots.reserve_exact(more);
            self.tags.reserve_exact(more);
        }
        self.free = u32::try_from(len).expect("a queue holds fewer than 2^32 requests");
        self.slots.push(Slot::Free(NONE));
        self.tags.push(0);
    }

    #[inline(always)]
    pub(super) fn insert(&mut self, request: Request, now_ns: u64, target: Target) -> Key {
        if self.free == NONE {
            self.add_slot();
        }
        self.serial = self.serial.wrapping_add(1);
        let key = Key {
            slot: self.free,
            serial: self.serial,
        };
        let index = key.slot as usize;
        self.tags[index] = request.options.tag;
        let slot = &mut self.slots[index];
        if let Slot::Free(next) = *slot {
            self.free = next;
        }
        *slot = Slot::Held(Record::new(key.serial, request, now_ns, target));
        key
    }

    #[inline]
    pub(super) fn get(&self, key: Key) -> Option<&Record> {
        match self.slots.get(key.slot as usize)? {
            Slot::Held(record) if record.serial == key.serial => Some(record),
            _ => None,
        }
    }

    #[inline]
    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut Record> {
        match self.slots.get_mut(key.slot as usize)? {
            Slot::Held(record) if record.serial == key.serial => Some(record),
            _ => None,
        }
    }

    /// Drops a record where it is.
    #[inline(always)]
    pub(super) fn discard(&mut self, key: Key) {
        if self.get(key).is_some() {
            let next = std::mem::replace(&mut self.free, key.slot);
            self.slots[key.slot as usize] = Slot::Free(next);
        }
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<Record> {
        self.get(key)?;
        let next = std::mem::replace(&mut self.free, key.slot);
        match std::mem::replace(&mut self.slots[key.slot as usize], Slot::Free(next)) {
            Slot::Held(record) => Some(record),
            Slot::Free(_) => None,
        }
    }

    #[inline]
    pub(super) fn tag(&self, key: Key) -> u64 {
        self.tags[key.slot as usize]
    }

    /// Gives the records whose tag has the bits of `value` where `mask` has ones.
    pub(super) fn tagged(&self, mask: u64, value: u64) -> impl Iterator<Item = (Key, &Record)> {
        let wanted = value & mask;
        let slots = (0..).zip(&self.tags);
        slots
            .filter(move |(_, tag)| **tag & mask == wanted)
            .filter_map(|(slot, _)| entry(slot, &self.slots[slot as usize]))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (Key, &mut Record)> {
        let slots = (0..).zip(&mut self.slots);
        slots.filter_map(|(slot, place)| entry_mut(slot, place))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Key, &Record)> {
        let slots = (0..).zip(&self.slots);
        slots.filter_map(|(slot, place)| entry(slot, place))
    }
}

fn entry_mut(slot: u32, place: &mut Slot) -> Option<(Key, &mut Record)> {
    let Slot::Held(record) = place else {
        return None;
    };
    let serial = record.serial;
    Some((Key { slot, serial }, record))
}

fn entry(slot: u32, place: &Slot) -> Option<(Key, &Record)> {
    let Slot::Held(record) = place else {
        return None;
    };
    let serial = record.serial;
    Some((Key { slot, serial }, record))
}
