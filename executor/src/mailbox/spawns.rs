//! The bounded, closable list of tasks that other threads spawned on one worker.
//!
//! # Safety
//!
//! The contract of the stack is handed on to the callers.
#![allow(unsafe_code, reason = "forwards the contract of the stack")]

use std::ptr::NonNull;
use std::sync::atomic::Ordering::Relaxed;

use super::WakeBlock;
use super::stack::{Chain, Link, Pushed, Stack};
use crate::shim::AtomicUsize;

/// Why a spawn was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// As many spawns wait as the box holds.
    Full,
    /// The worker has shut down.
    Closed,
}

/// Spawns on their way to one incarnation of a worker.
#[derive(Debug)]
pub(crate) struct SpawnBox {
    spawns: Stack,
    /// Reserved or queued, not taken yet. It may pass `capacity` for a moment in `reserve`.
    len: AtomicUsize,
    capacity: usize,
    block: &'static WakeBlock,
}

impl SpawnBox {
    /// Makes an open box of `capacity` spawns for the worker that owns `block`.
    pub(crate) fn new(block: &'static WakeBlock, capacity: usize) -> Self {
        Self {
            spawns: Stack::new(),
            len: AtomicUsize::new(0),
            capacity,
            block,
        }
    }

    /// The block of the worker that takes from this box.
    pub(crate) fn block(&self) -> &'static WakeBlock {
        self.block
    }

    /// Takes a place for one `push`.
    ///
    /// # Errors
    ///
    /// `Full`. A closed box is found out by `push`.
    pub(crate) fn reserve(&self) -> Result<(), Refused> {
        if self.len.fetch_add(1, Relaxed) < self.capacity {
            return Ok(());
        }
        self.len.fetch_sub(1, Relaxed);
        Err(Refused::Full)
    }

    /// Adds a spawned task in a reserved place and kicks the owner when it is parked; true when it
    /// did. Any thread.
    ///
    /// # Errors
    ///
    /// `Closed`: the entry was not added and the place is given up.
    ///
    /// # Safety
    ///
    /// - `link` is in no list.
    /// - If it was added, its memory stays valid until the owner took it.
    pub(crate) unsafe fn push(&self, link: NonNull<Link>) -> Result<bool, Refused> {
        // SAFETY: both obligations are handed on to the caller.
        match unsafe { self.spawns.push(link) } {
            Pushed::First => Ok(self.block.notify()),
            Pushed::Behind => Ok(false),
            Pushed::Closed => {
                self.len.fetch_sub(1, Relaxed);
                Err(Refused::Closed)
            }
        }
    }

    /// Takes the spawned tasks, oldest first, and frees their places. Owner only.
    #[inline]
    pub(crate) fn take(&self) -> Chain {
        let chain = self.spawns.take();
        if chain.len > 0 {
            self.len.fetch_sub(chain.len, Relaxed);
        }
        chain
    }

    /// Refuses every later push and takes what was pushed before. Owner only.
    pub(crate) fn close(&self) -> Chain {
        self.spawns.close()
    }

    /// Whether there is nothing to take. Owner only.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.spawns.is_empty()
    }
}
