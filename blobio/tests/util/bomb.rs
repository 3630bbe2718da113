//! What panics wherever it is called or dropped.

use std::panic::panic_any;
use std::sync::Arc;
use std::task::Wake;

/// Panics when it is dropped, if that is not because of a panic; as a waker, with itself.
pub(crate) struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "a bomb");
    }
}

impl Wake for Bomb {
    fn wake(self: Arc<Self>) {
        panic_any(Self);
    }
}
