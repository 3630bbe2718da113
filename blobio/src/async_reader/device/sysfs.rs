//! What a block device can take, as sysfs tells.

use std::fs;
use std::path::Path;

use crate::traits::DeviceId;

/// What a block queue of which nothing is known is taken to have: the kernel's default
/// (`BLKDEV_DEFAULT_RQ`).
const NR_REQUESTS_DEFAULT: u32 = 128;
/// The longest request of a queue that does not say, in KiB: the kernel's default.
const REQUEST_KIB_DEFAULT: u64 = 1280;

/// What a block queue takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct QueueLimits {
    /// Requests that direct reads may have in the queue.
    pub(super) requests_max: u32,
    /// The longest request in bytes: a longer read becomes several.
    pub(super) request_len_max: u64,
}

impl QueueLimits {
    /// Reads the limits of `device` below `root`, by default `/sys/dev/block`.
    ///
    /// A partition has the queue of its disk. What has no queue of requests (device mapper, a file
    /// system over several devices, a network file system) gets the kernel's default.
    pub(super) fn of(root: &Path, device: DeviceId) -> Self {
        let folder = root.join(format!("{}:{}", device.major, device.minor));
        let folder = fs::canonicalize(&folder).unwrap_or(folder);
        let disk = if folder.join("partition").exists() {
            folder.parent().unwrap_or(&folder)
        } else {
            &folder
        };
        let number = |name: &str| -> Option<u64> {
            let text = fs::read_to_string(disk.join("queue").join(name)).ok()?;
            text.trim().parse().ok().filter(|&number| number > 0)
        };
        let nr_requests = number("nr_requests").and_then(|number| u32::try_from(number).ok());
        Self {
            requests_max: below(nr_requests.unwrap_or(NR_REQUESTS_DEFAULT)),
            request_len_max: number("max_sectors_kb")
                .unwrap_or(REQUEST_KIB_DEFAULT)
                .saturating_mul(1024),
        }
    }
}

/// Leaves a quarter of the queue to writes, readahead and other processes; the kernel's schedulers
/// keep as much back from asynchronous requests.
fn below(nr_requests: u32) -> u32 {
    (nr_requests - nr_requests / 4).max(1)
}
