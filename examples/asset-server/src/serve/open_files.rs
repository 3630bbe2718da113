//! Files of folders that a worker keeps open, so that a request for a hot one opens nothing.
//!
//! A name leads to the file that it led to at most [`VALID_MAX`] ago; then it is opened anew. The
//! file itself is looked at for every request, by a statx(2) that asks the kernel and not the file
//! system, so that it cannot wait: what was written to, cut, unlinked, replaced by a rename, or
//! given other permissions since is opened anew at once, as all of these change its inode. What
//! stays unseen for that long is what no inode of the file tells: that a folder or a link above it
//! leads elsewhere now, or that a mount before it has a file of that name now.
//!
//! Of those that ask for a file at the same time one opens it, and all have the outcome; who asks
//! while it is being opened, only if it is still true then.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use blobio::NativeFileAsyncBlobRandomReader as Reader;
use corelane::sync::Notify;
use corelane::time::sleep;
use rustix::fs::{AtFlags, Statx, StatxFlags, statx};

use super::worker::Worker;
use crate::etag::FileIdentity;
use crate::plan::Resource;

/// How long a name leads to the same file without being resolved anew.
const VALID_MAX: Duration = Duration::from_secs(1);

/// A file that nobody asked for in this time is closed, at the latest after twice the time.
const UNUSED_MAX: Duration = Duration::from_secs(10);

/// A file of a folder, with what answers say of it.
#[derive(Clone)]
pub(super) struct OpenFile {
    pub(super) file: Reader,
    pub(super) identity: FileIdentity,
    pub(super) resource: Resource,
}

/// The files that one worker keeps open. Those that were used since they were last looked at get a
/// second chance before they give way.
pub(super) struct OpenFiles {
    count_max: usize,
    state: RefCell<State>,
    /// Told when there is something to sweep.
    filled: Notify,
}

#[derive(Default)]
struct State {
    /// By the folder's number.
    folders: Vec<Names>,
    /// Every kept file once, in the order in which they may give way.
    order: VecDeque<(usize, Rc<[u8]>)>,
}

#[derive(Default)]
struct Names {
    kept: HashMap<Rc<[u8]>, Kept>,
    underway: HashMap<Rc<[u8]>, Rc<Attempt>>,
}

struct Kept {
    open: OpenFile,
    /// When its name was resolved.
    resolved: Instant,
    is_used: Cell<bool>,
}

/// A file that somebody opens, and who waits for it.
#[derive(Default)]
struct Attempt {
    ended: Notify,
    outcome: RefCell<Option<Outcome>>,
}

/// The file, if there is one, or an errno.
type Outcome = Result<Option<OpenFile>, i32>;

#[allow(
    clippy::large_enum_variant,
    reason = "taken apart where it is returned to, and kept nowhere"
)]
enum Look {
    There(OpenFile),
    /// Somebody opens it: wait for the outcome.
    Underway(Rc<Attempt>),
    Missing,
}

/// Gives a file of a folder from those that are open, or what `open` makes of its name.
pub(super) async fn get(
    worker: &Rc<Worker>,
    folder: usize,
    path: &[u8],
    open: impl Future<Output = io::Result<Option<OpenFile>>>,
) -> io::Result<Option<OpenFile>> {
    let files = &worker.open_files;
    if files.count_max == 0 {
        return open.await;
    }
    let metrics = worker.metrics();
    let asked = Instant::now();
    // Whether who opens it began after it was asked for here: so does who is next after the first.
    let mut is_later = false;
    let turn = loop {
        match files.look(folder, path, Instant::now()) {
            Look::There(open) => {
                metrics.open_file_hits.add(1);
                return Ok(Some(open));
            }
            Look::Underway(attempt) => {
                attempt.ended.notified().await;
                if let Some(outcome) = attempt.outcome(is_later) {
                    metrics.open_file_hits.add(1);
                    return outcome.map_err(io::Error::from_raw_os_error);
                }
                is_later = true;
            }
            Look::Missing => break Turn::begin(worker, folder, path),
        }
    };
    metrics.open_file_misses.add(1);
    let outcome = open.await;
    let found = outcome.as_ref().ok().and_then(Option::as_ref);
    files.put(folder, &turn.path, found.cloned(), asked);
    metrics.open_files.set(files.count());
    turn.end(&outcome);
    outcome
}

