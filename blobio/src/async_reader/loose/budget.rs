//! How many files of a set are open, which of them may be closed, and who waits for that.
//!
//! While a read waits for a slot and none was promised to it, no file is idle: one that becomes
//! idle then is closed at once, and its slot goes to the first that waits.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::path::Path;
use std::rc::{Rc, Weak};

use corelane::fs::File;
use corelane::sync::{Notify, Permit, Semaphore};

use super::entry::{Entry, Open};
use super::{LooseFilesConfig, LooseFilesStats};

/// What share of the process's descriptors a set takes by default: a fourth.
const SHARE: usize = 4;
/// Files that may be open by default at least.
const OPEN_MIN: usize = 8;
/// The soft limit of descriptors that a process has unless told otherwise, for where it cannot be
/// asked.
const LIMIT_DEFAULT: usize = 1024;

/// Leave to have one file open.
pub(super) type Slot = Permit;

/// The files of one worker.
#[derive(Debug)]
pub(super) struct Set {
    config: LooseFilesConfig,
    files: RefCell<HashMap<Rc<Path>, Weak<Entry>>>,
    slots: Semaphore,
    /// Open files that nobody reads, the least recently used first.
    idle: RefCell<BTreeMap<u64, Weak<Entry>>>,
    /// The key of the next idle file.
    clock: Cell<u64>,
    busy: Cell<usize>,
    /// Files that are open, and not known to be what they should be yet.
    opening: Cell<usize>,
    /// Reads that wait for a slot.
    waiting: Cell<usize>,
    /// Of those, how many a file was closed for: never more than have a slot, or are about to.
    promised: Cell<usize>,
    /// Reads that have a slot and wait for the system to have a descriptor: at most one, the
    /// others wait for their turn at `open_turn`.
    refused: Cell<usize>,
    open_turn: Semaphore,
    /// A file was closed, or became idle, while a read was refused.
    descriptor_freed: Notify,
    opened_total: Cell<u64>,
    evicted_total: Cell<u64>,
    waits_total: Cell<u64>,
    refused_total: Cell<u64>,
}

impl Set {
    pub(super) fn new(config: LooseFilesConfig) -> Self {
        Self {
            config,
            files: RefCell::default(),
            slots: Semaphore::new(config.open_max),
            idle: RefCell::default(),
            clock: Cell::new(0),
            busy: Cell::new(0),
            opening: Cell::new(0),
            waiting: Cell::new(0),
            promised: Cell::new(0),
            refused: Cell::new(0),
            open_turn: Semaphore::new(1),
            descriptor_freed: Notify::new(),
            opened_total: Cell::new(0),
            evicted_total: Cell::new(0),
            waits_total: Cell::new(0),
            refused_total: Cell::new(0),
        }
    }

    pub(super) fn follows_replaced(&self) -> bool {
        self.config.follow_replaced
    }

    pub(super) fn stats(&self) -> LooseFilesStats {
        LooseFilesStats {
            open: self.busy.get() + self.opening.get() + self.idle.borrow().len(),
            open_max: self.config.open_max,
            busy: self.busy.get(),
            waiting: self.waiting.get() + self.refused.get(),
            opened: self.opened_total.get(),
            evicted: self.evicted_total.get(),
            waits: self.waits_total.get(),
            refused: self.refused_total.get(),
        }
    }

    pub(super) fn find(&self, path: &Path) -> Option<Rc<Entry>> {
        self.files.borrow().get(path).and_then(Weak::upgrade)
    }

    pub(super) fn add(&self, path: Rc<Path>, entry: &Rc<Entry>) {
        let entry = Rc::downgrade(entry);
        self.files.borrow_mut().insert(path, entry);
    }

    /// Forgets an entry that is being dropped.
    pub(super) fn forget(&self, path: &Path, idle_at: Option<u64>) {
        self.files.borrow_mut().remove(path);
        if let Some(at) = idle_at {
            self.idle.borrow_mut().remove(&at);
        }
    }

    /// Waits for leave to have one file open, in order.
    pub(super) async fn slot(&self) -> Slot {
        if let Some(slot) = self.slots.try_acquire(1) {
            return slot;
        }
        if let Some(open) = self.take_idle() {
            if self.waiting.get() == 0 {
                return open.into_slot();
            }
            // The first that waits has it, and this one waits behind the others.
            drop(open);
            self.promised.set(self.promised.get() + 1);
        }
        increment(&self.waits_total);
        let waiting = Waiting::new(self);
        let slot = self.slots.acquire(1).await;
        self.promised.set(self.promised.get().saturating_sub(1));
        drop(waiting);
        slot
    }

