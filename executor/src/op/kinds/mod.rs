//! One file per kind of operation.
//!
//! # Safety
//!
//! Each file holds the `unsafe impl Kind` of its kinds, and argues there that the request points
//! only into the memory.

pub(crate) mod accept;
pub(crate) mod close;
pub(crate) mod connect;
pub(crate) mod fadvise;
pub(crate) mod fsync;
pub(crate) mod open;
pub(crate) mod poll;
pub(crate) mod read;
pub(crate) mod recv;
pub(crate) mod recv_multi;
pub(crate) mod send;
pub(crate) mod shutdown;
pub(crate) mod statx;
pub(crate) mod vectored;
pub(crate) mod write;
