//! Reads that were planned together and found no room: requests that were to share one, and may not.
//!
//! They go before what comes later in their class, and in turns with what else is next: so they hold
//! up nobody for more than one read, and nobody them. Until they are gone nothing is gathered with
//! others, and so there are no more than were planned at one time.

use std::collections::VecDeque;

use super::State;
use super::issue::Read;
use crate::queue::Class;
use crate::queue::order::Admit;
use crate::queue::outbox::Outbox;

/// The reads by class, in the order in which they go.
#[derive(Default)]
pub(super) struct PutOff {
    by_class: [VecDeque<Read>; Class::ALL.len()],
    len: usize,
    /// Something else went after the last of these.
    is_next: bool,
}

impl PutOff {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Says whether others of a class have to wait.
    #[inline]
    pub(super) fn has(&self, class: Class) -> bool {
        self.len > 0 && !self.by_class[class.index()].is_empty()
    }

    /// Notes that something else goes.
    #[inline]
    pub(super) fn pass(&mut self) {
        self.is_next = self.len > 0;
    }

    pub(super) fn push(&mut self, read: Read) {
        self.by_class[read.class.index()].push_back(read);
        self.len += 1;
    }

    /// Takes the first for which there is room: of the highest class whose own is left.
    fn take(&mut self, admit: impl Fn(Class, u64) -> Admit) -> Option<Read> {
        for line in &mut self.by_class {
            let Some(read) = line.front() else { continue };
            match admit(read.class, read.bytes) {
                Admit::Take => {
                    self.len -= 1;
                    return line.pop_front();
                }
                Admit::ClassFull => {}
                Admit::Full => return None,
            }
        }
        None
    }

    pub(super) fn take_all(&mut self) -> Vec<Read> {
        self.len = 0;
        let lines = self.by_class.iter_mut();
        lines.flat_map(|line| line.drain(..)).collect()
    }
}

impl State {
    /// Launches the first of these that there is room for; says whether there was one.
    pub(super) fn launch_put_off(&mut self, out: &mut Outbox) -> bool {
        let in_flight = &self.in_flight;
        let read = self
            .put_off
            .take(|class, bytes| in_flight.admit(class, bytes));
        let is_there = read.is_some();
        if let Some(read) = read {
            self.launch(read, out);
        }
        is_there
    }

    /// Launches one of these if it is their turn; says whether it did.
    #[inline]
    pub(super) fn launch_in_turn(&mut self, out: &mut Outbox) -> bool {
        let is_launched = self.put_off.is_next && self.launch_put_off(out);
        self.put_off.is_next &= !is_launched;
        is_launched
    }
}
