//! Which job is next. Pure.

/// How much a job matters; the order is that of the queue's classes.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Priority {
    /// A frame waits for it.
    Realtime,
    /// Somebody waits for it.
    High,
    /// The usual.
    #[default]
    Normal,
    /// Nobody waits for it yet.
    Low,
}

/// The number of priorities.
pub(super) const PRIORITIES: usize = 4;

/// Every so many jobs the oldest one is next, whatever its priority, so that none starves.
pub(super) const OLDEST_EVERY: u64 = 16;

impl Priority {
    pub(super) const fn index(self) -> usize {
        self as usize
    }
}

/// Chooses the priority to take a job from, for the `turn`th job taken, given the age mark of the
/// oldest job of each: the lower, the older.
pub(super) fn next(oldest: [Option<u64>; PRIORITIES], turn: u64) -> Option<usize> {
    let there = oldest
        .iter()
        .enumerate()
        .filter_map(|(index, mark)| Some((index, (*mark)?)));
    let chosen = if turn % OLDEST_EVERY == OLDEST_EVERY - 1 {
        there.min_by_key(|(_, mark)| *mark)
    } else {
        there.min_by_key(|(index, _)| *index)
    };
    chosen.map(|(index, _)| index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_is_next() {
        assert_eq!(next([None; 4], 0), None);
        assert_eq!(next([None, Some(9), Some(1), None], 0), Some(1));
        assert_eq!(next([Some(20), Some(9), Some(1), None], 14), Some(0));
    }

    #[test]
    fn now_and_then_the_oldest_is() {
        let oldest = [Some(20), Some(9), None, Some(3)];
        let lows = (0..160).filter(|&turn| next(oldest, turn) == Some(3));
        assert_eq!(lows.count(), 10);
        assert_eq!(next([None; 4], OLDEST_EVERY - 1), None);
    }
}
