//! How requests come and how they end.

use std::rc::Rc;
use std::task::{Poll, Waker};

use super::choose::Window;
use super::parked::Turn;
use super::{Phase, State};
use crate::queue::Class;
use crate::queue::batch::BatchState;
use crate::queue::error::ReadError;
use crate::queue::handle::Finished;
use crate::queue::line::{Rest, Ticket, Waiting};
use crate::queue::outbox::Outbox;
use crate::queue::record::{self, Key, Place, Record, Target};
use crate::queue::request::Request;

impl State {
    /// Takes a request, for which there is a place.
    #[inline(always)]
    pub(in crate::queue) fn take_in(&mut self, request: Request, target: Target) -> Key {
        let class = request.options.class;
        let deadline = request.options.deadline;
        let arrivals = &request.blob.entry.arrivals;
        let (pos, len) = (request.options.pos, request.options.len);
        arrivals.set(arrivals.get().then(pos, len));
        let key = self.records.insert(request, self.now_ns, target);
        if let Some(at) = deadline {
            let deadline_ns = self.ns_at(at);
            let record = self.records.get_mut(key);
            record
                .expect("it was put there above")
                .set_deadline_ns(Some(deadline_ns));
        }
        self.held += 1;
        self.counters.submitted(class, self.held);
        self.enqueue(key);
        key
    }

    /// Puts a request, or the next piece of it, into the order.
    #[inline]
    pub(super) fn enqueue(&mut self, key: Key) {
        self.enqueue_as(key, false);
    }

    /// Puts a request back into the order that was taken out, ahead of those of its class.
    pub(super) fn enqueue_again(&mut self, key: Key) {
        self.enqueue_as(key, true);
    }

    #[inline(always)]
    fn enqueue_as(&mut self, key: Key, again: bool) {
        let record = self.records.get_mut(key).expect("the request is held");
        let bytes = record.piece_len() as u64;
        let (class, deadline_ns) = (record.class, record.deadline_ns());
        let pushed = if again {
            let since_ns = record.since_ns;
            self.order
                .push_again(key, class, bytes, deadline_ns, since_ns)
        } else {
            self.order.push(key, class, bytes, deadline_ns, self.now_ns)
        };
        let ticket =
            pushed.unwrap_or_else(|_| unreachable!("the order has a place for each request"));
        record.state = record::State::Queued;
        record.ticket = Some(ticket);
        record.near = record.merges();
        self.engine_only += usize::from(record.is_engine_only());
        if record.near {
            let near = (record.blob.id, record.piece_pos(), key);
            self.near.insert(near);
        }
        self.due = true;
    }

    /// Takes a request out of wherever it waits.
    pub(super) fn dequeue(&mut self, key: Key) {
        let Some(record) = self.records.get_mut(key) else {
            return;
        };
        match record.state {
            record::State::Queued => {
                if let Some(ticket) = record.ticket.take() {
                    self.order.remove(ticket);
                }
                self.engine_only -= usize::from(record.is_engine_only());
                if std::mem::take(&mut record.near) {
                    let near = (record.blob.id, record.piece_pos(), key);
                    self.near.remove(&near);
                }
            }
            record::State::Parked => {
                self.parked.remove(&Turn::of(key, record));
            }
            _ => {}
        }
    }

    /// Ends a request that nothing writes for any more.
    pub(super) fn finish(&mut self, key: Key, result: Result<usize, ReadError>, out: &mut Outbox) {
        let Some(record) = self.records.get_mut(key) else {
            return;
        };
        let destination = record.to.take_ready();
        let finished = Finished {
            result,
            destination,
        };
        self.finish_as(key, finished, out);
    }

