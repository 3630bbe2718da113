//! Panics of code of others that have nobody to be passed on to: of wakers, allocators, and drops.

use std::any::Any;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Calls code of others; gives nothing when it panicked, which the panic hook has reported.
#[inline]
pub(crate) fn guarded<R>(run: impl FnOnce() -> R) -> Option<R> {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(returned) => Some(returned),
        Err(panic) => {
            discard(panic);
            None
        }
    }
}

/// Drops what a panic was called with, or leaks what that drop panics with.
#[cold]
pub(crate) fn discard(panic: Box<dyn Any + Send>) {
    if let Err(second) = catch_unwind(AssertUnwindSafe(move || drop(panic))) {
        mem::forget(second);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bomb;

    impl Drop for Bomb {
        fn drop(&mut self) {
            std::panic::panic_any(Self);
        }
    }

    #[test]
    fn a_panic_ends_here_whatever_it_was_called_with() {
        assert_eq!(guarded(|| 7), Some(7));
        assert_eq!(guarded(|| std::panic::panic_any(Bomb)), None::<()>);
        assert_eq!(guarded(|| drop(Bomb)), None);
    }
}
