//! Channels and synchronisation between tasks.
//!
//! | | between | atomics |
//! |---|---|---|
//! | [`local`] | tasks of one core | none |
//! | [`Notify`], [`Semaphore`] | tasks of one core | none |
//! | [`channel`] | cores and foreign threads | an exchange for a value; a lock only for who waits |
//! | [`oneshot`] | cores and foreign threads | a lock held for one move |
//!
//! All of them are plain futures: they work on any executor. None of them calls a waker, or drops
//! one of your values, while it holds its lock or borrow.

pub mod channel;
mod error;
pub mod local;
pub(crate) mod lock;
#[cfg(all(test, corelane_loom))]
mod loom_tests;
mod notify;
pub mod oneshot;
pub(crate) mod permits;
mod queue;
mod semaphore;
#[cfg(test)]
mod tests;
mod waiters;

pub use error::{RecvError, SendError, TryRecvError, TrySendError};
pub use notify::{Notified, Notify};
pub use semaphore::{Acquire, Permit, Semaphore};
