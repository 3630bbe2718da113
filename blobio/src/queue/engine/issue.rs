//! What was chosen becomes reads.

use std::rc::Rc;

use super::choose::{Chosen, Window};
use super::{Phase, State};
use crate::async_reader::Destination;
use crate::async_reader::runtime::AlignedBuf;
use crate::plan::{self, Part, Plan, Want, by_blob};
use crate::queue::Class;
use crate::queue::blob::Entry;
use crate::queue::error::ReadError;
use crate::queue::limits::Flight;
use crate::queue::order::Admit;
use crate::queue::outbox::Outbox;
use crate::queue::record::{self, Key, Place};

/// The most buffers that are kept for shared reads.
const SPARE_MAX: usize = 16;
/// The smallest buffer for a shared read.
const SHARED_LEN_MIN: usize = 4096;

/// One read of a blob, and whom it serves.
pub(super) struct Read {
    pub(super) blob: Rc<Entry>,
    pub(super) pos: u64,
    pub(super) len: usize,
    pub(super) class: Class,
    /// The bytes of the requests that it is for.
    pub(super) bytes: u64,
    pub(super) flight: Option<Flight>,
    pub(super) served: Served,
    /// What it fills, until a lane takes it.
    pub(super) to: Option<Destination>,
}

/// Whom a read serves.
pub(super) enum Served {
    /// One request, whose destination it fills.
    One(Key),
    /// Several. It fills the destination of `host`, or memory of the queue's own that counts as
    /// `shared` bytes, and each part is copied from there.
    Many {
        host: Option<Key>,
        shared: u64,
        parts: Vec<(Key, Part)>,
    },
}

impl State {
    /// Issues reads for what was chosen, as far as there is room.
    pub(super) fn issue(&mut self, window: &mut Window, out: &mut Outbox) {
        self.end_flights(window);
        window.wants.clear();
        for index in 0..window.chosen.len() {
            if let Some(want) = self.want(&mut window.chosen[index], index, out) {
                window.wants.push(want);
            }
        }
        let Window {
            chosen,
            wants,
            plan,
            reads,
            ..
        } = window;
        for group in by_blob(wants) {
            match group {
                [(_, want)] => reads.extend(self.read_alone(chosen, want)),
                _ => self.read_together(chosen, group, plan, reads),
            }
        }
        window.chosen.clear();
        window.reads.sort_by_key(|read| read.class.index());
        let mut is_full = false;
        for read in window.reads.drain(..) {
            let room = self.in_flight.admit(read.class, read.bytes);
            is_full |= room == Admit::Full;
            if room == Admit::Take && !is_full && !self.put_off.has(read.class) {
                self.launch(read, out);
            } else {
                self.put_off.push(read);
            }
        }
    }

    /// What was chosen does not count as in flight any more.
    pub(super) fn end_flights(&mut self, window: &mut Window) {
        for flight in window.flights.drain(..) {
            self.in_flight.finish(flight);
        }
    }

    /// Gives the range that is to be read for a request; none when it ends here.
    fn want(&mut self, chosen: &mut Chosen, index: usize, out: &mut Outbox) -> Option<(u64, Want)> {
        let key = chosen.key;
        let shut = self.phase != Phase::Open;
        let record = self.records.get_mut(key)?;
        if let Place::Here(dest) = std::mem::replace(&mut chosen.to, Place::Away) {
            record.to = Place::Here(dest);
        }
        // What ended it before the allocator failed is why it ends.
        if let Some(error) = chosen.error.take() {
            out.drop_error(record.fail(error));
        }
        let error = record.error.take().map(|error| *error);
        let error = error.or(shut.then_some(ReadError::ShutDown));
        if let Some(error) = error {
            self.finish(key, Err(error), out);
            return None;
        }
        let (pos, len) = (record.piece_pos(), record.piece_len());
        let want = u32::try_from(index)
            .ok()
            .and_then(|id| Want::new(id, pos, len));
        if len == 0 || want.is_none() {
            let total = record.done;
            self.conclude(key, total, out);
            return None;
        }
        Some((record.blob.id, want?))
    }

    fn read_alone(&mut self, chosen: &[Chosen], want: &Want) -> Option<Read> {
        let key = key_of(chosen, want.id())?;
        let record = self.records.get_mut(key)?;
        let to = record.take_piece(want.len())?;
        record.state = record::State::Flying;
        record.parts = 1;
        Some(Read {
            blob: Rc::clone(&record.blob),
            pos: want.pos(),
            len: want.len(),
            class: record.class,
            bytes: want.len() as u64,
            flight: None,
            served: Served::One(key),
            to: Some(to),
        })
    }

    /// Makes `read`, which has ended, that of a request that was taken out of the order, as one in
    /// flight. Says whether there is one: the request may end here.
    #[inline(always)]
    pub(super) fn read_next(&mut self, key: Key, read: &mut Read, out: &mut Outbox) -> bool {
        let Some(record) = self.records.get_mut(key) else {
            return false;
        };
        let (pos, len) = (record.piece_pos(), record.piece_len());
        if let Place::Fresh(dest) = &mut record.to
            && let Err(error) = dest.reserve(record.len)
        {
            self.finish(key, Err(ReadError::io(error)), out);
            return false;
        }
        if len == 0 {
            let total = record.done;
            self.conclude(key, total, out);
            return false;
        }
        read.to = record.take_piece(len);
        record.state = record::State::Flying;
        record.parts = 1;
        if !Rc::ptr_eq(&read.blob, &record.blob) {
            out.drop_blob(std::mem::replace(&mut read.blob, Rc::clone(&record.blob)));
        }
        read.pos = pos;
        read.len = len;
        read.class = record.class;
        read.bytes = len as u64;
        read.flight = Some(self.in_flight.start(read.class, read.bytes));
        read.served = Served::One(key);
        true
    }

