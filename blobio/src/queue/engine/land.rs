//! What a read brought goes to its requests.

use std::io;

use super::issue::{Read, Served};
use super::{Phase, State};
use crate::async_reader::Destination;
use crate::plan::Part;
use crate::queue::error::ReadError;
use crate::queue::handle::Finished;
use crate::queue::outbox::Outbox;
use crate::queue::record::{self, Key, Place};
use crate::traits::unexpected_eof;

/// What a read brought: how many bytes or why none, and what it filled unless that was lost.
pub(super) struct Brought {
    pub(super) result: Result<usize, ReadError>,
    pub(super) to: Option<Destination>,
}

impl State {
    /// Takes what a read brought. The read is dropped later: its blob may go with it.
    pub(super) fn land(&mut self, read: &mut Read, brought: Brought, out: &mut Outbox) {
        if let Some(flight) = read.flight.take() {
            self.in_flight.finish(flight);
        }
        self.due |= !self.order.is_empty() || !self.put_off.is_empty();
        let Brought { result, to } = brought;
        // A foreign reader's count is not believed.
        let result = result.map(|len| len.min(read.len));
        self.counters.totals.reads += 1;
        self.counters.totals.bytes_read += result.as_ref().map_or(0, |len| *len as u64);
        match &read.served {
            Served::One(key) => self.land_piece(*key, read.len, result, to, out),
            Served::Many {
                host,
                shared,
                parts,
            } => self.land_shared(*host, *shared, parts, result, to, out),
        }
    }

    /// Takes what a read brought, and makes it the next read of the lane if that need not wait for
    /// the engine; says whether it did.
    pub(super) fn land_for_next(
        &mut self,
        read: &mut Read,
        brought: Brought,
        out: &mut Outbox,
    ) -> bool {
        let was_due = self.due;
        self.land(read, brought, out);
        let goes_on = self.take_next(read, out);
        if goes_on {
            self.due = was_due || self.may_choose();
        }
        goes_on
    }

    /// Ends a read that nobody will complete.
    pub(super) fn lose(&mut self, mut read: Read, out: &mut Outbox) {
        let to = read.to.take();
        let result = Err(ReadError::WorkerGone);
        self.land(&mut read, Brought { result, to }, out);
        out.drop_blob(read.blob);
    }

    #[inline(always)]
    fn land_piece(
        &mut self,
        key: Key,
        len: usize,
        result: Result<usize, ReadError>,
        to: Option<Destination>,
        out: &mut Outbox,
    ) {
        let Some(record) = self.records.get_mut(key) else {
            out.drop_error(result.err());
            return out.drop_destination(to);
        };
        if let Some(to) = to {
            let mut to = to.into_whole();
            // As most of them end: with all that was asked.
            let whole = record.done == 0 && record.parts == 1 && record.error.is_none();
            if let Ok(got) = result
                && whole
                && got == record.len
                && to.holds(got, got)
            {
                to.truncate(got);
                let finished = Finished {
                    result: Ok(got),
                    destination: Some(to),
                };
                return self.finish_as(key, finished, out);
            }
            if let Ok(got) = result {
                record.measure(&to, got);
            }
            record.to = Place::Here(to);
        }
        match result {
            Ok(got) if got < len => record.end = record.done + got,
            Ok(_) => {}
            Err(error) => out.drop_error(record.fail(error)),
        }
        record.parts -= 1;
        if record.parts == 0 {
            self.advance(key, len, out);
        }
    }

