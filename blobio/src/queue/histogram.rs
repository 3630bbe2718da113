//! How long things took: counts in buckets whose width grows with the value.
//!
//! Values up to 63 have a bucket each; above, every power of two is divided into 32 buckets, so a
//! bucket is no wider than a 32nd of what it holds. Recording is a shift, an index and an add.
//!
//! ```
//! use blobio::queue::histogram::{Histogram, P99};
//!
//! let mut latency_ns = Histogram::new();
//! for micros in 1..=1000 {
//!     latency_ns.record(micros * 1000);
//! }
//! let p99 = latency_ns.quantile(P99).expect("values were recorded");
//! assert!((990_000..=990_000 * 33 / 32).contains(&p99));
//! ```

use std::fmt;

/// The median, for [`Histogram::quantile`].
pub const P50: u32 = 500_000;
/// The 90th percentile.
pub const P90: u32 = 900_000;
/// The 99th percentile.
pub const P99: u32 = 990_000;
/// The 99.9th percentile.
pub const P999: u32 = 999_000;

/// Each power of two has 2^5 buckets.
const PART_BITS: u32 = 5;
const PARTS: usize = 1 << PART_BITS;
/// What does not fit in 42 bits counts in the last bucket.
const VALUE_BITS: u32 = 42;
const VALUE_MAX: u64 = (1 << VALUE_BITS) - 1;
const BUCKETS: usize = PARTS * (VALUE_BITS - PART_BITS + 1) as usize;

/// Counts of values, for quantiles. Its size is fixed, 9.6 KiB, and it never allocates.
#[derive(Clone)]
pub struct Histogram {
    counts: [u64; BUCKETS],
    count: u64,
    sum: u128,
    min: u64,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

impl Histogram {
    /// Makes an empty histogram.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            counts: [0; BUCKETS],
            count: 0,
            sum: 0,
            min: u64::MAX,
            max: 0,
        }
    }

    /// Counts a value.
    #[inline]
    pub fn record(&mut self, value: u64) {
        self.counts[bucket_of(value)] += 1;
        self.count += 1;
        self.sum += u128::from(value);
        self.min = self.min.min(value);
        self.max = self.max.max(value);
    }

    /// Returns how many values were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Returns the sum of all values, exactly.
    #[must_use]
    pub fn sum(&self) -> u128 {
        self.sum
    }

    /// Returns the mean, rounded down; `None` of no values.
    #[must_use]
    pub fn mean(&self) -> Option<u64> {
        let mean = self.sum.checked_div(u128::from(self.count))?;
        u64::try_from(mean).ok()
    }

    /// Returns the least value, exactly; `None` of no values.
    #[must_use]
    pub fn min(&self) -> Option<u64> {
        (self.count > 0).then_some(self.min)
    }

    /// Returns the largest value, exactly; `None` of no values.
    #[must_use]
    pub fn max(&self) -> Option<u64> {
        (self.count > 0).then_some(self.max)
    }

    /// Returns the value below or at which `per_million` of all values lie; `None` of no values.
    ///
    /// It is never less than the true one and exceeds it by no more than a 32nd (3.2 %); values
    /// from 2^42 - 2^36 on (72 minutes of nanoseconds) count as the largest. Of a million it is
    /// [`max`](Self::max), which is exact.
    #[must_use]
    pub fn quantile(&self, per_million: u32) -> Option<u64> {
        let of = u128::from(per_million.min(1_000_000));
        let rank = (u128::from(self.count) * of).div_ceil(1_000_000).max(1);
        let mut seen = 0;
        for (bucket, &count) in self.counts.iter().enumerate() {
            seen += u128::from(count);
            if seen >= rank {
                let last = if bucket == BUCKETS - 1 {
                    u64::MAX
                } else {
                    last_of(bucket)
                };
                return Some(last.min(self.max));
            }
        }
        None
    }

    /// Adds the values of another histogram.
    pub fn merge(&mut self, other: &Self) {
        for (count, other) in self.counts.iter_mut().zip(&other.counts) {
            *count += other;
        }
        self.count += other.count;
        self.sum += other.sum;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }

    /// Forgets all values.
    pub fn clear(&mut self) {
        *self = Self::new();
    }

    /// Returns the buckets that are not empty: the largest value that each holds, and its count.
    ///
    /// What expositions such as Prometheus's are made of. The last bucket holds all from 2^42 - 2^36.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> {
        let counts = self.counts.iter().enumerate();
        counts
            .filter(|&(_, &count)| count > 0)
            .map(|(bucket, &count)| (last_of(bucket), count))
    }
}

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Histogram")
            .field("count", &self.count)
            .field("min", &self.min())
            .field("p50", &self.quantile(P50))
            .field("p99", &self.quantile(P99))
            .field("max", &self.max())
            .finish_non_exhaustive()
    }
}

