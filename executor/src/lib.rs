//! Placeholder replaced within this change series.
#![deny(unsafe_code)]
#[allow(dead_code, reason = "wired by the worker")]
mod timer;