    /// Opens a file, and makes room among the process's descriptors where there is none.
    pub(super) async fn open(&self, path: &Path) -> io::Result<(File, Opened<'_>)> {
        let mut turn = None;
        if self.open_turn.available() == 0 {
            // Another one waits for a descriptor already; this one would take it away.
            turn = Some(self.open_turn.acquire(1).await);
        }
        loop {
            let error = match File::open(path).await {
                Ok(file) => {
                    increment(&self.opened_total);
                    return Ok((file, Opened::new(self)));
                }
                Err(error) if is_out_of_descriptors(&error) => error,
                Err(error) => return Err(error),
            };
            increment(&self.refused_total);
            if turn.is_none() {
                turn = Some(self.open_turn.acquire(1).await);
            }
            if let Some(open) = self.take_idle() {
                drop(open);
            } else if self.busy.get() + self.opening.get() > 0 {
                let _refused = Refused::new(self);
                self.descriptor_freed.notified().await;
            } else {
                return Err(error);
            }
        }
    }

    /// Closes the least recently used file, if one is idle, and gives what it was.
    fn take_idle(&self) -> Option<Open> {
        loop {
            let (_, entry) = self.idle.borrow_mut().pop_first()?;
            // An entry that is being dropped closes its file itself.
            if let Some(open) = entry.upgrade().and_then(|entry| entry.take_open()) {
                increment(&self.evicted_total);
                return Some(open);
            }
        }
    }

    /// Notes that a file is read which was just opened, or was idle since `idle_at`.
    pub(super) fn went_busy(&self, idle_at: Option<u64>) {
        self.busy.set(self.busy.get() + 1);
        if let Some(at) = idle_at {
            self.idle.borrow_mut().remove(&at);
        }
    }

    /// Notes that nobody reads a file any more, and gives its place among those.
    pub(super) fn went_idle(&self, entry: &Rc<Entry>) -> u64 {
        self.busy.set(self.busy.get() - 1);
        let at = self.clock.get();
        self.clock.set(at + 1);
        self.idle.borrow_mut().insert(at, Rc::downgrade(entry));
        at
    }

    /// Closes an idle file where somebody waits for one.
    pub(super) fn make_way(&self) {
        let owed = self.waiting.get() > self.promised.get();
        if !owed && self.refused.get() == 0 {
            return;
        }
        if let Some(open) = self.take_idle() {
            if owed {
                self.promised.set(self.promised.get() + 1);
            }
            drop(open);
            self.closed();
        }
    }

    /// Notes that a file may have been closed.
    pub(super) fn closed(&self) {
        if self.refused.get() > 0 {
            self.descriptor_freed.notify_one();
        }
    }
}

/// Gives the number of files that a set has open at most unless told otherwise.
pub(super) fn default_open_max() -> usize {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let limit = soft_limit(&limits).unwrap_or(LIMIT_DEFAULT);
    (limit / SHARE).max(OPEN_MIN)
}

/// Reads the soft limit of descriptors from proc_pid_limits(5).
fn soft_limit(limits: &str) -> Option<usize> {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

fn increment(counter: &Cell<u64>) {
    counter.set(counter.get() + 1);
}

/// A file was opened: until it has its first lease, or is closed again.
pub(super) struct Opened<'a>(&'a Set);

impl<'a> Opened<'a> {
    fn new(set: &'a Set) -> Self {
        set.opening.set(set.opening.get() + 1);
        Self(set)
    }
}

impl Drop for Opened<'_> {
    fn drop(&mut self) {
        self.0.opening.set(self.0.opening.get() - 1);
        self.0.closed();
    }
}

/// A read waits for a slot.
struct Waiting<'a>(&'a Set);

impl<'a> Waiting<'a> {
    fn new(set: &'a Set) -> Self {
        set.waiting.set(set.waiting.get() + 1);
        Self(set)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let Set {
            waiting, promised, ..
        } = self.0;
        waiting.set(waiting.get() - 1);
        // A slot that was given to one that gave up goes to the next, or is free.
        promised.set(promised.get().min(waiting.get()));
    }
}

/// A read waits for the system to have a descriptor.
struct Refused<'a>(&'a Set);

impl<'a> Refused<'a> {
    fn new(set: &'a Set) -> Self {
        set.refused.set(set.refused.get() + 1);
        Self(set)
    }
}

impl Drop for Refused<'_> {
    fn drop(&mut self) {
        self.0.refused.set(self.0.refused.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_is_read_as_the_kernel_writes_it() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
                      Max processes             95835                95835                processes \n\
                      Max open files            256                  1048576              files     \n";
        assert_eq!(soft_limit(limits), Some(256));
        assert_eq!(soft_limit("Max open files            unlimited"), None);
        assert_eq!(soft_limit(""), None);
        assert!(default_open_max() >= OPEN_MIN);
    }
}
