//! What a blob says of itself to whoever orders and merges reads of it.

/// A block device, by its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeviceId {
    /// The major number.
    pub major: u32,
    /// The minor number.
    pub minor: u32,
}

/// What a blob says of itself to whoever orders and merges reads of it: advice, no promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BlobHints {
    /// Reading what lies between two wanted ranges costs less than a read of its own: there is
    /// nobody below who reads ahead or merges.
    pub merge_pays: bool,
    /// Positions and lengths that are multiples of this many bytes are read without a copy; 1
    /// where there is nothing to gain. A power of two, at most [`ALIGN_MAX`](Self::ALIGN_MAX);
    /// anything else is passed over.
    pub align: u32,
    /// The longest single read worth issuing, in bytes.
    pub read_max: u32,
    /// The block device that reads go to past any cache; `None` where reads are served from
    /// memory, are cached, or the device is not known.
    pub device: Option<DeviceId>,
}

impl BlobHints {
    /// The largest alignment that is heeded.
    pub const ALIGN_MAX: u32 = 1 << 20;
    /// The longest read of a blob that says nothing else.
    pub const READ_LEN_MAX: u32 = 1 << 20;

    /// The hints of a blob of which nothing is known: reads are not merged, nothing is aligned.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            merge_pays: false,
            align: 1,
            read_max: Self::READ_LEN_MAX,
            device: None,
        }
    }

    /// The hints of a range of a blob that begins at `offset` of it.
    pub(crate) const fn of_range(self, offset: u64) -> Self {
        let aligned = offset.is_multiple_of(self.align as u64);
        Self {
            align: if aligned { self.align } else { 1 },
            ..self
        }
    }
}

impl Default for BlobHints {
    fn default() -> Self {
        Self::new()
    }
}

/// How a read is issued, as far as the blob knows the difference; one that does not reads as it
/// always does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ReadHow {
    /// As the blob sees fit.
    #[default]
    Auto,
    /// Tried where it is submitted: what is cached is copied on the spot, which holds up the core
    /// for as long as that takes.
    Inline,
    /// Served from what is cached, on the spot, or refused with `WouldBlock`: also when only a
    /// part is cached. The destination may then have been written.
    NoWait,
    /// Handed off at once to a thread of the kernel: a copy or a stall happens there.
    Async,
}