/// Closes what nobody asks for any more, for as long as it is polled. Rests while nothing is open.
pub(super) async fn sweep(worker: Rc<Worker>) {
    let files = &worker.open_files;
    loop {
        if files.count() == 0 {
            files.filled.notified().await;
        }
        sleep(UNUSED_MAX).await;
        drop(files.take_unused());
        worker.metrics().open_files.set(files.count());
    }
}

impl OpenFiles {
    /// Makes room for so many files of so many folders; none are kept where there is none.
    pub(super) fn new(count_max: usize, folders: usize) -> Self {
        let state = State {
            folders: (0..folders).map(|_| Names::default()).collect(),
            order: VecDeque::new(),
        };
        Self {
            count_max,
            state: RefCell::new(state),
            filled: Notify::new(),
        }
    }

    fn count(&self) -> u64 {
        u64::try_from(self.state.borrow().order.len()).expect("a length")
    }

    fn look(&self, folder: usize, path: &[u8], now: Instant) -> Look {
        let state = self.state.borrow();
        let names = &state.folders[folder];
        if let Some(kept) = names.kept.get(path)
            && now.duration_since(kept.resolved) < VALID_MAX
            && kept.open.is_unchanged()
        {
            kept.is_used.set(true);
            return Look::There(kept.open.clone());
        }
        match names.underway.get(path) {
            Some(attempt) => Look::Underway(Rc::clone(attempt)),
            None => Look::Missing,
        }
    }

    /// Puts what a name was found to lead to in the place of what it led to before; what gives way
    /// is closed when it has been sent to the last that is sent it.
    fn put(&self, folder: usize, path: &Rc<[u8]>, found: Option<OpenFile>, resolved: Instant) {
        let mut state = self.state.borrow_mut();
        let is_asked_again = state.folders[folder].kept.contains_key(path);
        let kept = found.map(|open| Kept {
            open,
            resolved,
            // It has to be asked for again before it outlasts what is.
            is_used: Cell::new(is_asked_again),
        });
        // Dropped when the state is free again.
        let closed = match kept {
            None => state.remove(folder, path).into_iter().collect(),
            Some(kept) => match state.folders[folder].kept.get_mut(path) {
                Some(there) => vec![std::mem::replace(there, kept)],
                None => {
                    let mut closed = Vec::new();
                    while state.order.len() >= self.count_max {
                        closed.extend(state.take_oldest());
                    }
                    state.order.push_back((folder, Rc::clone(path)));
                    state.folders[folder].kept.insert(Rc::clone(path), kept);
                    closed
                }
            },
        };
        drop(state);
        drop::<Vec<Kept>>(closed);
        self.filled.notify_one();
    }

    /// Takes out what was not used since this was called last.
    fn take_unused(&self) -> Vec<Kept> {
        let state = &mut *self.state.borrow_mut();
        let mut unused = Vec::new();
        state.order.retain(|(folder, path)| {
            let kept = &mut state.folders[*folder].kept;
            let was_used = kept.get(path).is_some_and(|kept| kept.is_used.take());
            if !was_used {
                unused.extend(kept.remove(path));
            }
            was_used
        });
        unused
    }
}

impl State {
    fn remove(&mut self, folder: usize, path: &Rc<[u8]>) -> Option<Kept> {
        let removed = self.folders[folder].kept.remove(path)?;
        // Files that are gone are few, and rare.
        self.order
            .retain(|entry| (entry.0, &entry.1) != (folder, path));
        Some(removed)
    }

    /// Takes out the first that was not used since it was last in the first place.
    fn take_oldest(&mut self) -> Option<Kept> {
        loop {
            let (folder, path) = self.order.pop_front()?;
            let kept = &mut self.folders[folder].kept;
            match kept.get(&path) {
                Some(used) if used.is_used.take() => self.order.push_back((folder, path)),
                Some(_) => return kept.remove(&path),
                None => {}
            }
        }
    }
}

