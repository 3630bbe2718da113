//! The task core: one allocation per task, intrusive queues, wakers for every thread.
//!
//! A task is a [`TaskCell`](cell::TaskCell): header, then the future or its output. The thread
//! that owns it (its [`Local`]) polls it, drops its future and completes it; other threads only
//! wake, abort, await and drop references.
//!
//! Who owns a reference: the registry of the owner, the join handle, every waker, and, for a task
//! that completed while an entry for it was in a queue, that entry. The entry of a live task owns
//! none, so a wake and a poll touch no count.
//!
//! # Safety
//!
//! This is an unsafe room. Its invariants:
//! - `state.rs` says who may touch the stage, the join waker and the link at any time; every
//!   access argues from the state transition that granted it;
//! - a future is polled and dropped by the owner's thread alone;
//! - a task is freed by whoever drops the last reference, when its stage is empty.

mod cell;
mod enter;
mod error;
mod header;
mod join;
mod local;
mod recycle;
mod registry;
mod remote;
mod run_queue;
mod state;
mod waker;

pub(crate) use enter::{EnterGuard, count_kick};
pub use error::{JoinError, SpawnError, SpawnErrorKind};
pub use join::JoinHandle;
pub(crate) use local::{Local, current_takes_tasks, spawn_current};
pub use remote::RemoteSpawner;
pub(crate) use waker::wake_own;

#[cfg(all(test, not(corelane_loom)))]
mod tests;

#[cfg(all(test, corelane_loom))]
mod loom_tests;
