//! A thread-per-core async executor for Linux on io_uring.
#![deny(unsafe_code)]

mod config;
mod error;
mod guard;
mod sys;

mod blocking;
pub mod buf;
mod mailbox;
mod ring;
pub mod sync;
mod task;
mod timer;
mod topology;

mod op;

mod driver;

mod worker;

mod async_fd;
mod executor;
pub mod fs;
#[cfg(feature = "hyper")]
pub mod hyper;
mod main_loop;
pub mod net;
mod pool;
pub mod signal;
mod spawn;
pub mod time;

pub use async_fd::AsyncFd;
pub use blocking::{BlockingError, BlockingHandle};
#[cfg(feature = "sim")]
pub use config::SimConfig;
pub use config::{BackendChoice, Config, PoolConfig};
#[cfg(feature = "macros")]
pub use corelane_macros::{main, test};
pub use error::SetupError;
pub use executor::{Builder, Executor};
pub use main_loop::{Backend, EnterGuard, Worker};
pub use pool::{Pool, pool};
pub use ring::Rung;
pub use spawn::{
    YieldNow, current_worker, need_preempt, spawn_blocking, spawn_local, spawner, stats, yield_now,
};
pub use task::{JoinError, JoinHandle, RemoteSpawner, SpawnError, SpawnErrorKind};
pub use topology::placement::{Placement, PlacementError};
pub use worker::{ShutdownReport, Stats, TurnBudget, TurnReport};