    /// Ends a request whose destination is not with its record any more.
    #[inline(always)]
    pub(super) fn finish_as(&mut self, key: Key, finished: Finished, out: &mut Outbox) {
        let tag = self.records.tag(key);
        let Some(record) = self.records.get_mut(key) else {
            return out.drop_finished(finished);
        };
        record.state = record::State::Done;
        let begun = std::mem::take(&mut record.begun);
        let given_back = if begun { record.len as u64 } else { 0 };
        // What was added may have been cut.
        self.begun_bytes = self.begun_bytes.saturating_sub(given_back);
        self.counters
            .ended(record, tag, &finished.result, self.now_ns);
        match std::mem::replace(&mut record.target, Target::Detached) {
            Target::Handle(waker) => {
                record.target = Target::Finished(finished.result);
                if let Some(to) = finished.destination {
                    record.to = Place::Here(to);
                }
                out.wake_all(waker);
            }
            Target::Batch(batch, index) => {
                if batch.put(index, finished, out) {
                    self.to_cancel.push(batch);
                } else {
                    out.drop_batch(batch);
                }
                self.forget(key, out);
            }
            Target::Remote(reply) => {
                out.reply(reply, finished);
                self.forget(key, out);
            }
            Target::Finished(_) | Target::Detached => {
                out.drop_finished(finished);
                self.forget(key, out);
            }
        }
        self.held -= 1;
        self.line.give_back();
        if !self.parked.is_empty() {
            self.unpark();
        }
    }

    #[inline(always)]
    fn forget(&mut self, key: Key, out: &mut Outbox) {
        if self.records.get(key).is_some_and(Record::is_plain) {
            self.records.discard(key);
        } else if let Some(record) = self.records.remove(key) {
            out.drop_record(record);
        }
    }

    /// Cancels a request: now if nothing writes its destination, and when it is back otherwise.
    pub(in crate::queue) fn cancel(&mut self, key: Key, out: &mut Outbox) {
        self.end_early(key, &ReadError::Cancelled, out);
    }

    fn end_early(&mut self, key: Key, error: &ReadError, out: &mut Outbox) {
        let Some(record) = self.records.get_mut(key) else {
            return;
        };
        match record.state {
            record::State::Queued | record::State::Parked => self.dequeue(key),
            // The engine has it, unless that is gone.
            record::State::Chosen if self.phase != Phase::Dead => {
                return Self::end_later(record, error, out);
            }
            record::State::Flying if record.to.is_away() => {
                return Self::end_later(record, error, out);
            }
            record::State::Chosen | record::State::Flying => {}
            record::State::Done => return,
        }
        self.finish(key, Err(error.clone()), out);
    }

    /// Has a request end when its destination is back.
    fn end_later(record: &mut Record, error: &ReadError, out: &mut Outbox) {
        let before = record.error.replace(Box::new(error.clone()));
        out.drop_error(before.map(|error| *error));
    }

    pub(in crate::queue) fn cancel_batch(&mut self, batch: &Rc<BatchState>, out: &mut Outbox) {
        let rests = self.line.rests_mut();
        let rests = rests.filter(|(_, rest)| Rc::ptr_eq(&rest.batch, batch));
        let tickets: Vec<Ticket> = rests.map(|(ticket, _)| ticket).collect();
        for ticket in tickets {
            if let Some(Waiting::Batch(rest)) = self.line.remove(ticket) {
                self.refuse(*rest, &ReadError::Cancelled, out);
            }
        }
        for key in batch.pending() {
            self.cancel(key, out);
        }
    }

    /// Cancels by tag; says how many requests were not done.
    pub(in crate::queue) fn cancel_tagged(
        &mut self,
        mask: u64,
        value: u64,
        out: &mut Outbox,
    ) -> usize {
        let tagged = self.records.tagged(mask, value);
        let live = tagged.filter(|(_, record)| record.state != record::State::Done);
        let keys: Vec<Key> = live.map(|(key, _)| key).collect();
        let mut refused = Vec::new();
        for (_, rest) in self.line.rests_mut() {
            let (requests, kept) = std::mem::take(&mut rest.requests)
                .into_iter()
                .partition(|(_, request)| request.options.tag & mask == value & mask);
            rest.requests = kept;
            refused.push(Rest {
                batch: Rc::clone(&rest.batch),
                requests,
            });
        }
        let mut count = keys.len();
        for key in keys {
            self.cancel(key, out);
        }
        for rest in refused {
            count += rest.requests.len();
            self.refuse(rest, &ReadError::Cancelled, out);
        }
        count
    }

