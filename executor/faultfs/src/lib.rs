//! A file system for tests whose files fail as their names say.
//!
//! A name is a list of words, joined by commas: `size=65536,direct,eio=4096` is a file of 64 KiB
//! whose reads bypass the page cache, and fail with `EIO` where they reach behind byte 4096. Every
//! name that can be read so is a file; see [`Behaviour`] for the words.
//!
//! [`run`] is how a test uses it: the file system is served by the test's process, and the body of
//! the test runs in a child of it, with a limit on its time. So no test can hang its caller: a call
//! that waits for a file system cannot even be killed, but ends when the file system is gone.
//! Mounts are private to the test's thread and go with it.
#![deny(unsafe_code)]

mod behaviour;
mod files;
mod harness;
mod server;
mod state;

pub use behaviour::{Behaviour, OpenFault, ReadFault, StatFault, WriteFault};
pub use files::{Files, byte_at, content};
pub use harness::{Child, LIMIT, run, start};
pub use server::{FaultFs, unavailable};
