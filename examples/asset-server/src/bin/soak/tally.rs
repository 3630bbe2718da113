//! What was counted, by all clients together.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The most messages that are kept of what went wrong.
const MESSAGES_MAX: usize = 20;

/// Buckets for each doubling of a time.
const SUB: u64 = 32;
const SUB_BITS: u32 = SUB.ilog2();
/// Enough for 2^40 microseconds.
const BUCKETS: usize = 32 * 37;

/// All counts of a run.
pub(crate) struct Tally {
    pub(crate) honest: Counts,
    pub(crate) hostile: Counts,
    /// Of honest requests, from the first byte sent to the last one received.
    pub(crate) latency: Latency,
    /// Answers that were not what they should have been, byte by byte.
    pub(crate) wrong: AtomicU64,
    /// Honest requests that had no answer, or none that was expected.
    pub(crate) failed: AtomicU64,
    messages: Mutex<Vec<String>>,
    /// How often each attack was carried out.
    attacks: Mutex<BTreeMap<&'static str, u64>>,
}

/// Answers, by status.
pub(crate) struct Counts {
    statuses: Box<[AtomicU64]>,
    pub(crate) received: AtomicU64,
}

/// Times in microseconds, each exact to a thirty-second part.
pub(crate) struct Latency(Box<[AtomicU64]>);

impl Default for Tally {
    fn default() -> Self {
        Self {
            honest: Counts::default(),
            hostile: Counts::default(),
            latency: Latency(zeros(BUCKETS)),
            wrong: AtomicU64::default(),
            failed: AtomicU64::default(),
            messages: Mutex::default(),
            attacks: Mutex::default(),
        }
    }
}

impl Tally {
    /// Counts wrong bytes, and keeps what was wrong with them.
    pub(crate) fn wrong(&self, message: String) {
        self.wrong.fetch_add(1, Ordering::Relaxed);
        self.keep(format!("wrong: {message}"));
    }

    /// Counts an honest request that failed, and keeps why.
    pub(crate) fn failed(&self, message: String) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        self.keep(format!("failed: {message}"));
    }

    /// Counts a round of an attack.
    pub(crate) fn attacked(&self, name: &'static str) {
        let mut attacks = self.attacks.lock().unwrap_or_else(|held| held.into_inner());
        *attacks.entry(name).or_default() += 1;
    }

    pub(crate) fn attacks(&self) -> BTreeMap<&'static str, u64> {
        let attacks = self.attacks.lock().unwrap_or_else(|held| held.into_inner());
        attacks.clone()
    }

    pub(crate) fn messages(&self) -> Vec<String> {
        let messages = self
            .messages
            .lock()
            .unwrap_or_else(|held| held.into_inner());
        messages.clone()
    }

    fn keep(&self, message: String) {
        let mut messages = self
            .messages
            .lock()
            .unwrap_or_else(|held| held.into_inner());
        if messages.len() < MESSAGES_MAX {
            messages.push(message);
        }
    }
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            statuses: zeros(600),
            received: AtomicU64::default(),
        }
    }
}

impl Counts {
    pub(crate) fn answered(&self, status: u16, body_len: usize) {
        let body_len = u64::try_from(body_len).expect("a length");
        self.received.fetch_add(body_len, Ordering::Relaxed);
        if let Some(count) = self.statuses.get(usize::from(status)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Gives the statuses that there were, and how often.
    pub(crate) fn statuses(&self) -> Vec<(usize, u64)> {
        let counts = self
            .statuses
            .iter()
            .map(|count| count.load(Ordering::Relaxed));
        counts.enumerate().filter(|&(_, count)| count > 0).collect()
    }

    pub(crate) fn total(&self) -> u64 {
        self.statuses().iter().map(|&(_, count)| count).sum()
    }
}

impl Latency {
    pub(crate) fn add(&self, time: Duration) {
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.0[bucket(us)].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn clear(&self) {
        self.0
            .iter()
            .for_each(|count| count.store(0, Ordering::Relaxed));
    }

    pub(crate) fn counts(&self) -> Vec<u64> {
        self.0
            .iter()
            .map(|count| count.load(Ordering::Relaxed))
            .collect()
    }
}

/// Gives the time that a share of those counted was within; zero where none was.
pub(crate) fn quantile(counts: &[u64], share: f64) -> Duration {
    let total: u64 = counts.iter().sum();
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a count, to the next whole"
    )]
    let wanted = (total as f64 * share).ceil() as u64;
    let mut seen = 0;
    for (bucket, count) in counts.iter().enumerate() {
        seen += count;
        if seen >= wanted && *count > 0 {
            return Duration::from_micros(bucket_end(bucket));
        }
    }
    Duration::ZERO
}

fn zeros(count: usize) -> Box<[AtomicU64]> {
    (0..count).map(|_| AtomicU64::default()).collect()
}

fn bucket(us: u64) -> usize {
    let shift = us.max(1).ilog2().saturating_sub(SUB_BITS);
    let index = u64::from(shift) * SUB + (us >> shift);
    usize::try_from(index).map_or(BUCKETS - 1, |index| index.min(BUCKETS - 1))
}

/// The longest time in a bucket.
fn bucket_end(bucket: usize) -> u64 {
    let bucket = u64::try_from(bucket).expect("a small number");
    let shift = (bucket / SUB).saturating_sub(1);
    let sub = bucket - shift * SUB;
    ((sub + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::{BUCKETS, bucket, bucket_end, quantile};
    use std::time::Duration;

    #[test]
    fn times_lie_in_their_buckets() {
        let mut last = 0;
        for us in (0..5000).chain([1 << 20, (1 << 30) + 1, 1 << 40]) {
            let index = bucket(us);
            assert!(index >= last && index < BUCKETS, "{us}");
            assert!(bucket_end(index) >= us, "{us}");
            assert!(
                bucket_end(index) <= us + us / 32,
                "{us}: {}",
                bucket_end(index)
            );
            last = index;
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_count() {
        let mut counts = vec![0; BUCKETS];
        assert_eq!(quantile(&counts, 0.5), Duration::ZERO);
        for us in 1..=100 {
            counts[bucket(us)] += 1;
        }
        assert_eq!(quantile(&counts, 0.1), Duration::from_micros(10));
        assert!((99..=101).contains(&quantile(&counts, 0.99).as_micros()));
        assert!((100..=103).contains(&quantile(&counts, 1.0).as_micros()));
    }
}