    /// Ends requests of a batch that were never taken.
    fn refuse(&mut self, rest: Rest, error: &ReadError, out: &mut Outbox) {
        for (index, mut request) in rest.requests {
            let destination = request.take_destination();
            out.drop_request(request);
            let finished = Finished::failed(error.clone(), destination);
            if rest.batch.put(index, finished, out) {
                self.to_cancel.push(Rc::clone(&rest.batch));
            }
        }
        out.drop_batch(rest.batch);
    }

    /// Gives free places to those who wait.
    pub(super) fn admit(&mut self, out: &mut Outbox) {
        while self.line.is_free() {
            let Some((ticket, waiting)) = self.line.first() else {
                return;
            };
            if matches!(waiting, Waiting::Task(_)) {
                if let Some(Waiting::Task(waker)) = self.line.remove(ticket) {
                    self.line.take_as_first();
                    out.wake_all(Some(waker));
                }
                continue;
            }
            let Some((batch, index, request)) = self.line.next_of_rest(ticket) else {
                if let Some(Waiting::Batch(rest)) = self.line.remove(ticket) {
                    out.drop_batch(rest.batch);
                }
                continue;
            };
            self.line.take_as_first();
            self.take_in_of_batch(&batch, index, request);
        }
    }

    /// Takes a request of a batch, for which there is a place.
    #[inline]
    pub(in crate::queue) fn take_in_of_batch(
        &mut self,
        batch: &Rc<BatchState>,
        index: u32,
        request: Request,
    ) {
        let key = self.take_in(request, Target::Batch(Rc::clone(batch), index));
        batch.set_key(index, key);
    }

    /// Says whether a request in flight is to end without its bytes.
    pub(super) fn is_unwanted(&self, key: Key) -> bool {
        let record = self.records.get(key);
        record.is_none_or(|record| record.error.is_some())
    }

    pub(in crate::queue) fn is_done(&self, key: Key) -> bool {
        let record = self.records.get(key);
        record.is_none_or(|record| record.state == record::State::Done)
    }

    /// Gives the result of a handle's request, or leaves `waker` to be woken for it.
    pub(in crate::queue) fn take_result(
        &mut self,
        key: Key,
        waker: Waker,
        out: &mut Outbox,
    ) -> Option<Finished> {
        let record = self.records.get_mut(key)?;
        match &mut record.target {
            Target::Handle(place) => {
                out.drop_waker(place.replace(waker));
                None
            }
            Target::Finished(_) => {
                let target = std::mem::replace(&mut record.target, Target::Detached);
                let destination = record.to.take_ready();
                out.drop_waker(Some(waker));
                self.forget(key, out);
                match target {
                    Target::Finished(result) => Some(Finished {
                        result,
                        destination,
                    }),
                    _ => None,
                }
            }
            _ => unreachable!("a request with a handle tells its handle"),
        }
    }

    /// Lets go of a handle's request.
    pub(in crate::queue) fn detach(&mut self, key: Key, out: &mut Outbox) {
        let Some(record) = self.records.get_mut(key) else {
            return;
        };
        if record.state == record::State::Done {
            return self.forget(key, out);
        }
        if let Target::Handle(waker) = std::mem::replace(&mut record.target, Target::Detached) {
            out.drop_waker(waker);
        }
    }

    pub(super) fn set_class(&mut self, key: Key, class: Class) -> bool {
        let Some(record) = self.records.get_mut(key) else {
            return false;
        };
        let waits = match record.state {
            record::State::Queued => record
                .ticket
                .is_some_and(|ticket| self.order.set_class(ticket, class, self.now_ns)),
            record::State::Parked => true,
            // The pieces that are left will go by it.
            record::State::Chosen | record::State::Flying => record.has_more(),
            record::State::Done => false,
        };
        if waits {
            let turn = Turn::of(key, record);
            self.counters.moved(record.class, class);
            record.class = class;
            self.parked.change(&turn, Turn::of(key, record));
            self.unpark();
            self.due = true;
        }
        waits
    }

