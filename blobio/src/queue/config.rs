//! The limits of a queue.

use std::error::Error;
use std::fmt;

use super::limits::{Limits, LimitsError};
use super::order::{Policy, PolicyError};
use crate::plan;
use crate::traits::BlobHints;

/// Limits and options of a [`BlobQueue`](super::BlobQueue); checked when the queue is made.
///
/// What a queue takes at most: [`RECORD_LEN`](super::RECORD_LEN) bytes for each of `queued_max`
/// requests, the bytes in flight of `in_flight` in destinations that it has allocated, or
/// `begun_max` if that is more, and `merge_max` in memory of its own for merged reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueConfig {
    /// The most requests that are queued or under way; more wait in order to be taken.
    pub queued_max: u32,
    /// The longest read, in bytes; longer requests are read in pieces, between which more
    /// important ones go. A blob may say less.
    pub read_max: u32,
    /// What may be in flight, by class and in all.
    pub in_flight: Limits,
    /// How classes share and what deadlines and age do. Its `len_max` is not looked at.
    pub policy: Policy,
    /// The most bytes between two ranges that are read for nothing to merge them, where the blob
    /// says that merging pays.
    pub gap_max: u32,
    /// The longest merged read, in bytes.
    pub span_max: u32,
    /// The most that a read with gaps in it reads for each 1,000 bytes asked of it.
    pub amplification_max: u32,
    /// The most bytes of the queue's own memory for reads that several requests share; while it is
    /// used up, requests are read one by one.
    pub merge_max: u64,
    /// The most bytes in destinations of requests of more than one piece that the queue has had
    /// allocated; more such requests wait, in turn. A single one may be larger.
    pub begun_max: u64,
    /// The most requests that are planned at once.
    pub window_max: u32,
}

impl Default for QueueConfig {
    /// 65,536 requests, reads of 1 MiB, 32 MiB in flight, merged reads of 256 KiB with gaps of
    /// 4 KiB and a fifth wasted, and as much memory for them as in flight.
    fn default() -> Self {
        let plan = plan::Limits::default();
        Self {
            queued_max: 1 << 16,
            read_max: 1 << 20,
            in_flight: Limits::default(),
            policy: Policy::default(),
            gap_max: 4 << 10,
            span_max: 256 << 10,
            amplification_max: plan.amplification_max,
            merge_max: 32 << 20,
            begun_max: 64 << 20,
            window_max: 256,
        }
    }
}

impl QueueConfig {
    pub(super) fn check(&self) -> Result<(), QueueConfigError> {
        let named = [
            ("queued_max", self.queued_max),
            ("read_max", self.read_max),
            ("window_max", self.window_max),
        ];
        match named.iter().find(|(_, value)| *value == 0) {
            Some((name, _)) => Err(QueueConfigError::Zero(name)),
            None => Ok(()),
        }
    }

    /// Gives the limits of reads of a blob.
    pub(super) fn plan_limits(&self, hints: &BlobHints) -> plan::Limits {
        let bounds = &self.in_flight;
        let bytes = bounds.classes.iter().map(|class| class.bytes);
        let bytes = bytes.fold(bounds.all.bytes, u64::min);
        // A read that is larger than what may be in flight would have to wait for all others.
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        plan::Limits {
            gap_max: u64::from(self.gap_max),
            span_max: u64::from(self.span_max),
            amplification_max: self.amplification_max,
            read_max: self.read_max.min(hints.read_max).min(bytes).max(1),
            align: hints.align,
        }
    }
}

/// A configuration that no queue can work with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum QueueConfigError {
    /// The limit of this name is 0.
    Zero(&'static str),
    /// The order cannot be.
    Policy(PolicyError),
    /// A limit of what is in flight is 0.
    Limits(LimitsError),
}

impl fmt::Display for QueueConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zero(name) => write!(f, "{name} of 0: it is 1 or more"),
            Self::Policy(error) => write!(f, "policy: {error}"),
            Self::Limits(error) => write!(f, "in_flight: {error}"),
        }
    }
}

impl Error for QueueConfigError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Zero(_) => None,
            Self::Policy(error) => Some(error),
            Self::Limits(error) => Some(error),
        }
    }
}

impl From<PolicyError> for QueueConfigError {
    fn from(error: PolicyError) -> Self {
        Self::Policy(error)
    }
}

impl From<LimitsError> for QueueConfigError {
    fn from(error: LimitsError) -> Self {
        Self::Limits(error)
    }
}
