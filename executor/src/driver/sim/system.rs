//! Operations that the system does, in the order that the seed decides.
//!
//! # Safety
//!
//! As in `kernel`: a request is used from its submission until its last completion is posted, and
//! never after.
#![allow(unsafe_code, reason = "takes requests as work in flight")]

use crate::driver::threads::Direct;
use crate::op::Request;

/// Begins an operation that has just been submitted.
pub(super) fn begin(request: Request) -> Direct {
    // SAFETY: pointers and descriptors belong to the request's slot (`Kind`), which the driver
    // keeps as it is until the last completion was dispatched; the simulated ring gives this up
    // when it posts that.
    unsafe { Direct::new(request) }
}
