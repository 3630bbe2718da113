//! What the rest of the crate takes of the executor: it names corelane through here alone.
#![allow(
    unused_imports,
    reason = "one list for all of the crate, whatever it uses at the time"
)]

pub(crate) use corelane::buf::{AlignedBuf, IoBuf, IoBufMut, PoolBuf};
pub(crate) use corelane::sync::{Notify, Semaphore, channel, local, oneshot};
pub(crate) use corelane::time::{now, recent, sleep, sleep_until, timeout};
pub(crate) use corelane::{
    BlockingError, BlockingHandle, Idle, JoinError, JoinHandle, Pool, RemoteSpawner, idle,
    need_preempt, on_worker, pool, spawn_blocking, spawn_local, spawner, yield_now,
};