/// The bucket of a value. A value of `n` bits keeps its leading 6: the first is always set, so it
/// and the number of bits dropped make a run of buckets without holes.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "it is less than BUCKETS")]
const fn bucket_of(value: u64) -> usize {
    let value = if value > VALUE_MAX { VALUE_MAX } else { value };
    let dropped = (value | (PARTS as u64 - 1))
        .ilog2()
        .saturating_sub(PART_BITS);
    ((dropped as u64 * PARTS as u64) + (value >> dropped)) as usize
}

/// The largest value of a bucket.
const fn last_of(bucket: usize) -> u64 {
    let dropped = (bucket / PARTS).saturating_sub(1);
    let kept = (bucket - dropped * PARTS) as u64;
    ((kept + 1) << dropped) - 1
}

const _: () = assert!(bucket_of(u64::MAX) == BUCKETS - 1);
const _: () = assert!(last_of(BUCKETS - 1) == VALUE_MAX);
const _: () = assert!(size_of::<Histogram>() <= 10 << 10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_buckets_are_a_partition() {
        let mut first = 0;
        for bucket in 0..BUCKETS {
            let last = last_of(bucket);
            assert_eq!((bucket_of(first), bucket_of(last)), (bucket, bucket));
            let width = last - first + 1;
            assert!(width == 1 || width * 32 <= first, "{first}..={last}");
            first = last + 1;
        }
        assert_eq!(first, VALUE_MAX + 1);
    }

    #[test]
    fn quantiles_are_within_the_error_that_is_stated() {
        let mut histogram = Histogram::new();
        let mut values = Vec::new();
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        for round in 0..20_000 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let value = (state >> 22) >> (round % 42);
            values.push(value);
            histogram.record(value);
        }
        values.sort_unstable();
        for per_million in [0, 1, 50, 100_000, P50, P90, P99, P999, 999_999, 1_000_000] {
            let rank = (values.len() * per_million as usize)
                .div_ceil(1_000_000)
                .max(1);
            let exact = values[rank - 1];
            let got = histogram.quantile(per_million).unwrap();
            assert!(got >= exact, "{per_million}: {got} < {exact}");
            assert!(
                got - exact <= exact / 32,
                "{per_million}: {got} for {exact}"
            );
        }
        let sum: u128 = values.iter().copied().map(u128::from).sum();
        assert_eq!(histogram.sum(), sum);
        assert_eq!(histogram.mean(), u64::try_from(sum / 20_000).ok());
        assert_eq!(histogram.min(), values.first().copied());
        assert_eq!(histogram.quantile(u32::MAX), histogram.max());
    }

    #[test]
    fn of_no_values_there_is_no_answer() {
        let mut histogram = Histogram::default();
        histogram.record(7);
        histogram.clear();
        assert_eq!(histogram.quantile(P50), None);
        assert_eq!(
            (histogram.min(), histogram.max(), histogram.mean()),
            (None, None, None)
        );
        assert_eq!((histogram.count(), histogram.buckets().count()), (0, 0));
    }

    #[test]
    fn the_largest_values_count_as_the_largest() {
        let mut histogram = Histogram::new();
        histogram.record(u64::MAX);
        histogram.record(1 << 50);
        histogram.record(3);
        assert_eq!(histogram.quantile(P50), Some(u64::MAX));
        assert_eq!(histogram.quantile(1), Some(3));
        assert_eq!(
            histogram.mean(),
            u64::try_from((u128::from(u64::MAX) + (1 << 50) + 3) / 3).ok()
        );
        assert!(histogram.buckets().eq([(3, 1), (VALUE_MAX, 2)]));
    }

    #[test]
    fn two_merged_are_one_of_all_values() {
        let [mut left, mut right, mut all] = [const { Histogram::new() }; 3];
        for value in 0..1000 {
            let one = if value % 3 == 0 {
                &mut left
            } else {
                &mut right
            };
            one.record(value * value);
            all.record(value * value);
        }
        left.merge(&right);
        assert!(left.buckets().eq(all.buckets()));
        assert_eq!((left.count(), left.sum()), (all.count(), all.sum()));
        assert_eq!((left.min(), left.max()), (all.min(), all.max()));
        assert_eq!(format!("{left:?}"), format!("{all:?}"));
    }
}
