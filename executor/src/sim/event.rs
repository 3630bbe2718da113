//! What is in a simulation's log. No address, no descriptor and no time of day is: they differ
//! between two runs of one seed.

/// One line of the log.
#[derive(Debug, Hash)]
pub(crate) enum Event {
    Submitted {
        ring: u32,
        key: u64,
        kind: &'static str,
        due: Option<u64>,
    },
    CancelAsked {
        ring: u32,
        key: u64,
        result: i32,
    },
    Completed {
        ring: u32,
        key: u64,
        result: i32,
        more: bool,
    },
    EnterRefused {
        ring: u32,
        errno: i32,
    },
    Kicked {
        ring: u32,
    },
    /// A wait that ended by its timeout.
    TimedOut {
        ring: u32,
    },
    Closed {
        ring: u32,
        in_flight: usize,
    },
    Advanced {
        by_ns: u128,
    },
    Note {
        what: &'static str,
        number: u64,
        value: u64,
    },
}
