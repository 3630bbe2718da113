//! Decompression away from the cores that do I/O.
//!
//! [`decode_block`] decompresses one block and never gives more bytes than were declared. A
//! [`DecodePool`] is a bounded set of threads, and of jobs waiting for them, that does so, or
//! anything else that computes, for tasks of any worker and any executor: what it returns is a
//! `Send` future. A worker that waits for a job and would otherwise idle does jobs itself where the
//! threads have no core to do them on ([`should_help`]).

mod codec;
mod config;
#[cfg(feature = "executor")]
mod helper;
mod order;
mod pool;
mod running;

pub use codec::{Codec, DecodeError, decode_block, decode_block_into};
pub use config::{PoolConfig, PoolLoad, should_help};
pub use pool::DecodePool;
pub use running::{JobError, Running};
