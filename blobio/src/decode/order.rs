//! Which job is next. Pure.

use crate::queue::Class;

/// Every so many jobs the oldest one is next, whatever its class, so that none starves.
pub(super) const OLDEST_EVERY: u64 = 16;

/// Chooses the class to take a job from, by its index, for the `turn`th job taken, given the age
/// mark of the oldest job of each: the lower, the older.
pub(super) fn next(oldest: [Option<u64>; Class::COUNT], turn: u64) -> Option<usize> {
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
