//! A bounded pool of threads for work that blocks.
//!
//! Independent of workers: a [`BlockingHandle`] is a plain future. Threads start on demand up to a
//! limit and leave when idle. The queue is bounded; when it is full, the handle holds the job and
//! waits for a place in turn.

mod handle;
mod pool;
#[cfg(test)]
mod tests;

pub use handle::{BlockingError, BlockingHandle};
pub(crate) use pool::{BlockingLimits, BlockingPool};
