//! A thread-per-core async executor for Linux on io_uring.
//!
//! A [`Worker`] is one thread's ring, queue of tasks and operations in flight. Its owner drives it
//! ([`turn`](Worker::turn), [`park`](Worker::park), [`block_on`](Worker::block_on)), or an
//! [`Executor`] runs one on each core. A task is polled and dropped on its own core only, so its
//! future need not be `Send`; work reaches another core as a `Send` closure that makes a future
//! there.
//!
//! Operations take their buffers by value and give them back with the result ([`buf`]). What the
//! kernel may write stays valid until it is done, whatever happens to the future: dropped,
//! forgotten, its task aborted, its worker ended.
//!
//! # Examples
//!
//! ```
//! use std::time::Duration;
//!
//! # #[cfg(feature = "macros")]
//! #[corelane::main]
//! async fn main() -> std::io::Result<()> {
//!     let (server, client) = corelane::net::UnixStream::pair()?;
//!     let echo = corelane::spawn_local(async move {
//!         let (result, buf) = server.recv(Vec::with_capacity(16)).await;
//!         result?;
//!         server.send_all(buf).await.0
//!     });
//!     client.send_all(b"hello".to_vec()).await.0?;
//!     let recv = client.recv(Vec::with_capacity(16));
//!     let (result, buf) = corelane::time::timeout(Duration::from_secs(5), recv)
//!         .await
//!         .expect("the echo is quick");
//!     result?;
//!     assert_eq!(buf, b"hello");
//!     echo.await.expect("the echo did not panic")
//! }
//! # #[cfg(not(feature = "macros"))]
//! # fn main() {}
//! ```
//!
//! # Features
//!
//! - `macros` (default): [`main`] and [`test`](macro@test).
//! - `bytes`: the buffer traits for `Bytes` and `BytesMut`.
//! - `hyper`: the runtime traits of hyper 1.x.
//! - `sim`: a seeded ring in memory, for tests.
//! - `tracing`: a span per task, with the place where it was spawned (target `corelane::task`), and
//!   events (target `corelane`): the backend that a worker got and why, an overflow of the
//!   completion queue, a task that does not give way ([`Config::stall_threshold`]), memory that had
//!   to be leaked.
//!
//! # Platform
//!
//! Linux with io_uring. What the kernel offers is tried when a worker is made, and
//! [`Worker::backend`] says what was found. Where io_uring is refused or missing, the same runs on
//! threads and epoll; [`BackendChoice`] and the environment variable `CORELANE_BACKEND` force one
//! or the other, and a ring that was asked for and is refused is a [`SetupError`] that names the
//! cause and the remedy.
#![deny(unsafe_code)]

mod clock;
mod config;
mod error;
mod guard;
mod shim;
#[cfg(feature = "sim")]
pub mod sim;
mod stall;
mod sys;
mod trace;

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
pub use error::{SetupError, ThreadsReason};
pub use executor::{Builder, Executor};
pub use main_loop::{Backend, EnterGuard, Worker};
pub use pool::{Pool, pool};
pub use ring::Rung;
pub use spawn::{
    Idle, YieldNow, current_worker, idle, need_preempt, on_worker, spawn_blocking, spawn_local,
    spawner, stats, yield_now,
};
pub use stall::Stall;
pub use task::{JoinError, JoinHandle, RemoteSpawner, SpawnError, SpawnErrorKind};
pub use topology::placement::{Placement, PlacementError};
pub use worker::{ShutdownReport, Stats, TurnBudget, TurnReport};

/// The examples of the README.
#[cfg(all(doctest, feature = "macros"))]
#[doc = include_str!("../../README.md")]
mod readme {}
