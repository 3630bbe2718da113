//! Name resolution.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

use crate::spawn_blocking;

/// Resolves `host:port`, through the blocking pool (getaddrinfo(3)).
///
/// # Errors
///
/// The resolver's.
///
/// # Panics
///
/// Panics outside of a worker.
///
/// # Cancel safety
///
/// Dropping the future drops the answer.
pub async fn lookup_host(host: &str) -> io::Result<Vec<SocketAddr>> {
    let host = host.to_owned();
    let found = spawn_blocking(move || host.to_socket_addrs().map(Iterator::collect)).await;
    found.unwrap_or_else(|error| Err(error.into()))
}