    pub(super) fn set_deadline(&mut self, key: Key, deadline_ns: Option<u64>) -> bool {
        let Some(record) = self.records.get_mut(key) else {
            return false;
        };
        let waits = match record.state {
            record::State::Queued => record
                .ticket
                .is_some_and(|ticket| self.order.set_deadline(ticket, deadline_ns)),
            record::State::Parked => true,
            record::State::Chosen | record::State::Flying => record.has_more(),
            record::State::Done => false,
        };
        if waits {
            let turn = Turn::of(key, record);
            record.set_deadline_ns(deadline_ns);
            self.parked.change(&turn, Turn::of(key, record));
            self.unpark();
            self.due = true;
        }
        waits
    }

    /// Takes no more requests, and ends those that the kernel does not have.
    pub(in crate::queue) fn shut_down(&mut self, out: &mut Outbox) {
        if self.is_open() {
            self.phase = Phase::ShutDown;
            self.end_all(&ReadError::ShutDown, out);
        }
    }

    /// The tasks of the queue are gone, or about to be.
    pub(super) fn die(&mut self, window: &mut Window, out: &mut Outbox) {
        if self.phase == Phase::Dead {
            return;
        }
        self.phase = Phase::Dead;
        self.end_flights(window);
        self.end_all(&ReadError::WorkerGone, out);
        for read in self.put_off.take_all() {
            self.lose(read, out);
        }
        while let Some(read) = self.lanes.take_ready() {
            self.lose(read, out);
        }
        self.lanes.end(out);
    }

    fn end_all(&mut self, error: &ReadError, out: &mut Outbox) {
        for waiting in self.line.take_all() {
            match waiting {
                Waiting::Task(waker) => out.wake_all(Some(waker)),
                Waiting::Batch(rest) => self.refuse(*rest, error, out),
            }
        }
        let live = self.records.iter();
        let live = live.filter(|(_, record)| {
            matches!(
                record.state,
                record::State::Queued | record::State::Parked | record::State::Chosen
            )
        });
        let keys: Vec<Key> = live.map(|(key, _)| key).collect();
        for key in keys {
            self.end_early(key, error, out);
        }
    }

    /// Takes a place if one is free and nobody waits, or gets into the line.
    pub(in crate::queue) fn poll_place(
        &mut self,
        ticket: &mut Option<Ticket>,
        waker: Waker,
        out: &mut Outbox,
    ) -> Poll<bool> {
        if !self.is_open() {
            out.drop_waker(Some(waker));
            return Poll::Ready(false);
        }
        let Some(ticket) = *ticket else {
            if self.line.try_take() {
                out.drop_waker(Some(waker));
                return Poll::Ready(true);
            }
            let new = self.line.new_ticket();
            *ticket = Some(new);
            self.wait_for_places(new, Waiting::Task(waker));
            return Poll::Pending;
        };
        match self.line.replace_waker(ticket, waker) {
            Ok(old) => {
                out.drop_waker(Some(old));
                Poll::Pending
            }
            Err(waker) => {
                out.drop_waker(Some(waker));
                Poll::Ready(true)
            }
        }
    }

    /// Leaves the line, or gives a place back that was not used.
    pub(in crate::queue) fn give_up_place(&mut self, ticket: Option<Ticket>, out: &mut Outbox) {
        match ticket.and_then(|ticket| self.line.remove(ticket)) {
            Some(Waiting::Task(waker)) => out.drop_waker(Some(waker)),
            _ => self.line.give_back(),
        }
    }

    /// Gets into the line, where whoever has `ticket` was, or last for 0.
    pub(in crate::queue) fn wait_for_places(&mut self, ticket: Ticket, waiting: Waiting) {
        let ticket = match ticket {
            0 => self.line.new_ticket(),
            ticket => ticket,
        };
        self.line.insert(ticket, waiting);
        let totals = &mut self.counters.totals;
        totals.waiting_max = totals.waiting_max.max(self.line.len());
    }
}
