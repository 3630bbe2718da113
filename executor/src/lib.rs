//! Placeholder replaced within this change series.
#![deny(unsafe_code)]
#![allow(dead_code, reason = "wired by the worker")]
#[allow(unused_imports, reason = "wired by the worker")]
mod blocking;
pub mod sync;
mod sys {
    pub(crate) mod affinity;
}
mod timer;
mod topology;
pub use blocking::{BlockingError, BlockingHandle};
pub use topology::placement::{Placement, PlacementError};
