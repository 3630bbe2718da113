//! One file of a set: closed or open, and what it was when it was first opened.

use std::cell::{Cell, OnceCell, RefCell};
use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use corelane::fs::{File, Metadata};
use corelane::sync::Semaphore;

use super::budget::{Set, Slot};

/// A file of a set.
#[derive(Debug)]
pub(super) struct Entry {
    set: Rc<Set>,
    path: Rc<Path>,
    open: RefCell<Option<Open>>,
    /// Reads in flight, and the read that opens the file.
    leases: Cell<usize>,
    /// Where the entry is among the idle ones: set while the file is open and has no lease.
    idle_at: Cell<Option<u64>>,
    /// What the file was when it was first opened.
    known: Cell<Option<Identity>>,
    /// Held by the read that opens the file; the others that want it wait there.
    opening: OnceCell<Semaphore>,
}

/// An open file. The descriptor goes before the leave to have it.
#[derive(Debug)]
pub(super) struct Open {
    file: File,
    slot: Slot,
}

impl Open {
    /// Closes the file and keeps the leave to have another one open.
    pub(super) fn into_slot(self) -> Slot {
        drop(self.file);
        self.slot
    }
}

/// What a file is told by: another one at its path differs in one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    dev: (u32, u32),
    ino: u64,
    len: u64,
    mtime_ns: i128,
}

impl Identity {
    fn of(metadata: &Metadata) -> Self {
        Self {
            dev: metadata.dev(),
            ino: metadata.ino(),
            len: metadata.len(),
            mtime_ns: metadata.mtime_ns(),
        }
    }
}

/// What was found at a loose blob's path when it was opened again is not the file that was read
/// before: it was replaced, or written to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaleBlob {
    path: PathBuf,
}

impl StaleBlob {
    /// Gives the path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl fmt::Display for StaleBlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        write!(f, "the file {path} was changed since it was first read")
    }
}

impl Error for StaleBlob {}

impl Entry {
    /// Gives the entry of `path`, the one that is there or a new one.
    pub(super) fn of(set: &Rc<Set>, path: PathBuf) -> Rc<Self> {
        if let Some(entry) = set.find(&path) {
            return entry;
        }
        let entry = Rc::new(Self {
            set: Rc::clone(set),
            path: path.into(),
            open: RefCell::new(None),
            leases: Cell::new(0),
            idle_at: Cell::new(None),
            known: Cell::new(None),
            opening: OnceCell::new(),
        });
        set.add(Rc::clone(&entry.path), &entry);
        entry
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Waits until the file is open, and keeps it so.
    pub(super) async fn lease(self: &Rc<Self>) -> io::Result<Lease> {
        loop {
            if let Some(lease) = self.try_lease() {
                return Ok(lease);
            }
            let opening = self.opening.get_or_init(|| Semaphore::new(1));
            // If the read before fails, or is dropped, the next one tries.
            let turn = opening.acquire(1).await;
            if self.open.borrow().is_none() {
                self.open().await?;
            }
            let lease = self.try_lease();
            drop(turn);
            if let Some(lease) = lease {
                return Ok(lease);
            }
        }
    }

    fn try_lease(self: &Rc<Self>) -> Option<Lease> {
        let open = self.open.borrow();
        let file = open.as_ref()?.file.clone();
        drop(open);
        if self.leases.replace(self.leases.get() + 1) == 0 {
            self.set.went_busy(self.idle_at.take());
        }
        let entry = Rc::clone(self);
        Some(Lease { file, entry })
    }

    async fn open(self: &Rc<Self>) -> io::Result<()> {
        let slot = self.set.slot().await;
        let named = |e: io::Error| {
            let path = self.path.display();
            io::Error::new(e.kind(), format!("cannot open {path}: {e}"))
        };
        let (file, _opened) = self.set.open(&self.path).await.map_err(named)?;
        let found = Identity::of(&file.statx().await.map_err(named)?);
        if !self.set.follows_replaced() && self.known.get().is_some_and(|known| known != found) {
            let path = self.path.to_path_buf();
            return Err(io::Error::other(StaleBlob { path }));
        }
        self.known.set(Some(found));
        *self.open.borrow_mut() = Some(Open { file, slot });
        // Without a lease it is idle; the caller's, or another one's, comes in the same poll.
        Ok(())
    }

    /// Takes the open file away from an idle entry.
    pub(super) fn take_open(&self) -> Option<Open> {
        debug_assert_eq!(self.leases.get(), 0, "a file that is read stays open");
        self.idle_at.set(None);
        self.open.borrow_mut().take()
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.set.forget(&self.path, self.idle_at.get());
        let open = self.open.get_mut().take();
        let was_open = open.is_some();
        drop(open);
        if was_open {
            self.set.closed();
        }
    }
}

/// Keeps a file open.
#[derive(Debug)]
pub(super) struct Lease {
    file: File,
    entry: Rc<Entry>,
}

impl Lease {
    pub(super) fn file(&self) -> File {
        self.file.clone()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let entry = &self.entry;
        let left = entry.leases.get() - 1;
        entry.leases.set(left);
        if left == 0 {
            entry.idle_at.set(Some(entry.set.went_idle(entry)));
            entry.set.make_way();
        }
    }
}