impl OpenFile {
    /// Says whether the file is what it was when it was opened.
    fn is_unchanged(&self) -> bool {
        let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
        let known = statx(
            self.file.file().as_fd(),
            c"",
            flags,
            StatxFlags::BASIC_STATS,
        );
        known.is_ok_and(|known| identity(&known) == self.identity)
    }
}

fn identity(known: &Statx) -> FileIdentity {
    let ns = |time: &rustix::fs::StatxTimestamp| {
        i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec)
    };
    FileIdentity {
        dev: u64::from(known.stx_dev_major) << 32 | u64::from(known.stx_dev_minor),
        ino: known.stx_ino,
        size: known.stx_size,
        mtime_ns: ns(&known.stx_mtime),
        ctime_ns: ns(&known.stx_ctime),
    }
}

impl Attempt {
    /// Gives the outcome to who waited for it, if it is an answer to them. One of an attempt that
    /// began before they asked is none where the file was changed since, or was not found: it may
    /// be there now. There is none either where who opened it was dropped on the way.
    fn outcome(&self, is_later: bool) -> Option<Outcome> {
        let outcome = self.outcome.borrow().clone()?;
        let is_current = match &outcome {
            Ok(Some(open)) => is_later || open.is_unchanged(),
            Ok(None) | Err(_) => is_later,
        };
        is_current.then_some(outcome)
    }
}

/// The turn of who opens a file; on drop those that wait are told.
struct Turn<'w> {
    worker: &'w Worker,
    folder: usize,
    path: Rc<[u8]>,
    attempt: Rc<Attempt>,
}

impl<'w> Turn<'w> {
    fn begin(worker: &'w Worker, folder: usize, path: &[u8]) -> Self {
        let (path, attempt) = (Rc::from(path), Rc::new(Attempt::default()));
        let mut state = worker.open_files.state.borrow_mut();
        let underway = &mut state.folders[folder].underway;
        underway.insert(Rc::clone(&path), Rc::clone(&attempt));
        drop(state);
        Self {
            worker,
            folder,
            path,
            attempt,
        }
    }

    fn end(self, outcome: &io::Result<Option<OpenFile>>) {
        let outcome = match outcome {
            Ok(found) => Ok(found.clone()),
            Err(error) => Err(error.raw_os_error().unwrap_or(libc::EIO)),
        };
        *self.attempt.outcome.borrow_mut() = Some(outcome);
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = self.worker.open_files.state.borrow_mut();
        state.folders[self.folder].underway.remove(&self.path);
        drop(state);
        self.attempt.ended.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::plan::Ranges;

    fn open(path: &Path) -> OpenFile {
        let file = fs::File::open(path).unwrap();
        let known = statx(&file, c"", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS).unwrap();
        OpenFile {
            identity: identity(&known),
            resource: Resource {
                len: known.stx_size,
                content_type: "",
                etag: None,
                last_modified: None,
                ranges: Ranges::Many,
                cache_control: None,
            },
            file: corelane::fs::File::from_std(file).into(),
        }
    }

    fn attempt(outcome: Option<Outcome>) -> Attempt {
        Attempt {
            ended: Notify::new(),
            outcome: RefCell::new(outcome),
        }
    }

    #[corelane::test]
    async fn who_asks_while_a_file_is_being_opened_gets_what_is_still_true() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "text").unwrap();
        let found = attempt(Some(Ok(Some(open(&path)))));
        assert!(found.outcome(false).is_some() && found.outcome(true).is_some());
        let new = folder.path().join("new");
        fs::write(&new, "text").unwrap();
        fs::rename(&new, &path).unwrap();
        assert!(found.outcome(false).is_none() && found.outcome(true).is_some());
        for missed in [Ok(None), Err(libc::EACCES)] {
            let missed = attempt(Some(missed));
            assert!(missed.outcome(false).is_none() && missed.outcome(true).is_some());
        }
        let dropped = attempt(None);
        assert!(dropped.outcome(false).is_none() && dropped.outcome(true).is_none());
    }
}
