//! The atomics, cells and thread-locals of `mailbox` and `task`: std's, or loom's in a model.
//!
//! # Safety
//!
//! The cell hands out a raw pointer, and its users say by their protocol who may write through it;
//! loom checks them in a model.
#![allow(
    unsafe_code,
    reason = "the cell hands out raw pointers and is shared between threads"
)]

#[cfg(corelane_loom)]
pub(crate) use loom::{
    cell::UnsafeCell,
    hint::spin_loop,
    sync::Arc,
    sync::atomic::{AtomicPtr, AtomicU32, AtomicUsize, fence},
    thread::yield_now,
};
#[cfg(not(corelane_loom))]
pub(crate) use std::{
    hint::spin_loop,
    sync::Arc,
    sync::atomic::{AtomicPtr, AtomicU32, AtomicUsize, fence},
    thread::yield_now,
};

/// `thread_local!` with constant values, which loom's does not accept as such.
#[cfg(not(corelane_loom))]
macro_rules! const_thread_local {
    ($($(#[$attr:meta])* static $name:ident: $type:ty = $init:expr;)+) => {
        ::std::thread_local! { $($(#[$attr])* static $name: $type = const { $init };)+ }
    };
}
#[cfg(corelane_loom)]
macro_rules! const_thread_local {
    ($($(#[$attr:meta])* static $name:ident: $type:ty = $init:expr;)+) => {
        ::loom::thread_local! { $($(#[$attr])* static $name: $type = $init;)+ }
    };
}
pub(crate) use const_thread_local;

/// `std::cell::UnsafeCell` with the access functions of loom's, which checks them in a model.
#[cfg(not(corelane_loom))]
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

#[cfg(not(corelane_loom))]
impl<T> UnsafeCell<T> {
    #[inline(always)]
    pub(crate) const fn new(value: T) -> Self {
        Self(std::cell::UnsafeCell::new(value))
    }

    /// Gives `access` a pointer that it may write through.
    #[inline(always)]
    pub(crate) fn with_mut<R>(&self, access: impl FnOnce(*mut T) -> R) -> R {
        access(self.0.get())
    }
}
