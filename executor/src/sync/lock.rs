//! One name for exclusive access, so that core-local and cross-core channels share their code.

use std::cell::RefCell;
use std::sync::PoisonError;

#[cfg(corelane_loom)]
pub(crate) use loom::sync::Mutex;
#[cfg(not(corelane_loom))]
pub(crate) use std::sync::Mutex;

/// Exclusive access to a state for the length of a closure.
///
/// The closure must not call a waker, nor clone or drop one, nor drop a user's value: each of these
/// may run code that comes back for the same state.
pub(crate) trait Lock<S> {
    fn with<R>(&self, visit: impl FnOnce(&mut S) -> R) -> R;
}

impl<S> Lock<S> for RefCell<S> {
    fn with<R>(&self, visit: impl FnOnce(&mut S) -> R) -> R {
        visit(&mut self.borrow_mut())
    }
}

/// Of what a model builds and does not run.
#[cfg(corelane_loom)]
impl<S> Lock<S> for std::sync::Mutex<S> {
    fn with<R>(&self, visit: impl FnOnce(&mut S) -> R) -> R {
        visit(&mut self.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<S> Lock<S> for Mutex<S> {
    fn with<R>(&self, visit: impl FnOnce(&mut S) -> R) -> R {
        // No user code runs inside, so a poisoned lock cannot guard a half-made change.
        visit(&mut self.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
