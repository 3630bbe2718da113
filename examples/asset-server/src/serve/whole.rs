//! Entries that were unpacked whole, kept for a while, so that many ranges of one cost one pass.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;

use blobio::pack::chunked;
use bytes::Bytes;
use corelane::sync::Notify;

use super::held::{hold, reserve};
use super::source::Failure;
use super::worker::Worker;

/// Entries up to this length, and to the capacity of the worker's cache, are kept whole.
pub(super) const WHOLE_MAX: u64 = 16 << 20;

/// What an entry is known by: all that its archive says of it. Less would do for archives that do
/// not lie. But two entries may claim one place, and two contents one hash, with other lengths.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Key {
    /// An archive's number, and the entry's in its central directory.
    Zipped(usize, usize),
    /// A pack's number among the archives, and the content's record.
    Content(usize, chunked::Content),
}

/// Why an entry is not unpacked.
pub(super) enum Flaw {
    /// The archive is not as it declares, and will not be.
    Lasting(Failure),
    /// Another try may do better.
    Passing(Failure),
}

impl Flaw {
    fn failure(&self) -> Failure {
        match self {
            Self::Lasting(failure) | Self::Passing(failure) => *failure,
        }
    }
}

/// Gives an entry of `len` bytes from the cache, or what `unpack` makes of it. Of those that ask
/// at the same time one unpacks, and all have the outcome.
pub(super) async fn whole(
    worker: &Rc<Worker>,
    key: Key,
    len: u64,
    unpack: impl Future<Output = Result<Vec<u8>, Flaw>>,
) -> Result<Bytes, Failure> {
    let turn = loop {
        match worker.cache.look(key) {
            Look::There(bytes) => return Ok(bytes),
            Look::Corrupt => return Err(Failure::Broken),
            Look::Underway(attempt) => {
                attempt.ended.notified().await;
                // There is none where who unpacked it was dropped on the way.
                if let Some(outcome) = attempt.outcome.take() {
                    attempt.outcome.set(Some(outcome.clone()));
                    return outcome;
                }
            }
            Look::Missing => break Turn::begin(worker, key),
        }
    };
    let outcome = unpack_held(worker, len, unpack).await;
    match &outcome {
        Ok(bytes) => worker.cache.put(key, bytes.clone()),
        Err(Flaw::Lasting(_)) => worker.cache.put_corrupt(key),
        Err(Flaw::Passing(_)) => {}
    }
    let outcome = outcome.map_err(|flaw| flaw.failure());
    turn.end(outcome.clone());
    outcome
}

async fn unpack_held(
    worker: &Rc<Worker>,
    len: u64,
    unpack: impl Future<Output = Result<Vec<u8>, Flaw>>,
) -> Result<Bytes, Flaw> {
    let overloaded = Flaw::Passing(Failure::Overloaded);
    let Ok(len) = usize::try_from(len) else {
        return Err(overloaded);
    };
    let permit = reserve(worker, len).await.ok_or(overloaded)?;
    Ok(hold(unpack.await?, permit))
}

/// Unpacked entries of one worker, the least recently used of which give way.
pub(super) struct Cache {
    capacity: u64,
    state: RefCell<CacheState>,
}

#[derive(Default)]
struct CacheState {
    len: u64,
    clock: u64,
    entries: HashMap<Key, (u64, Bytes)>,
    /// By when it was used last.
    by_age: BTreeMap<u64, Key>,
    underway: HashMap<Key, Rc<Attempt>>,
    /// Entries that are not as their archive declares: at most as many as there are.
    corrupt: HashSet<Key>,
}

/// An entry that somebody unpacks, and who waits for it. The outcome is shared: what failed once
/// is not tried again by each that waited, and each waits as long as one attempt takes.
#[derive(Default)]
struct Attempt {
    ended: Notify,
    outcome: Cell<Option<Result<Bytes, Failure>>>,
}

enum Look {
    There(Bytes),
    /// Somebody unpacks it: wait for the outcome.
    Underway(Rc<Attempt>),
    /// It was tried, and cannot be.
    Corrupt,
    Missing,
}

impl Cache {
    pub(super) fn new(capacity: u64) -> Self {
        Self {
            capacity,
            state: RefCell::default(),
        }
    }

    /// Forgets all entries; those that are being sent stay until they are.
    pub(super) fn clear(&self) {
        let mut state = self.state.borrow_mut();
        state.entries.clear();
        state.by_age.clear();
        state.len = 0;
    }

    /// Returns whether an entry of this length is kept whole.
    pub(super) fn keeps(&self, len: u64) -> bool {
        len <= WHOLE_MAX.min(self.capacity)
    }

    /// Returns whether an entry is at hand.
    pub(super) fn has(&self, key: Key) -> bool {
        self.state.borrow().entries.contains_key(&key)
    }

    fn look(&self, key: Key) -> Look {
        let state = &mut *self.state.borrow_mut();
        if let Some((age, bytes)) = state.entries.get_mut(&key) {
            state.by_age.remove(age);
            state.clock += 1;
            *age = state.clock;
            state.by_age.insert(*age, key);
            return Look::There(bytes.clone());
        }
        if state.corrupt.contains(&key) {
            return Look::Corrupt;
        }
        match state.underway.get(&key) {
            Some(attempt) => Look::Underway(Rc::clone(attempt)),
            None => Look::Missing,
        }
    }

    fn put_corrupt(&self, key: Key) {
        self.state.borrow_mut().corrupt.insert(key);
    }

    fn put(&self, key: Key, bytes: Bytes) {
        let state = &mut *self.state.borrow_mut();
        state.len += length(&bytes);
        state.clock += 1;
        state.by_age.insert(state.clock, key);
        if let Some((age, old)) = state.entries.insert(key, (state.clock, bytes)) {
            state.by_age.remove(&age);
            state.len -= length(&old);
        }
        while state.len > self.capacity {
            let Some((_, oldest)) = state.by_age.pop_first() else {
                break;
            };
            if let Some((_, old)) = state.entries.remove(&oldest) {
                state.len -= length(&old);
            }
        }
    }
}

/// The turn of who unpacks an entry; on drop those that wait are told.
struct Turn {
    worker: Rc<Worker>,
    key: Key,
    attempt: Rc<Attempt>,
}

impl Turn {
    fn begin(worker: &Rc<Worker>, key: Key) -> Self {
        let attempt = Rc::new(Attempt::default());
        let mut state = worker.cache.state.borrow_mut();
        state.underway.insert(key, Rc::clone(&attempt));
        Self {
            worker: Rc::clone(worker),
            key,
            attempt,
        }
    }

    fn end(self, outcome: Result<Bytes, Failure>) {
        self.attempt.outcome.set(Some(outcome));
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.worker.cache.state.borrow_mut();
        state.underway.remove(&self.key);
        drop(state);
        self.attempt.ended.notify_waiters();
    }
}

fn length(bytes: &Bytes) -> u64 {
    u64::try_from(bytes.len()).expect("a length")
}
