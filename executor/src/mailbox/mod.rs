//! What crosses threads on its way to a worker: wakes, spawns and the kick that ends a park.
//!
//! Everything here is intrusive: an entry is a [`Link`] inside a task's own allocation, so a wake
//! never allocates and never fails. This module knows links, not tasks.
//!
//! - [`WakeBlock`]: one per live worker, in memory that is never freed: the list of woken tasks,
//!   the park state, the eventfd.
//! - [`SpawnBox`]: the bounded list of spawned tasks, which can be closed.
//!
//! # Safety
//!
//! This is an unsafe room (`stack.rs`, `block.rs`, `spawns.rs`). Its invariants:
//! - a link is in at most one list at a time, and its allocation lives until it was taken out
//!   (owed by the callers of the unsafe `push` functions);
//! - a `WakeBlock` is never freed, so a waker of any age may push to it or kick it;
//! - an eventfd given to a block stays open as long as the process, so a late kick cannot write
//!   into a descriptor that somebody else opened under the same number.

mod block;
mod spawns;
mod stack;

pub(crate) use block::WakeBlock;
pub(crate) use spawns::{Refused, SpawnBox};
pub(crate) use stack::{Chain, Link};

#[cfg(all(test, not(corelane_loom)))]
mod tests;

#[cfg(all(test, corelane_loom))]
mod loom_tests;
