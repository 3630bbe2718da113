//! What the program's subscriber is told: a span per task, and events. The feature `tracing`;
//! without it nothing of this is there.
//!
//! Targets: `corelane::task` for the spans (level debug), `corelane` for the events.

#[cfg(feature = "tracing")]
#[path = "on.rs"]
mod told;

#[cfg(not(feature = "tracing"))]
#[path = "off.rs"]
mod told;

/// Whether anybody can be told.
pub(crate) const ON: bool = cfg!(feature = "tracing");

pub(crate) use told::{Traced, backend_chosen, leaked, overflowed, rung_refused, stalled, task};
