//! Floors that need unsafe code.

pub(crate) mod ring;
