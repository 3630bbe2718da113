//! The worker that the current thread is in: the only place that touches the thread-local.

use std::cell::RefCell;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use super::Core;
use crate::task;

thread_local! {
    /// The workers that this thread is inside of, innermost last.
    static CURRENT: RefCell<Vec<(usize, Rc<Core>)>> = const { RefCell::new(Vec::new()) };
}

/// Makes a worker the current one until it is dropped.
#[must_use = "the worker is current only as long as the guard lives"]
#[derive(Debug)]
pub(crate) struct Entered<'a> {
    core: &'a Rc<Core>,
    number: usize,
    _tasks: task::EnterGuard<'a>,
}

impl<'a> Entered<'a> {
    pub(crate) fn new(core: &'a Rc<Core>) -> Self {
        let tasks = core.local.enter();
        let entered = CURRENT.try_with(|current| {
            let mut current = current.borrow_mut();
            let number = current.last().map_or(0, |(number, _)| number + 1);
            current.push((number, Rc::clone(core)));
            number
        });
        // A worker in a thread-local may end after this one: it ends without being the current.
        let number = entered.unwrap_or(usize::MAX);
        Self {
            core,
            number,
            _tasks: tasks,
        }
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        let left = CURRENT.try_with(|current| {
            let mut current = current.borrow_mut();
            let at = current
                .iter()
                .position(|(number, core)| *number == self.number && Rc::ptr_eq(core, self.core));
            at.map(|at| current.remove(at))
        });
        // The last reference to a worker may be this one: dropped outside of the borrow.
        drop(left);
    }
}

/// Looks at the current worker, if the thread is in one. `look` calls nobody: the list of workers
/// is borrowed.
#[inline]
pub(crate) fn look<R>(look: impl FnOnce(&Core) -> R) -> Option<R> {
    CURRENT
        .try_with(|current| current.borrow().last().map(|(_, core)| look(core)))
        .ok()
        .flatten()
}

/// Calls `access` with the current worker, if the thread is in one.
pub(crate) fn try_with<R>(access: impl FnOnce(&Rc<Core>) -> R) -> Option<R> {
    let core = CURRENT
        .try_with(|current| current.borrow().last().map(|(_, core)| Rc::clone(core)))
        .ok()
        .flatten()?;
    Some(access(&core))
}

/// Returns the current worker.
///
/// # Panics
///
/// Panics when the thread is in none.
#[track_caller]
pub(crate) fn current() -> Rc<Core> {
    // No closure: one would report its own place instead of the caller's.
    match try_with(Rc::clone) {
        Some(core) => core,
        None => panic!(
            "this must be called on a corelane worker: from a task, inside of Worker::block_on or \
             #[corelane::main], or under the guard of Worker::enter"
        ),
    }
}

/// Closes a descriptor whose close may wait for somebody: by a helper of the current worker. On
/// the spot where there is none, or it has no room.
pub(crate) fn close_behind(fd: OwnedFd) {
    let mut left = Some(fd);
    try_with(|core| {
        // The last share of a descriptor may go inside of a borrow.
        if let (Ok(mut driver), Some(fd)) = (core.driver.try_borrow_mut(), left.take()) {
            left = driver.close_behind(fd).err();
        }
    });
    drop(left);
}
