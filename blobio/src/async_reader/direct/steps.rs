//! What to read next, and how, so that direct I/O's alignment is kept: pure.

/// Longest read that goes through a buffer of its own: up to here one more copy costs less than one
/// more request to the device.
pub(super) const BOUNCE_LEN_MAX: usize = 128 << 10;
/// Longest read straight into the destination.
pub(super) const DIRECT_LEN_MAX: usize = 1 << 20;

/// What direct I/O on a file must be multiples of, in bytes; powers of two, `offset` at most
/// [`DIRECT_LEN_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Alignment {
    /// Addresses of memory.
    pub(super) memory: usize,
    /// Positions and lengths.
    pub(super) offset: usize,
}

/// What is left to read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Left {
    /// From where.
    pub(super) pos: u64,
    /// How many bytes; not 0.
    pub(super) len: usize,
    /// The address of the destination.
    pub(super) addr: usize,
    /// How many bytes may be written there, `len` or more.
    pub(super) room: usize,
}

/// One read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Of `len` bytes straight into the destination; more than is left where there is room.
    Direct { len: usize },
    /// Of `span` bytes from `start` into another buffer; `take` bytes behind the first `skip` are
    /// copied from there.
    Bounce {
        start: u64,
        span: usize,
        skip: usize,
        take: usize,
    },
}

/// Gives the next read of `left`.
pub(super) fn next(align: Alignment, left: Left) -> Step {
    let unit = align.offset;
    let skip = misalignment(left.pos, unit);
    let span = (skip + left.len).next_multiple_of(unit);
    let start = left.pos - skip as u64;
    let bounce_max = BOUNCE_LEN_MAX.max(unit);
    let bounce = |span: usize, take: usize| Step::Bounce {
        start,
        span,
        skip,
        take,
    };
    if skip == 0 && left.addr.is_multiple_of(align.memory) {
        let body = left.len - left.len % unit;
        if span <= left.room.min(DIRECT_LEN_MAX) {
            return Step::Direct { len: span };
        }
        // An end that is not aligned takes a read of its own, unless one bounce does for all.
        if body > 0 && (body == left.len || span > bounce_max) {
            return Step::Direct {
                len: body.min(DIRECT_LEN_MAX),
            };
        }
    }
    if span <= bounce_max {
        return bounce(span, left.len);
    }
    let head = unit - skip;
    if skip > 0 && (left.addr + head).is_multiple_of(align.memory) {
        // What follows lies aligned in memory and file.
        return bounce(unit, head);
    }
    bounce(bounce_max, bounce_max - skip)
}

fn misalignment(pos: u64, unit: usize) -> usize {
    usize::try_from(pos % unit as u64).expect("less than a usize")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn left() -> impl Strategy<Value = (Alignment, Left)> {
        let align = (0u32..13, 0u32..17).prop_map(|(memory, offset)| Alignment {
            memory: 1 << memory,
            offset: 1 << offset,
        });
        let len = prop_oneof![1usize..300, 1usize..70_000, 1usize..3_000_000];
        let pos = prop_oneof![
            0u64..100_000,
            Just(4096),
            Just(1 << 40),
            (i64::MAX as u64 - (1 << 30))..i64::MAX as u64 - (1 << 22)
        ];
        let addr = prop_oneof![Just(1usize << 20), 1usize << 20..1 << 21];
        (align, pos, len, addr, 0usize..9000).prop_map(|(align, pos, len, addr, more)| {
            let room = len + more / 2 * (more % 2);
            let left = Left {
                pos,
                len,
                addr,
                room,
            };
            (align, left)
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn every_step_is_aligned_and_the_steps_cover_what_is_left((align, mut left) in left()) {
            let end = left.pos + left.len as u64;
            let mut steps = 0;
            while left.len > 0 {
                let step = next(align, left);
                let done = match step {
                    Step::Direct { len } => {
                        prop_assert!(len > 0 && len <= left.room && len <= DIRECT_LEN_MAX);
                        prop_assert_eq!(left.pos % align.offset as u64, 0);
                        prop_assert_eq!(len % align.offset, 0);
                        prop_assert_eq!(left.addr % align.memory, 0);
                        len.min(left.len)
                    }
                    Step::Bounce { start, span, skip, take } => {
                        prop_assert!(take > 0 && take <= left.len);
                        prop_assert!(span <= BOUNCE_LEN_MAX.max(align.offset));
                        prop_assert_eq!(start % align.offset as u64, 0);
                        prop_assert_eq!(span % align.offset, 0);
                        prop_assert_eq!(start + skip as u64, left.pos);
                        prop_assert!(skip + take <= span);
                        take
                    }
                };
                left.pos += done as u64;
                left.addr += done;
                left.len -= done;
                left.room -= done;
                steps += 1;
                prop_assert!(steps < 70, "too many reads");
            }
            prop_assert_eq!(left.pos, end);
        }
    }

    #[test]
    fn what_is_aligned_is_read_straight_and_what_is_small_in_one_piece() {
        let align = Alignment {
            memory: 512,
            offset: 4096,
        };
        let at = |pos, len, addr, room| {
            let left = Left {
                pos,
                len,
                addr,
                room,
            };
            next(align, left)
        };
        let direct = |len| Step::Direct { len };
        let bounce = |start, span, skip, take| Step::Bounce {
            start,
            span,
            skip,
            take,
        };
        assert_eq!(at(8192, 8192, 512, 8192), direct(8192));
        // The end is not aligned: with room behind it, without, and in a long read.
        assert_eq!(at(8192, 5000, 512, 8192), direct(8192));
        assert_eq!(at(8192, 5000, 512, 5000), bounce(8192, 8192, 0, 5000));
        assert_eq!(at(0, 200_000, 512, 200_000), direct(196_608));
        assert_eq!(at(0, 8 << 20, 512, 8 << 20), direct(DIRECT_LEN_MAX));
        // Memory, or position, or both are not aligned.
        assert_eq!(at(8192, 8192, 100, 8192), bounce(8192, 8192, 0, 8192));
        assert_eq!(at(100, 50, 512, 50), bounce(0, 4096, 100, 50));
        assert_eq!(at(4095, 2, 512, 2), bounce(0, 8192, 4095, 2));
        assert_eq!(at(100, 1 << 20, 612, 1 << 20), bounce(0, 4096, 100, 3996));
        assert_eq!(
            at(100, 1 << 20, 512, 1 << 20),
            bounce(0, BOUNCE_LEN_MAX, 100, BOUNCE_LEN_MAX - 100)
        );
    }
}
