//! The classes of requests.

/// How much a request matters; more is earlier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// What nobody waits for: prefetching, verifying, warming.
    Low,
    /// What is wanted soon.
    #[default]
    Normal,
    /// What somebody waits for.
    High,
    /// What a frame waits for.
    Realtime,
}

impl Class {
    /// How many there are.
    pub const COUNT: usize = 4;

    /// All of them, the most important first.
    pub const ALL: [Self; Self::COUNT] = [Self::Realtime, Self::High, Self::Normal, Self::Low];

    /// Returns the place of the class in [`ALL`](Self::ALL), for tables by class.
    #[must_use]
    #[inline]
    pub const fn index(self) -> usize {
        Self::Realtime as usize - self as usize
    }
}
