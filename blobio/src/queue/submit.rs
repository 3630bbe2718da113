//! How a read is issued: from the cache on the spot, or handed off. Pure.
//!
//! A copy out of the page cache, and the way to the device, take time of the core that submits;
//! what is handed off takes a thread of the kernel and a way there and back. So a short read that
//! is likely cached is tried without waiting and handed off when it is refused, and one that is
//! likely not, or long, is handed off at once. Those that come in order are issued plainly, unless they are
//! long: the kernel reads ahead for them, and waits for the rest without a thread. Whether reads of a
//! blob are likely cached is learnt from those that were tried: now and then one is tried of a blob that
//! is not.
//!
//! The numbers are chosen by the measurement `adaptive` of `benches`.

use crate::traits::{BlobHints, ReadHow};

/// Longest read that is tried on the spot, or issued plainly where reads come in order, in bytes: the copy
/// holds the core for 30 to 80 us; beside cold ones in order a timer is some 200 us late, as it is beside
/// the kernel's helpers. A read that is handed off takes two switches of the core, about 10 us.
const SPOT_LEN_MAX: usize = 256 << 10;
/// Longest request that shares a read with its neighbours because the blob is not cached, in bytes:
/// longer ones are read as fast by themselves.
pub(super) const MERGED_LEN_MAX: usize = 16 << 10;
/// Reads of a thousand that are cached, from which on one is tried. A try that is refused and handed
/// off takes the core about twice as long as one that is handed off at once, and a cached read that
/// is handed off takes a thread twice as long as one that is not.
const LIKELY: u16 = 500;
/// Reads of a thousand that are cached up to which merging begins, and from which on it ends.
const COLD: u16 = 250;
const WARM: u16 = 750;
/// Reads that are handed off of a blob that is not likely cached before one is tried again.
const PROBE_PERIOD: u8 = 16;
/// How fast the estimate forgets: the weight of one read is a part in 8.
const WEIGHT: i32 = 8;
/// Every one of a thousand.
const ALL: u16 = 1000;

/// Furthest that a request may begin behind the end of the one that came before it to be in order, in
/// bytes: what a kernel reads ahead.
const AHEAD_MAX: u64 = 128 << 10;
/// Requests of a thousand that are in order from which on readahead serves a blob.
const IN_ORDER: u16 = 500;

/// In which order the requests of a blob come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Arrivals {
    /// Where the last one ends.
    end: u64,
    /// How many of a thousand began about where the one before ended, the later ones weighing more.
    in_order: u16,
}

impl Arrivals {
    /// Of a blob of which nothing is known requests are taken to come in order.
    pub(super) const fn new() -> Self {
        Self {
            end: 0,
            in_order: ALL,
        }
    }

    #[inline]
    pub(super) fn then(self, pos: u64, len: usize) -> Self {
        let follows = pos.wrapping_sub(self.end) <= AHEAD_MAX;
        Self {
            end: pos.wrapping_add(len as u64),
            in_order: average(self.in_order, follows),
        }
    }

    /// Says whether they come from all over the blob, so that nobody reads ahead for them.
    pub(super) fn are_scattered(self) -> bool {
        self.in_order < IN_ORDER
    }
}

/// Moves the average of a thousand towards what was found now.
#[inline]
fn average(known: u16, found: bool) -> u16 {
    let (known, found) = (i32::from(known), if found { i32::from(ALL) } else { 0 });
    // Away from zero, so that it gets to both ends.
    let step = (found - known + (found - known).signum() * (WEIGHT - 1)) / WEIGHT;
    u16::try_from(known + step).unwrap_or(0).min(ALL)
}

/// What reads of a blob have found so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cached {
    /// How many of a thousand reads that were tried were cached, the later ones weighing more.
    hits: u16,
    /// Reads to hand off before the next one is tried, where `hits` is low.
    until_probe: u8,
    /// Whether there is a cache that a read may be refused for.
    has_cache: bool,
}

impl Cached {
    /// Begins with a blob that says this of itself. Reads past the cache are issued as it sees fit.
    pub(super) fn of(hints: BlobHints) -> Self {
        Self {
            has_cache: hints.device.is_none(),
            ..Self::default()
        }
    }

    fn is_likely(self) -> bool {
        self.hits >= LIKELY
    }

    /// Says whether short reads are to be merged that are not merged so far: next to none was
    /// cached, so nobody reads ahead for them.
    pub(super) fn is_cold(self) -> bool {
        self.hits <= COLD
    }

    /// Says whether merging is to end: it costs a copy.
    pub(super) fn is_warm(self) -> bool {
        self.hits >= WARM
    }
}

impl Default for Cached {
    /// Of a blob of which nothing is known everything is taken to be cached: a few refusals tell.
    fn default() -> Self {
        Self {
            hits: ALL,
            until_probe: 0,
            has_cache: true,
        }
    }
}

/// Says how to issue a read of `len` bytes, where reads come in order or not.
#[inline]
pub(super) fn first(cached: Cached, in_order: bool, len: usize) -> ReadHow {
    if !cached.has_cache || in_order && len <= SPOT_LEN_MAX {
        ReadHow::Auto
    } else if len > SPOT_LEN_MAX {
        ReadHow::Async
    } else if cached.is_likely() || cached.until_probe == 0 {
        ReadHow::NoWait
    } else {
        ReadHow::Async
    }
}

/// Says how to issue a read again that [`ReadHow::NoWait`] was refused for.
pub(super) fn after_refusal(_cached: Cached, _len: usize) -> ReadHow {
    ReadHow::Async
}

