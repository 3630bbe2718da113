//! What is waited for at a descriptor.

/// Directions of readiness.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Interest {
    pub(super) read: bool,
    pub(super) write: bool,
}

impl Interest {
    pub(super) const NONE: Self = Self {
        read: false,
        write: false,
    };
    pub(super) const READ: Self = Self {
        read: true,
        write: false,
    };
    pub(super) const WRITE: Self = Self {
        read: false,
        write: true,
    };

    pub(super) fn or(self, other: Self) -> Self {
        Self {
            read: self.read || other.read,
            write: self.write || other.write,
        }
    }

    pub(super) fn without(self, other: Self) -> Self {
        Self {
            read: self.read && !other.read,
            write: self.write && !other.write,
        }
    }

    pub(super) fn overlaps(self, other: Self) -> bool {
        (self.read && other.read) || (self.write && other.write)
    }
}
