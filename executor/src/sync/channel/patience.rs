//! Whether a receiver that has found nothing stays for a moment, and looks again before it waits.

use std::hint::spin_loop;

/// How long: some 100 ns. A receiver that is as fast as its sender would else take each value alone, at the
/// price of a line of the cache to and fro, and of a wake; after that it finds several.
const PAUSES: u32 = 10;

/// A sender on the receiver's own core does nothing meanwhile, and one that sends now and then is not
/// ready yet: after so many moments in vain the receiver waits without.
const MISSES: u8 = 4;

/// But for one time in so many, in case things have changed.
const TRIES_AGAIN: u8 = 32;

/// Remembers how often it was of no use.
#[derive(Debug, Default)]
pub(super) struct Patience {
    /// In a row; from [`MISSES`] on how often it was not tried since, too.
    misses: u8,
}

impl Patience {
    /// Stays for a moment, if it has been of use, and says whether there is something then.
    #[inline]
    pub(super) fn stay(&mut self, is_ready: impl FnOnce() -> bool) -> bool {
        self.misses += 1;
        if self.misses > MISSES {
            if self.misses < MISSES + TRIES_AGAIN {
                return false;
            }
            self.misses = MISSES;
        }
        for _ in 0..PAUSES {
            spin_loop();
        }
        let came = is_ready();
        if came {
            self.misses = 0;
        }
        came
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns how often it looked in `times` times.
    fn looks(patience: &mut Patience, times: usize, is_ready: bool) -> usize {
        let mut looks = 0;
        for _ in 0..times {
            let came = patience.stay(|| {
                looks += 1;
                is_ready
            });
            assert!(is_ready || !came);
        }
        looks
    }

    #[test]
    fn what_is_of_use_is_done_each_time() {
        assert_eq!(looks(&mut Patience::default(), 1_000, true), 1_000);
    }

    #[test]
    fn what_is_of_no_use_is_done_now_and_then() {
        let mut patience = Patience::default();
        let (misses, again) = (usize::from(MISSES), usize::from(TRIES_AGAIN));
        assert_eq!(
            looks(&mut patience, misses + 10 * again, false),
            misses + 10
        );
        // And each time again, once it was of use.
        while looks(&mut patience, 1, true) == 0 {}
        assert_eq!(looks(&mut patience, misses, false), misses);
        assert_eq!(looks(&mut patience, 1, false), 0);
    }
}
