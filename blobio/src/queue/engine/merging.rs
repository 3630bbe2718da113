//! Merging of reads that nobody reads ahead: short ones, scattered over a blob that is not cached.
//!
//! Whether that is so is learnt from the requests and their reads (`submit.rs`).

use std::rc::Rc;

use super::State;
use crate::queue::blob::Entry;
use crate::queue::record;

/// Requests that are looked at for each read that has ended since the last look.
const LOOKS_PER_READ: u64 = 8;

impl State {
    /// Begins or ends merging of short reads, as what has been learnt of a blob has it.
    pub(super) fn learnt(&mut self, blob: &Rc<Entry>) {
        let (cached, scattered) = (blob.cached.get(), blob.arrivals.get().are_scattered());
        if blob.is_cold.get() {
            // What is near stays so until it is chosen: alone, as `merges` says no.
            blob.is_cold.set(scattered && !cached.is_warm());
        } else if scattered && cached.is_cold() && self.counters.totals.reads >= self.look_at {
            blob.is_cold.set(true);
            self.bring_near(blob);
        }
    }

    /// Puts what is queued of a blob among its neighbours.
    fn bring_near(&mut self, blob: &Rc<Entry>) {
        let mut looks = 0;
        for (key, record) in self.records.iter_mut() {
            looks += 1;
            let queued = record.state == record::State::Queued && Rc::ptr_eq(&record.blob, blob);
            if queued && !record.near && record.merges() {
                self.engine_only += usize::from(!record.is_engine_only());
                record.near = true;
                self.near.insert((blob.id, record.piece_pos(), key));
            }
        }
        self.due = true;
        self.look_at = self.counters.totals.reads + looks / LOOKS_PER_READ;
    }
}
