//! The numbers that the order goes by, and what they promise.

use super::Class;

/// How an [`Order`](super::Order) chooses; checked by [`Order::new`](super::Order::new).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The share of each class by [`Class::index`]: bytes in relation to the others', 1 to 65,536.
    pub weights: [u32; Class::COUNT],
    /// The share, on the scale of `weights`, of requests that have waited `age_after_ns`.
    pub aged_weight: u32,
    /// How long a request waits before it has a part in `aged_weight`, in nanoseconds.
    pub age_after_ns: u64,
    /// How long before its deadline a request goes ahead of the shares, in nanoseconds.
    pub slack_ns: u64,
    /// How many bytes may go ahead because of deadlines while something else waits.
    pub urgent_burst: u64,
    /// After the burst, how many bytes may go ahead for each byte of anything else; 1 or more.
    pub urgent_ratio: u32,
    /// What a request counts for at least, in bytes; 1 or more. A tiny read is not free.
    pub cost_min: u64,
    /// How many requests may be queued.
    pub len_max: u32,
}

/// The largest weight: with it, rounding moves a share by less than one part in 65,536.
pub const WEIGHT_MAX: u32 = 1 << 16;

impl Default for Policy {
    /// Ten times between neighbouring classes, as DirectStorage has it; what has waited for half a
    /// second has a sixteenth; deadlines are looked at 5 ms ahead and leave an eighth to others.
    fn default() -> Self {
        Self {
            weights: [1000, 100, 10, 1],
            aged_weight: 74,
            age_after_ns: 500_000_000,
            slack_ns: 5_000_000,
            urgent_burst: 8 << 20,
            urgent_ratio: 7,
            cost_min: 4 << 10,
            len_max: 1 << 20,
        }
    }
}

impl Policy {
    /// Returns the most bytes that go ahead of a request once it has aged.
    ///
    /// `older` are the bytes of the requests that aged before it, its own included, and `largest`
    /// is the largest request; both with [`cost_min`](Self::cost_min) for what is smaller. The
    /// promise holds whatever else is queued meanwhile, at any class and deadline, as long as
    /// [`Admit::Take`](super::Admit::Take) is the answer for the classes of those requests.
    ///
    /// Of the five lines that share (four classes, the aged) none gets ahead of the aged line by
    /// more than a request of either, each by its weight; what deadlines add is `urgent_burst`, a
    /// request, and `urgent_ratio` times the rest.
    #[must_use]
    pub fn ahead_max(&self, older: u64, largest: u64) -> u128 {
        let [older, largest] = [older, largest].map(u128::from);
        let weights: u128 = self.weights.iter().map(|&weight| u128::from(weight)).sum();
        let aged = u128::from(self.aged_weight);
        let by_weight = ((older + largest) * weights).div_ceil(aged);
        let lines = Class::COUNT as u128 + 1;
        let shared = older + by_weight + lines * largest;
        let rounding = shared / u128::from(WEIGHT_MAX) + 1;
        let shared = shared + rounding;
        shared * (u128::from(self.urgent_ratio) + 1) + u128::from(self.urgent_burst) + largest
    }

    /// What a request of `bytes` counts for.
    pub(super) fn cost(&self, bytes: u64) -> u64 {
        bytes.max(self.cost_min)
    }

    pub(super) fn check(&self) -> Result<(), PolicyError> {
        let weights = self.weights.iter().chain([&self.aged_weight]);
        for &weight in weights {
            if weight == 0 || weight > WEIGHT_MAX {
                return Err(PolicyError::Weight(weight));
            }
        }
        match self {
            Self {
                urgent_ratio: 0, ..
            } => Err(PolicyError::UrgentRatio),
            Self { cost_min: 0, .. } => Err(PolicyError::CostMin),
            Self { len_max: 0, .. } => Err(PolicyError::LenMax),
            _ => Ok(()),
        }
    }
}

/// A policy that cannot be followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PolicyError {
    /// A weight that is 0 or more than [`WEIGHT_MAX`].
    Weight(u32),
    /// `urgent_ratio` is 0: deadlines could stop for ever.
    UrgentRatio,
    /// `cost_min` is 0: requests of no bytes would be free.
    CostMin,
    /// `len_max` is 0: nothing could be queued.
    LenMax,
}

impl std::fmt::Display for PolicyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Weight(weight) => write!(f, "a weight of {weight}: it is 1 to {WEIGHT_MAX}"),
            Self::UrgentRatio => write!(f, "an urgent_ratio of 0: it is 1 or more"),
            Self::CostMin => write!(f, "a cost_min of 0: it is 1 byte or more"),
            Self::LenMax => write!(f, "a len_max of 0: nothing could be queued"),
        }
    }
}

impl std::error::Error for PolicyError {}
