//! Whether it is worth asking the page cache first: pure.

/// Reads that are not tried, at most, after one that was tried in vain.
const SKIPPED_MAX: u8 = 63;

/// What became of the reads of one file that were tried there and then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hits {
    /// Whether its reads may be tried at all.
    may: bool,
    /// Reads that are not tried, from now on.
    skip: u8,
    /// How many were not tried after the last one in vain.
    skipped: u8,
}

impl Hits {
    /// For a file whose reads can be tried.
    pub(crate) const fn new() -> Self {
        Self {
            may: true,
            skip: 0,
            skipped: 0,
        }
    }

    /// For a descriptor that cannot be asked, or must not.
    pub(crate) const fn never() -> Self {
        Self {
            may: false,
            ..Self::new()
        }
    }

    /// Says whether the next read is tried.
    #[inline]
    #[must_use]
    pub(crate) fn next(self) -> (bool, Self) {
        match self.skip {
            0 => (self.may, self),
            skip => (
                false,
                Self {
                    skip: skip - 1,
                    ..self
                },
            ),
        }
    }

    /// One was there.
    #[inline]
    #[must_use]
    pub(crate) fn hit(self) -> Self {
        Self { skipped: 0, ..self }
    }

    /// One was not: as many as last time, twice, and one more, are not tried.
    #[must_use]
    pub(crate) fn missed(self) -> Self {
        let skip = (2 * self.skipped + 1).min(SKIPPED_MAX);
        Self {
            skip,
            skipped: skip,
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts the tries among reads, of which `cached` says what is there.
    fn tries(mut hits: Hits, reads: usize, cached: impl Fn(usize) -> bool) -> usize {
        let mut count = 0;
        for read in 0..reads {
            let (tried, next) = hits.next();
            count += usize::from(tried);
            hits = match (tried, cached(read)) {
                (false, _) => next,
                (true, true) => next.hit(),
                (true, false) => next.missed(),
            };
        }
        count
    }

    #[test]
    fn what_is_cached_is_always_tried() {
        assert_eq!(tries(Hits::new(), 1000, |_| true), 1000);
    }

    #[test]
    fn what_cannot_be_asked_never_is() {
        assert_eq!(tries(Hits::never(), 1000, |_| true), 0);
    }

    #[test]
    fn what_is_never_cached_is_tried_ever_more_seldom() {
        assert_eq!(tries(Hits::new(), 1, |_| false), 1);
        // After 1, 3, 7, 15, 31, 63, 63, ... that are not.
        assert_eq!(tries(Hits::new(), 127, |_| false), 7);
        assert_eq!(tries(Hits::new(), 64_000, |_| false), 1005);
    }

    #[test]
    fn one_that_is_there_brings_the_tries_back() {
        let mut hits = Hits::new();
        for _ in 0..20 {
            hits = hits.missed();
        }
        assert_eq!(tries(hits, 64, |_| true), 1);
        assert_eq!(tries(hits, 1063, |_| true), 1000);
        // One missed in between costs one.
        assert_eq!(tries(Hits::new(), 100, |read| read % 50 != 49), 99);
    }
}
