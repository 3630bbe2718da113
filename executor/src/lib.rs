//! Placeholder replaced within this change series.
#![deny(unsafe_code)]

#[allow(dead_code, unused_imports, reason = "used by the worker")]
mod mailbox;
#[allow(dead_code, unused_imports, reason = "used by the worker")]
mod task;

pub use task::{JoinError, JoinHandle, RemoteSpawner, SpawnError, SpawnErrorKind};
