//! Bytes of answers in memory, held together with the permit for them.

use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::worker::Worker;
use crate::limits::Permit;

/// How long an answer waits for memory before it becomes a 503; those that wait for the same entry
/// share the wait.
const WAIT_MAX: Duration = Duration::from_secs(2);
const PAUSE_MIN: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(50);

/// Bytes and the permit for them: given back when the last user of the bytes is gone, the kernel
/// included.
struct Held {
    bytes: Vec<u8>,
    _permit: Permit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Ties bytes to the permit for them.
pub(super) fn hold(bytes: Vec<u8>, permit: Permit) -> Bytes {
    Bytes::from_owner(Held {
        bytes,
        _permit: permit,
    })
}

/// Reserves memory for an answer: `len` bytes, or the whole limit where that is less. What the
/// worker's own cache holds gives way. There is no queue, so it is asked for again and again, and
/// for a bounded time.
pub(super) async fn reserve(worker: &Rc<Worker>, len: usize) -> Option<Permit> {
    let limit = &worker.site.in_flight;
    let credits = u64::try_from(len).unwrap_or(u64::MAX).min(limit.max());
    if let Some(permit) = limit.try_take(worker.index, credits) {
        return Some(permit);
    }
    let give_up = Instant::now() + WAIT_MAX;
    let mut pause = PAUSE_MIN;
    loop {
        worker.cache.clear();
        if let Some(permit) = limit.try_take(worker.index, credits) {
            return Some(permit);
        }
        if Instant::now() >= give_up {
            return None;
        }
        corelane::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}
