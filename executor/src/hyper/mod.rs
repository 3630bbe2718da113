//! hyper 1.x on a worker: its runtime traits over corelane's sockets, tasks and timers.
//!
//! | hyper asks for | here |
//! |---|---|
//! | `rt::Read`, `rt::Write` | [`HyperIo`] around a stream |
//! | `rt::Executor` | [`HyperExecutor`]: spawns on the current worker, `!Send` futures too |
//! | `rt::Timer` | [`HyperTimer`]: the current worker's timers |
//!
//! Connections stay on the worker that accepted them, so a service may hold `Rc`s. hyper's traits
//! lend buffers, so each byte is copied once on its way in and once on its way out; a server that
//! cannot afford that writes to the stream itself.
//!
//! # Examples
//!
//! A server and a client of one request, on one worker:
//!
//! ```
//! # #[corelane::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::convert::Infallible;
//! use corelane::hyper::{HyperIo, HyperTimer};
//! use corelane::net::{TcpListener, TcpStream};
//! use http_body_util::{BodyExt, Full, Empty};
//! use hyper::body::Bytes;
//! use hyper::{Request, Response, client, server, service::service_fn};
//!
//! let listener = TcpListener::bind("127.0.0.1:0")?;
//! let address = listener.local_addr()?;
//! corelane::spawn_local(async move {
//!     let stream = listener.accept().await?;
//!     let hello = service_fn(async |_| {
//!         Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"hello"))))
//!     });
//!     let served = server::conn::http1::Builder::new()
//!         .timer(HyperTimer::new())
//!         .serve_connection(HyperIo::new(stream), hello)
//!         .await;
//!     served.map_err(std::io::Error::other)
//! });
//!
//! let stream = TcpStream::connect(address).await?;
//! let (mut sender, connection) = client::conn::http1::handshake(HyperIo::new(stream)).await?;
//! corelane::spawn_local(connection);
//! let request = Request::get("/").header("host", "example").body(Empty::<Bytes>::new())?;
//! let body = sender.send_request(request).await?.collect().await?.to_bytes();
//! assert_eq!(body, "hello");
//! # Ok(())
//! # }
//! ```

mod io;
mod timer;

pub use io::HyperIo;
pub use timer::HyperTimer;

use std::future::Future;

use crate::spawn::spawn_local;

/// Spawns hyper's background work on the worker that is current when hyper asks for it.
///
/// Futures need not be `Send`. A task that panics ends alone.
///
/// # Panics
///
/// [`execute`](::hyper::rt::Executor::execute) panics outside of a worker.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct HyperExecutor;

impl HyperExecutor {
    /// Makes the executor; it holds nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

impl<F: Future + 'static> ::hyper::rt::Executor<F> for HyperExecutor {
    #[track_caller]
    fn execute(&self, future: F) {
        // Dropping the handle lets the task run.
        drop(spawn_local(future));
    }
}
