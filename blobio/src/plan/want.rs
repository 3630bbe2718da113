//! What somebody wants of a blob.

/// A range of a blob that somebody wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Want {
    id: u32,
    pos: u64,
    len: usize,
}

impl Want {
    /// Makes a want of `len` bytes at `pos`; `id` is the caller's and comes back in the parts.
    ///
    /// Returns `None` when the range ends past 2^64 - 1, where no blob has bytes.
    #[must_use]
    pub const fn new(id: u32, pos: u64, len: usize) -> Option<Self> {
        match pos.checked_add(len as u64) {
            Some(_) => Some(Self { id, pos, len }),
            None => None,
        }
    }

    /// Returns the caller's number.
    #[must_use]
    pub const fn id(&self) -> u32 {
        self.id
    }

    /// Returns where it begins in the blob, in bytes.
    #[must_use]
    pub const fn pos(&self) -> u64 {
        self.pos
    }

    /// Returns how many bytes are wanted.
    #[must_use]
    #[expect(
        clippy::len_without_is_empty,
        reason = "a want is a range, no container"
    )]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Returns where it ends in the blob. `new` has seen that it does.
    pub(super) const fn end(&self) -> u64 {
        self.pos + self.len as u64
    }

    /// What wants are sorted by; complete, so that a plan does not depend on the order asked in.
    pub(super) const fn order(&self) -> (u64, usize, u32) {
        (self.pos, self.len, self.id)
    }
}

/// Sorts what is wanted of several blobs and returns it blob by blob, each ready for
/// [`plan`](super::plan).
///
/// Does not allocate.
pub fn by_blob<B: Copy + Ord>(wanted: &mut [(B, Want)]) -> impl Iterator<Item = &[(B, Want)]> {
    wanted.sort_unstable_by_key(|(blob, want)| (*blob, want.order()));
    wanted.chunk_by(|(left, _), (right, _)| left == right)
}