    fn land_shared(
        &mut self,
        host: Option<Key>,
        shared: u64,
        parts: &[(Key, Part)],
        result: Result<usize, ReadError>,
        to: Option<Destination>,
        out: &mut Outbox,
    ) {
        let gone = matches!(result, Err(ReadError::WorkerGone));
        let bytes = to.as_ref().map_or(&[][..], Destination::bytes);
        let is_lie = matches!(result, Ok(got) if got > bytes.len());
        self.counters.totals.parted += u64::from((result.is_err() || is_lie) && !gone);
        for (key, part) in parts {
            let Some(record) = self.records.get_mut(*key) else {
                continue;
            };
            // Who was cancelled meanwhile has its destination back.
            if record.state != record::State::Flying {
                continue;
            }
            match &result {
                Ok(got) if !is_lie => {
                    let got = *got;
                    let there = got.saturating_sub(part.read_offset).min(part.len);
                    let at = record.done + part.want_offset;
                    if there < part.len {
                        record.end = record.end.min(at + there);
                    }
                    let from = part.read_offset..part.read_offset + there;
                    if let (Place::Here(dest), Some(from)) = (&mut record.to, bytes.get(from)) {
                        dest.copy_at(at, from);
                    }
                }
                Err(error) if gone => drop(record.fail(error.clone())),
                // It may be what somebody else wants that cannot be read. Who lies is found out by
                // reads of their own.
                Ok(_) | Err(_) => record.again = true,
            }
        }
        let filled = bytes.len();
        let to = to.map(Destination::into_whole);
        match host.and_then(|key| self.records.get_mut(key)) {
            Some(record) => {
                // What a failed read gave back is read into again, behind the pieces before it.
                if let Some(to) = &to
                    && (result.is_ok() || record.done > 0)
                {
                    let got = result.as_ref().map_or(0, |got| (*got).min(filled));
                    record.measure(to, got);
                }
                record.to = to.map_or(Place::Away, Place::Here);
            }
            None if shared > 0 => self.end_shared(shared, to, out),
            None => out.drop_destination(to),
        }
        for (key, _) in parts {
            self.land_part(*key, out);
        }
        out.drop_error(result.err());
    }

    fn end_shared(&mut self, shared: u64, to: Option<Destination>, out: &mut Outbox) {
        match to {
            Some(buffer) if buffer.capacity() as u64 == shared => self.keep_buffer(buffer, out),
            // A foreign reader lost it, or gave back another one.
            to => {
                self.shared_bytes -= shared;
                out.drop_destination(to);
            }
        }
    }

    fn land_part(&mut self, key: Key, out: &mut Outbox) {
        let Some(record) = self.records.get_mut(key) else {
            return;
        };
        if record.state != record::State::Flying {
            return;
        }
        record.parts -= 1;
        if record.parts == 0 {
            let len = record.piece_len();
            self.advance(key, len, out);
        }
    }

    /// Goes on with a request whose piece of `len` bytes has been read, or has not.
    fn advance(&mut self, key: Key, len: usize, out: &mut Outbox) {
        let shut = self.phase != Phase::Open;
        let Some(record) = self.records.get_mut(key) else {
            return;
        };
        if let Some(error) = record.error.take() {
            return self.finish(key, Err(*error), out);
        }
        if record.to.is_away() {
            let lost = ReadError::Panicked("a blob, which lost the destination,");
            return self.finish(key, Err(lost), out);
        }
        if std::mem::take(&mut record.again) {
            record.alone = true;
            record.end = usize::MAX;
        } else {
            let done = record.done + len;
            if record.end < done {
                let end = record.end;
                return self.conclude(key, end, out);
            }
            let first = record.done == 0;
            record.done = done;
            if record.piece_len() == 0 {
                return self.conclude(key, done, out);
            }
            self.counters.totals.split += u64::from(first);
        }
        if shut {
            return self.finish(key, Err(ReadError::ShutDown), out);
        }
        self.enqueue(key);
    }

    /// Ends a request of which `total` bytes are there.
    pub(super) fn conclude(&mut self, key: Key, total: usize, out: &mut Outbox) {
        let Some(record) = self.records.get_mut(key) else {
            return;
        };
        if let Place::Here(dest) = &mut record.to {
            dest.truncate(total);
        }
        let result = if record.exact && total < record.len {
            let error: io::Error = unexpected_eof(record.pos, record.len as u64, total as u64);
            Err(ReadError::io(error))
        } else {
            Ok(total)
        };
        self.finish(key, result, out);
    }
}
