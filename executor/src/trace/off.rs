//! Without the feature `tracing`: nothing.

use std::fmt::Display;
use std::io;
use std::panic::Location;
use std::time::Duration;

/// The future itself.
pub(crate) type Traced<F> = F;

#[inline(always)]
pub(crate) fn task<F>(_: &'static Location<'static>, make: impl FnOnce() -> F) -> Traced<F>
where
    F: Future,
{
    make()
}

#[inline(always)]
pub(crate) fn rung_refused(_: &dyn Display, _: &io::Error) {}

#[inline(always)]
pub(crate) fn backend_chosen(_: &dyn Display, _: Option<&dyn Display>) {}

#[inline(always)]
pub(crate) fn overflowed(_: u64) {}

#[inline(always)]
pub(crate) fn stalled(_: &'static Location<'static>, _: usize, _: Duration) {}

#[inline(always)]
pub(crate) fn leaked(_: usize) {}
