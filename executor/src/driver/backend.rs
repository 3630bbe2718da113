//! The machinery that requests run on: one of a closed set, chosen once.

use std::io;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::config::{BackendChoice, Config, REAP_BATCH};
use crate::error::SetupError;
use crate::op::Request;
use crate::op::slab::OpKey;
use crate::ring::{Cqe, Pending, Ring, Rung, Wait};

#[cfg(feature = "sim")]
use super::sim::Sim;
use super::uring::Uring;

/// What operations run on.
#[derive(Debug)]
#[cfg_attr(
    feature = "sim",
    allow(
        clippy::large_enum_variant,
        reason = "one per worker, and never moved again"
    )
)]
pub(crate) enum Backend {
    Uring(Uring),
    #[cfg(feature = "sim")]
    Sim(Sim),
}

macro_rules! each {
    ($self:expr, $backend:ident => $call:expr) => {
        match $self {
            Backend::Uring($backend) => $call,
            #[cfg(feature = "sim")]
            Backend::Sim($backend) => $call,
        }
    };
}

impl Backend {
    pub(super) fn new(config: &Config) -> Result<Self, SetupError> {
        match config.backend {
            BackendChoice::Auto | BackendChoice::Uring => {
                Ring::open(config).map(Uring::new).map(Self::Uring)
            }
            #[cfg(feature = "sim")]
            BackendChoice::Sim(sim) => Ok(Self::Sim(Sim::new(sim, config))),
        }
    }

    /// Returns the rung of the setup ladder, where there is a ring.
    pub(crate) fn rung(&self) -> Option<Rung> {
        match self {
            Self::Uring(uring) => Some(uring.ring().rung()),
            #[cfg(feature = "sim")]
            Self::Sim(_) => None,
        }
    }

    /// Returns the ring, where there is one.
    pub(crate) fn ring(&self) -> Option<&Ring> {
        match self {
            Self::Uring(uring) => Some(uring.ring()),
            #[cfg(feature = "sim")]
            Self::Sim(_) => None,
        }
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
    #[inline]
    pub(super) fn push(&mut self, key: OpKey, request: &Request) -> bool {
        each!(self, backend => backend.push(key, request))
    }

    /// Asks to stop an operation; completes as `CANCEL`. `false` when the queue is full.
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
