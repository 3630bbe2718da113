//! The machinery that requests run on: one of a closed set, chosen once.

use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::config::{BackendChoice, Config, REAP_BATCH};
use crate::error::{SetupError, ThreadsReason};
use crate::op::Request;
use crate::op::slab::OpKey;
use crate::ring::{Cqe, Pending, Ring, Rung, Wait};

#[cfg(feature = "sim")]
use super::sim::Sim;
use super::threads::Threads;
use super::uring::Uring;

/// What operations run on.
#[derive(Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "one per worker, and never moved again"
)]
pub(crate) enum Backend {
    Uring(Uring),
    Threads(Threads),
    #[cfg(feature = "sim")]
    Sim(Sim),
}

macro_rules! each {
    ($self:expr, $backend:ident => $call:expr) => {
        match $self {
            Backend::Uring($backend) => $call,
            Backend::Threads($backend) => $call,
            #[cfg(feature = "sim")]
            Backend::Sim($backend) => $call,
        }
    };
}

impl Backend {
    pub(super) fn new(config: &Config) -> Result<Self, SetupError> {
        let threads = |reason| Threads::new(reason, config).map(Self::Threads);
        match config.backend.or_environment()? {
            (BackendChoice::Auto, _) => match Ring::open(config) {
                Ok(ring) => Ok(Self::Uring(Uring::new(ring))),
                Err(error) => match ThreadsReason::of_setup(&error) {
                    Some(reason) => threads(reason),
                    None => Err(error),
                },
            },
            (BackendChoice::Uring, _) => Ring::open(config).map(Uring::new).map(Self::Uring),
            (BackendChoice::Threads, reason) => threads(reason),
            #[cfg(feature = "sim")]
            (BackendChoice::Sim(sim), _) => Ok(Self::Sim(Sim::new(sim, config))),
        }
    }

    /// Returns the rung of the setup ladder, where there is a ring.
    pub(crate) fn rung(&self) -> Option<Rung> {
        match self {
            Self::Uring(uring) => Some(uring.ring().rung()),
            Self::Threads(_) => None,
            #[cfg(feature = "sim")]
            Self::Sim(_) => None,
        }
    }

    /// Returns the ring, where there is one.
    pub(crate) fn ring(&self) -> Option<&Ring> {
        match self {
            Self::Uring(uring) => Some(uring.ring()),
            Self::Threads(_) => None,
            #[cfg(feature = "sim")]
            Self::Sim(_) => None,
        }
    }

    /// Returns why there are threads instead of a ring, where there are.
    pub(crate) fn threads_reason(&self) -> Option<&ThreadsReason> {
        match self {
            Self::Threads(threads) => Some(threads.reason()),
            _ => None,
        }
    }

    /// Returns the threads, where there are some.
    pub(super) fn threads(&mut self) -> Option<&mut Threads> {
        match self {
            Self::Threads(threads) => Some(threads),
            _ => None,
        }
    }

    /// Says whether only an enter can tell if something is ready.
    #[inline]
    pub(super) fn wants_look(&self) -> bool {
        match self {
            Self::Uring(_) => false,
            Self::Threads(threads) => threads.wants_look(),
            #[cfg(feature = "sim")]
            Self::Sim(sim) => sim.wants_look(),
        }
    }

    /// Returns a descriptor of the backend's own that is readable when a turn has something to do,
    /// where it has one.
    pub(crate) fn watch(&mut self) -> Option<io::Result<OwnedFd>> {
        self.threads().map(Threads::watch)
    }

    pub(super) fn cq_entries(&self) -> u32 {
        each!(self, backend => backend.cq_entries())
    }

    /// A number that no other backend has, nor had: memory that was registered with one may
    /// outlive it.
    #[inline]
    pub(super) fn identity(&self) -> usize {
        each!(self, backend => backend.identity())
    }

    /// Says whether the submission queue is full.
    #[inline]
    pub(super) fn is_full(&mut self) -> bool {
        each!(self, backend => backend.is_full())
    }

    /// Takes a request, or answers `false` when the queue is full.
    #[inline(always)]
    pub(super) fn push(&mut self, key: OpKey, request: &Request) -> bool {
        each!(self, backend => backend.push(key, request))
    }

    /// Asks to stop an operation; completes as the key's `cancel_data`. `false` when the queue is full.
    pub(super) fn cancel(&mut self, key: OpKey) -> bool {
        each!(self, backend => backend.cancel(key))
    }

    /// Lets writes to an eventfd end a wait; completes as `KICK`. `false` when the queue is full.
    pub(super) fn arm_kick(&mut self, eventfd: RawFd) -> bool {
        each!(self, backend => backend.arm_kick(eventfd))
    }

    #[inline]
    pub(super) fn queued(&mut self) -> usize {
        each!(self, backend => backend.queued())
    }

    #[inline]
    pub(super) fn pending(&mut self) -> Pending {
        each!(self, backend => backend.pending())
    }

    /// Says whether the completion queue has overflowed, which the next enter mends.
    pub(super) fn overflowed(&mut self) -> bool {
        each!(self, backend => backend.overflowed())
    }

    pub(super) fn enter(&mut self, wait: Wait) -> io::Result<()> {
        each!(self, backend => backend.enter(wait))
    }

    /// Moves at most a batch of completions into `out`, which is empty.
    #[inline]
    pub(super) fn reap(&mut self, out: &mut Vec<Cqe>) -> usize {
        debug_assert!(out.is_empty() && out.capacity() >= REAP_BATCH);
        each!(self, backend => backend.reap(out))
    }
}

/// Makes an identity for a new backend; zero is nobody's.
pub(super) fn next_identity() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
