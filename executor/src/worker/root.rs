//! Wakers of what is not a task: the root future of `block_on`, and the worker itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Wake;

use crate::mailbox::WakeBlock;
use crate::task::count_kick;

/// Wakes the root future of a `block_on`.
#[derive(Debug)]
pub(super) struct RootWaker {
    woken: AtomicBool,
    block: &'static WakeBlock,
}

impl RootWaker {
    /// Makes a waker that has been woken, for the first poll.
    pub(super) fn new(block: &'static WakeBlock) -> Self {
        Self {
            woken: AtomicBool::new(true),
            block,
        }
    }

    /// Says whether the root was woken, and forgets it.
    pub(super) fn take(&self) -> bool {
        self.woken.load(Ordering::Relaxed) && self.woken.swap(false, Ordering::Acquire)
    }

    pub(super) fn is_woken(&self) -> bool {
        self.woken.load(Ordering::Acquire)
    }
}

impl Wake for RootWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.woken.swap(true, Ordering::Release) {
            // The flag is published before the worker's park state is looked at.
            count_kick(self.block.notify());
        }
    }
}

/// Makes a parked worker turn.
#[derive(Debug)]
pub(super) struct KickWaker(&'static WakeBlock);

impl KickWaker {
    pub(super) fn new(block: &'static WakeBlock) -> Self {
        Self(block)
    }
}

impl Wake for KickWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        count_kick(self.0.notify());
    }
}
