//! One name for exclusive access, so that core-local and cross-core channels share their code.

use std::cell::RefCell;
use std::sync::{Mutex, PoisonError};

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

impl<S> Lock<S> for Mutex<S> {
    fn with<R>(&self, visit: impl FnOnce(&mut S) -> R) -> R {
        // No user code runs inside, so a poisoned lock cannot guard a half-made change.
        visit(&mut self.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
