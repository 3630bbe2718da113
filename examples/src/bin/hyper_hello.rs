//! hyper on a worker: a server that says hello.
//!
//! `cargo run --release -p examples --bin hyper_hello -- --listen 127.0.0.1:8080` serves until
//! Ctrl-C. Without `--listen` it sends itself a few requests, checks the answers, and ends.
//!
//! Everything runs on one worker, so the count of requests is shared in an `Rc`.
#![deny(unsafe_code)]

use std::cell::Cell;
use std::convert::Infallible;
use std::error::Error;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use clap::Parser;
use corelane::hyper::{HyperIo, HyperTimer};
use corelane::net::{TcpListener, TcpStream};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, client, server};

/// Says hello over HTTP/1.1, with hyper.
#[derive(Debug, Parser)]
struct Options {
    /// The address to serve on until Ctrl-C; port 0 takes a free one.
    #[arg(long)]
    listen: Option<SocketAddr>,
}

/// How long a client may take for the head of a request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

#[corelane::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let address = options.listen.unwrap_or(any);
    let listener = TcpListener::bind(address).map_err(|error| format!("{address}: {error}"))?;
    let address = listener.local_addr()?;
    println!("hello on http://{address}");
    corelane::spawn_local(serve(listener));
    match options.listen {
        Some(_) => Ok(corelane::signal::ctrl_c().await?),
        None => check(address).await,
    }
}

async fn serve(listener: TcpListener) {
    let count = Rc::<Cell<u64>>::default();
    let mut incoming = listener.incoming();
    while let Some(accepted) = incoming.next().await {
        match accepted {
            Ok(stream) => drop(corelane::spawn_local(connection(stream, Rc::clone(&count)))),
            Err(error) => {
                eprintln!("accept: {error}");
                // Out of descriptors, say: wait for connections to end.
                corelane::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// Serves the requests of one connection, one after another.
async fn connection(stream: TcpStream, count: Rc<Cell<u64>>) {
    let service = service_fn(move |request: Request<Incoming>| {
        count.set(count.get() + 1);
        let hello = format!("hello {}, request {}\n", request.uri().path(), count.get());
        async move { Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(hello)))) }
    });
    let served = server::conn::http1::Builder::new()
        // hyper's timeouts are timers of this worker.
        .timer(HyperTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(HyperIo::new(stream), service)
        .await;
    if let Err(error) = served {
        eprintln!("connection: {error}");
    }
}

/// Sends three requests over one connection.
async fn check(address: SocketAddr) -> Result<(), Box<dyn Error>> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = client::conn::http1::handshake(HyperIo::new(stream)).await?;
    corelane::spawn_local(connection);
    for number in 1..=3 {
        let request = Request::get(format!("/{number}"))
            .header("host", address.to_string())
            .body(Empty::<Bytes>::new())?;
        sender.ready().await?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        let expected = format!("hello /{number}, request {number}\n");
        if status != 200 || body != expected {
            return Err(format!("request {number} was answered {status}: {body:?}").into());
        }
        print!("{status}: {expected}");
    }
    Ok(())
}
