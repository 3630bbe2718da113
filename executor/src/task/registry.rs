//! The owner's list of its live tasks, linked through their headers.

use std::cell::Cell;

use super::header::TaskPtr;

/// Each task in it is kept alive by one reference, which is the registry's.
#[derive(Debug)]
pub(super) struct Registry {
    first: Cell<Option<TaskPtr>>,
    len: Cell<usize>,
}

impl Registry {
    pub(super) fn new() -> Self {
        Self {
            first: Cell::new(None),
            len: Cell::new(0),
        }
    }

    /// Adds a task that is in no registry, with a reference of the caller's.
    #[inline]
    pub(super) fn add(&self, task: TaskPtr) {
        let next = self.first.replace(Some(task));
        task.next.set(next);
        if let Some(next) = next {
            next.previous.set(Some(task));
        }
        self.len.set(self.len.get() + 1);
    }

    /// Removes a task that is in this registry; its reference becomes the caller's.
    #[inline]
    pub(super) fn remove(&self, task: TaskPtr) {
        let (previous, next) = (task.previous.take(), task.next.take());
        match previous {
            Some(previous) => previous.next.set(next),
            None => self.first.set(next),
        }
        if let Some(next) = next {
            next.previous.set(previous);
        }
        self.len.set(self.len.get() - 1);
    }

    pub(super) fn first(&self) -> Option<TaskPtr> {
        self.first.get()
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len.get()
    }
}