/// Learns from a read that was issued as `how` and was refused, or not.
#[inline]
pub(super) fn learn(cached: Cached, how: ReadHow, refused: bool) -> Cached {
    match how {
        // As nearly all reads of what is cached end: there is nothing new in it.
        ReadHow::NoWait if !refused && cached.hits == ALL && cached.until_probe == 0 => cached,
        ReadHow::NoWait => {
            let hits = average(cached.hits, !refused);
            // One that was cached is no accident: the next ones tell.
            let until_probe = if refused { PROBE_PERIOD } else { 0 };
            Cached {
                hits,
                until_probe,
                ..cached
            }
        }
        // What is handed off does not tell what it found.
        ReadHow::Async => Cached {
            until_probe: cached.until_probe.saturating_sub(1),
            ..cached
        },
        ReadHow::Auto | ReadHow::Inline => cached,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::traits::DeviceId;

    const SHORT: usize = 4096;

    /// Issues reads of a blob, `is_cached` or not, and gives how many were tried and refused.
    fn run(
        mut cached: Cached,
        reads: u32,
        mut is_cached: impl FnMut() -> bool,
    ) -> (Cached, u32, u32) {
        let (mut tried, mut refusals) = (0, 0);
        for _ in 0..reads {
            let how = first(cached, false, SHORT);
            let refused = how == ReadHow::NoWait && !is_cached();
            tried += u32::from(how == ReadHow::NoWait);
            refusals += u32::from(refused);
            cached = learn(cached, how, refused);
            if refused {
                let how = after_refusal(cached, SHORT);
                assert_eq!(how, ReadHow::Async);
                cached = learn(cached, how, false);
            }
        }
        (cached, tried, refusals)
    }

    #[test]
    fn cached_reads_are_served_on_the_spot_and_long_ones_are_not() {
        let (cached, tried, _) = run(Cached::default(), 1000, || true);
        assert_eq!((tried, cached), (1000, Cached::default()));
        assert_eq!(first(cached, false, SPOT_LEN_MAX), ReadHow::NoWait);
        assert_eq!(first(cached, false, SPOT_LEN_MAX + 1), ReadHow::Async);
    }

    #[test]
    fn a_cold_blob_is_found_out_by_a_few_refusals_and_tried_now_and_then() {
        let (cold, _, refusals) = run(Cached::default(), 6, || false);
        assert_eq!(refusals, 6);
        assert_eq!(first(cold, false, SHORT), ReadHow::Async);
        let (_, tried, refusals) = run(cold, 1600, || false);
        assert_eq!(tried, refusals);
        assert!((90..=110).contains(&tried), "{tried} of 1600 were tried");
    }

    #[test]
    fn a_blob_that_came_into_the_cache_is_found_out() {
        let (cold, ..) = run(Cached::default(), 500, || false);
        let (warm, tried, _) = run(cold, 40, || true);
        assert!(tried >= 40 - u32::from(PROBE_PERIOD), "{tried} were tried");
        assert!(warm.is_likely());
    }

    #[test]
    fn reads_past_the_cache_are_issued_as_their_blob_sees_fit() {
        let mut hints = BlobHints::new();
        assert_eq!(Cached::of(hints), Cached::default());
        hints.device = Some(DeviceId { major: 8, minor: 0 });
        let cached = Cached::of(hints);
        for len in [1, SHORT, 1 << 20] {
            for in_order in [false, true] {
                assert_eq!(first(cached, in_order, len), ReadHow::Auto);
            }
        }
        assert_eq!(learn(cached, ReadHow::Auto, false), cached);
    }

    #[test]
    fn short_reads_in_order_are_issued_plainly_whatever_was_refused() {
        let (cold, ..) = run(Cached::default(), 500, || false);
        for cached in [Cached::default(), cold] {
            assert_eq!(first(cached, true, SPOT_LEN_MAX), ReadHow::Auto);
            let longer = SPOT_LEN_MAX + 1;
            assert_eq!(first(cached, true, longer), first(cached, false, longer));
        }
    }

    #[test]
    fn requests_are_in_order_or_scattered_as_most_of_the_last_ones_were() {
        let mut arrivals = Arrivals::new();
        for place in 0..100 {
            arrivals = arrivals.then(place * 5_000, 4_096);
            assert!(!arrivals.are_scattered());
        }
        for place in [90, 10, 70, 30, 60, 20] {
            arrivals = arrivals.then(place << 20, 4_096);
        }
        assert!(arrivals.are_scattered());
        // Nothing of it overflows.
        arrivals = arrivals.then(u64::MAX, usize::MAX).then(0, 0);
        for place in 0..10 {
            arrivals = arrivals.then(place * 4_096, 4_096);
        }
        assert!(!arrivals.are_scattered());
    }

    proptest! {
        #[test]
        fn the_estimate_stays_a_part_of_all_and_gets_to_both_ends(
            outcomes in proptest::collection::vec(any::<(u8, bool)>(), 0..300),
        ) {
            let mut cached = Cached::default();
            for (how, refused) in outcomes {
                let how = [ReadHow::NoWait, ReadHow::Async, ReadHow::Auto][usize::from(how % 3)];
                cached = learn(cached, how, refused);
                prop_assert!(cached.hits <= ALL && cached.until_probe <= PROBE_PERIOD);
            }
            let mut ends = [cached; 2];
            for _ in 0..100 {
                ends[0] = learn(ends[0], ReadHow::NoWait, true);
                ends[1] = learn(ends[1], ReadHow::NoWait, false);
            }
            prop_assert_eq!(ends.map(|end| end.hits), [0, ALL]);
        }
    }
}
