//! Deflated entries, inflated off the I/O core.
//!
//! An entry that is not too long is inflated whole and kept for a while, so that many ranges of it
//! cost one pass. A longer one is inflated as it is sent, from its beginning up to the range; a
//! request for several ranges of it is answered with all of it (RFC 9110, 14.2 leaves that to the
//! server), or a short request would cost many passes.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::rc::Rc;

use blobio::NativeFileAsyncBlobRandomReader;
use blobio::async_reader::{AsyncEntryData, AsyncInflateReader};
use blobio::error::ArchiveErrorKind;
use blobio::pack::zip::{Entry, Method};
use bytes::Bytes;
use corelane::sync::Notify;

use super::held::{hold, reserve};
use super::mounting::{PackEntry, PackRoot, WorkerPack};
use super::source::{Content, Failure};
use super::worker::Worker;
use crate::http::range::ByteRange;
use crate::limits::Permit;

/// Entries up to this length, and to the capacity of the worker's cache, are inflated whole.
const WHOLE_MAX: u64 = 16 << 20;

/// What a longer one is inflated by at a time.
const CHUNK_LEN: usize = 256 * 1024;

/// An archive's number, and where the entry's header is.
type Key = (usize, u64);

/// Returns whether an entry of this length is inflated as it is sent: then each range costs a pass
/// from its beginning, and several of them in one answer are not given.
pub(super) fn is_streamed(worker: &Worker, entry: &Entry) -> bool {
    entry.method() == Method::Deflated && entry.len() > WHOLE_MAX.min(worker.cache.capacity)
}

/// Makes a deflated entry's bytes ready to be sent.
pub(super) async fn open(
    worker: &Rc<Worker>,
    pack: &PackRoot,
    entry: &PackEntry,
) -> Result<Content, Failure> {
    let len = entry.entry.len();
    if !is_streamed(worker, &entry.entry) {
        return whole(worker, pack, entry).await.map(Content::Memory);
    }
    let permit = reserve(worker, CHUNK_LEN)
        .await
        .ok_or(Failure::Overloaded)?;
    let chunk_len = usize::try_from(permit.credits()).expect("at most CHUNK_LEN");
    let pack = Rc::clone(&worker.packs[pack.index]);
    let reader = open_reader(&pack, &entry.entry).await;
    Ok(Content::Stream(InflateStream {
        pack,
        entry: entry.entry.clone(),
        reader: reader.map_err(|error| Failure::of(worker, &error))?,
        position: 0,
        range: ByteRange { start: 0, end: len },
        chunk_len,
        spare: Vec::new(),
        _permit: permit,
    }))
}

async fn whole(worker: &Rc<Worker>, pack: &PackRoot, entry: &PackEntry) -> Result<Bytes, Failure> {
    let key = (pack.index, entry.entry.header_offset());
    let turn = loop {
        match worker.cache.look(key) {
            Look::There(bytes) => return Ok(bytes),
            Look::Corrupt => return Err(Failure::Broken),
            Look::Underway(attempt) => {
                attempt.ended.notified().await;
                // There is none where who inflated it was dropped on the way.
                if let Some(outcome) = attempt.outcome.take() {
                    attempt.outcome.set(Some(outcome.clone()));
                    return outcome;
                }
            }
            Look::Missing => break Turn::begin(worker, key),
        }
    };
    let outcome = inflate_whole(worker, pack, entry).await;
    match &outcome {
        Ok(bytes) => worker.cache.put(key, bytes.clone()),
        Err(Flaw::Lasting) => worker.cache.put_corrupt(key),
        Err(Flaw::Passing(_)) => {}
    }
    let outcome = outcome.map_err(|flaw| match flaw {
        Flaw::Lasting => Failure::Broken,
        Flaw::Passing(failure) => failure,
    });
    turn.end(outcome.clone());
    outcome
}

/// Why an entry is not inflated.
enum Flaw {
    /// The archive is not as it declares, and will not be.
    Lasting,
    /// Another try may do better.
    Passing(Failure),
}

async fn inflate_whole(
    worker: &Rc<Worker>,
    pack: &PackRoot,
    entry: &PackEntry,
) -> Result<Bytes, Flaw> {
    let overloaded = Flaw::Passing(Failure::Overloaded);
    let Ok(len) = usize::try_from(entry.entry.len()) else {
        return Err(overloaded);
    };
    let permit = reserve(worker, len).await.ok_or(overloaded)?;
    match worker.packs[pack.index].read_async(&entry.entry).await {
        Ok(bytes) => Ok(hold(bytes, permit)),
        Err(error) => {
            let failure = Failure::of(worker, &error);
            Err(match error.kind() {
                ArchiveErrorKind::Io(_) => Flaw::Passing(failure),
                _ => Flaw::Lasting,
            })
        }
    }
}

/// Inflated entries of one worker, the least recently used of which give way.
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

/// An entry that somebody inflates, and who waits for it. The outcome is shared: what failed once
/// is not tried again by each that waited, and each waits as long as one attempt takes.
#[derive(Default)]
struct Attempt {
    ended: Notify,
    outcome: Cell<Option<Result<Bytes, Failure>>>,
}

enum Look {
    There(Bytes),
    /// Somebody inflates it: wait for the outcome.
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

/// The turn of who inflates an entry; on drop those that wait are told.
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

/// A long entry, inflated as it is sent.
pub(super) struct InflateStream {
    pack: Rc<WorkerPack>,
    entry: Entry,
    reader: AsyncInflateReader<NativeFileAsyncBlobRandomReader>,
    position: u64,
    range: ByteRange,
    chunk_len: usize,
    spare: Vec<u8>,
    _permit: Permit,
}

impl InflateStream {
    /// Goes to a range: on from where the stream is, or from the beginning.
    ///
    /// # Errors
    /// When the entry is not as the archive declares.
    pub(super) async fn seek(&mut self, range: ByteRange) -> io::Result<()> {
        if range.start < self.position {
            self.reader = open_reader(&self.pack, &self.entry).await?;
            self.position = 0;
        }
        self.range = range;
        while self.position < range.start {
            let skipped = self.inflate(range.start - self.position).await?;
            self.reuse(skipped);
        }
        Ok(())
    }

    /// Gives the next bytes of the range; `None` at its end.
    ///
    /// # Errors
    /// When the entry is not as the archive declares.
    pub(super) async fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        match self.range.end - self.position {
            0 => Ok(None),
            left => self.inflate(left).await.map(Some),
        }
    }

    /// Takes back a chunk's memory for the next one.
    pub(super) fn reuse(&mut self, chunk: Vec<u8>) {
        self.spare = chunk;
    }

    async fn inflate(&mut self, left: u64) -> io::Result<Vec<u8>> {
        let wanted = usize::try_from(left)
            .unwrap_or(usize::MAX)
            .min(self.chunk_len);
        let spare = std::mem::take(&mut self.spare);
        let chunk = self.reader.next_chunk(spare, wanted).await?;
        if chunk.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.position += u64::try_from(chunk.len()).expect("a length");
        Ok(chunk)
    }
}

async fn open_reader(
    pack: &WorkerPack,
    entry: &Entry,
) -> io::Result<AsyncInflateReader<NativeFileAsyncBlobRandomReader>> {
    match pack.data_async(entry).await? {
        AsyncEntryData::Deflated(reader) => Ok(reader),
        AsyncEntryData::Stored(_) => Err(io::ErrorKind::InvalidData.into()),
    }
}

fn length(bytes: &Bytes) -> u64 {
    u64::try_from(bytes.len()).expect("a length")
}
