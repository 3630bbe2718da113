//! The process-wide cap of direct reads per block device.
//!
//! A block queue has a fixed number of request slots (`nr_requests`); a submission that finds
//! none left blocks the submitter, for 10 ms and more. So all workers together keep to a cap below
//! that number: each holds credits, refilled from one atomic of the device, and a read that finds
//! none waits in order. Only direct reads count: those served from the page cache take no slot,
//! and the kernel's own readahead cannot be counted from here.
//!
//! - [`sysfs`] tells what a device can take;
//! - [`shared`] is what all threads share of a device: the credits and the line of those that
//!   found none;
//! - [`local`] is one thread's part: its credits, its reads in flight, its own line.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::{Rc, Weak};
use std::sync::{Arc, Mutex, PoisonError};

mod local;
mod shared;
mod sysfs;
#[cfg(test)]
mod tests;

pub(crate) use local::{Local, Permit};

use crate::traits::DeviceId;
use shared::Shared;
use sysfs::QueueLimits;

/// Where the kernel lists block devices by number.
const SYSFS: &str = "/sys/dev/block";

/// Every device that a direct read was made of; they stay, since devices are few.
static DEVICES: Mutex<BTreeMap<DeviceId, Arc<Shared>>> = Mutex::new(BTreeMap::new());

thread_local! {
    /// This thread's part of each device; gone with the last reader that uses it.
    static LOCALS: RefCell<Vec<(DeviceId, Weak<Local>)>> = const { RefCell::new(Vec::new()) };
}

/// What the direct reads of this process do to a block device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeviceStats {
    /// Requests that all direct reads together may have at the device.
    pub requests_max: u32,
    /// Requests taken now, by reads in flight and by workers that hold some in reserve.
    pub requests_taken: u32,
    /// The most that ever were taken.
    pub requests_high_water: u32,
    /// Reads that had to wait for a request.
    pub waits: u64,
}

/// Says what direct reads do to `device`; `None` before the first file on it was opened for direct
/// reads.
///
/// The kernel tells `nr_requests` once, then; changing it later has no effect.
#[must_use]
pub fn device_stats(device: DeviceId) -> Option<DeviceStats> {
    let devices = DEVICES.lock().unwrap_or_else(PoisonError::into_inner);
    devices.get(&device).map(|shared| shared.stats())
}

/// Gives this thread's part of `device`.
pub(super) fn local(device: DeviceId) -> Rc<Local> {
    let known = LOCALS.with_borrow(|locals| {
        let entry = locals.iter().find(|(id, _)| *id == device);
        entry.and_then(|(_, local)| local.upgrade())
    });
    known.unwrap_or_else(|| {
        let local = Rc::new(Local::new(shared(device)));
        LOCALS.with_borrow_mut(|locals| {
            locals.retain(|(_, local)| local.strong_count() > 0);
            locals.push((device, Rc::downgrade(&local)));
        });
        local
    })
}

fn shared(device: DeviceId) -> Arc<Shared> {
    let mut devices = DEVICES.lock().unwrap_or_else(PoisonError::into_inner);
    let shared = devices.entry(device).or_insert_with(|| {
        let limits = QueueLimits::of(Path::new(SYSFS), device);
        Arc::new(Shared::new(limits))
    });
    Arc::clone(shared)
}
