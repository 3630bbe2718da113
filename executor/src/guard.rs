//! Panics of user code that has nobody to pass them on to: wakers, and drops of buffers.

use std::any::Any;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs code of the user's that has nobody to pass a panic on to.
#[inline]
pub(crate) fn guarded(run: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(run)) {
        discard_payload(payload);
    }
}

/// Drops a panic payload, or leaks it when its own drop panics.
#[cold]
fn discard_payload(payload: Box<dyn Any + Send>) {
    if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        mem::forget(second);
    }
}

/// Calls `run` on every item, also on those behind one for which it panicked.
pub(crate) fn guarded_each<T>(mut items: impl Iterator<Item = T>, run: impl Fn(T)) {
    let mut done = false;
    while !done {
        guarded(|| {
            items.by_ref().for_each(&run);
            done = true;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_does_not_keep_the_others_from_their_turn() {
        let seen = std::cell::RefCell::new(Vec::new());
        guarded_each(0..5, |item| {
            seen.borrow_mut().push(item);
            assert!(item % 2 == 0, "an odd item");
        });
        assert_eq!(*seen.borrow(), [0, 1, 2, 3, 4]);
    }
}