    /// Plans the reads of one blob.
    fn read_together(
        &mut self,
        chosen: &[Chosen],
        group: &[(u64, Want)],
        plan: &mut Plan,
        reads: &mut Vec<Read>,
    ) {
        let Some(blob) = self.blob_of(chosen, group) else {
            return;
        };
        let room = self.merge_max.saturating_sub(self.shared_bytes);
        let asked: u64 = group.iter().map(|(_, want)| want.len() as u64).sum();
        let mut is_there = [false; 2];
        for (_, want) in group {
            match self.merges_want(chosen, want) {
                Some(merges) if asked <= room => is_there[usize::from(merges)] = true,
                _ => reads.extend(self.read_alone(chosen, want)),
            }
        }
        // Those that share a read only where they overlap, and those that merge.
        for merges in [false, true] {
            if is_there[usize::from(merges)] {
                let wants = group.iter().map(|(_, want)| *want);
                let wants = wants.filter(|want| self.merges_want(chosen, want) == Some(merges));
                plan::plan(wants, &blob.limits, merges, plan);
                self.read_planned(chosen, group, &blob, plan, reads);
            }
        }
    }

    /// Makes the reads of a plan.
    fn read_planned(
        &mut self,
        chosen: &[Chosen],
        group: &[(u64, Want)],
        blob: &Rc<Entry>,
        plan: &Plan,
        reads: &mut Vec<Read>,
    ) {
        for index in 0..plan.reads().len() {
            let read = plan.reads()[index];
            let parts = plan.parts(&read);
            if let [part] = parts
                && let Some((_, want)) = group.iter().find(|(_, want)| want.id() == part.want)
                && want.len() == part.len
            {
                reads.extend(self.read_alone(chosen, want));
                continue;
            }
            reads.extend(self.read_shared(chosen, blob, &read, parts));
        }
    }

    fn blob_of(&self, chosen: &[Chosen], group: &[(u64, Want)]) -> Option<Rc<Entry>> {
        let (_, want) = group.first()?;
        let key = key_of(chosen, want.id())?;
        Some(Rc::clone(&self.records.get(key)?.blob))
    }

    /// Says whether a request merges with its neighbours; none if it is to be read alone.
    fn merges_want(&self, chosen: &[Chosen], want: &Want) -> Option<bool> {
        let record = self.records.get(key_of(chosen, want.id())?)?;
        (!record.alone).then(|| record.merges())
    }

    /// Makes a read that serves several requests, or a part of one.
    fn read_shared(
        &mut self,
        chosen: &[Chosen],
        blob: &Rc<Entry>,
        read: &plan::Read,
        parts: &[Part],
    ) -> Option<Read> {
        let mut served = Vec::with_capacity(parts.len());
        let (mut class, mut bytes, mut host) = (Class::Low, 0, None);
        for part in parts {
            let Some(key) = key_of(chosen, part.want) else {
                continue;
            };
            let Some(record) = self.records.get_mut(key) else {
                continue;
            };
            record.state = record::State::Flying;
            record.parts += 1;
            class = class.max(record.class);
            bytes += part.len as u64;
            if host.is_none() && part.len == read.len && record.can_host(read.len) {
                host = Some(key);
            }
            served.push((key, *part));
        }
        self.counters.totals.merged += parts.len() as u64;
        let lent = host.and_then(|key| self.records.get_mut(key)?.take_piece(read.len));
        let (to, host) = match lent {
            Some(dest) => (dest, host),
            None => (self.shared_buffer(read.len, blob.align()), None),
        };
        let shared = if host.is_none() {
            to.capacity() as u64
        } else {
            0
        };
        self.shared_bytes += shared;
        Some(Read {
            blob: Rc::clone(blob),
            pos: read.pos,
            len: read.len,
            class,
            bytes,
            flight: None,
            served: Served::Many {
                host,
                shared,
                parts: served,
            },
            to: Some(to),
        })
    }

    /// Gives memory for a shared read.
    fn shared_buffer(&mut self, len: usize, align: u64) -> Destination {
        let align = usize::try_from(align).unwrap_or(1);
        let fits = |spare: &Destination| match spare {
            Destination::Aligned(buf) => buf.capacity() >= len && buf.align() >= align,
            _ => false,
        };
        if let Some(index) = self.spare.iter().position(fits) {
            return self.spare.swap_remove(index);
        }
        let len = len.checked_next_power_of_two().unwrap_or(len);
        AlignedBuf::new(len.max(SHARED_LEN_MIN), align.max(SHARED_LEN_MIN)).into()
    }

    /// Takes memory for shared reads back, and forgets what is in it.
    pub(super) fn keep_buffer(&mut self, mut buffer: Destination, out: &mut Outbox) {
        self.shared_bytes -= buffer.capacity() as u64;
        let spare: usize = self.spare.iter().map(Destination::capacity).sum();
        let kept = spare as u64 + self.shared_bytes + buffer.capacity() as u64;
        if self.spare.len() < SPARE_MAX && kept <= self.merge_max {
            buffer.truncate(0);
            self.spare.push(buffer);
        } else {
            out.drop_destination(Some(buffer));
        }
    }

    /// Gives a read to a lane.
    pub(super) fn launch(&mut self, mut read: Read, out: &mut Outbox) {
        read.flight = Some(self.in_flight.start(read.class, read.bytes));
        self.lanes.launch(read, out);
    }
}

fn key_of(chosen: &[Chosen], index: u32) -> Option<Key> {
    let chosen = chosen.get(usize::try_from(index).ok()?)?;
    Some(chosen.key)
}
