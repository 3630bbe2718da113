//! Answers of 13 bytes over kept connections, 64 of them: what a request costs the serving thread.
//!
//! The floor is a bare ring that receives and sends. Ours does the same by direct operations, and
//! by hyper on top of them. The client has the other core, and is the same for all.

use std::convert::Infallible;
use std::net;
use std::rc::Rc;
use std::thread;

use bytes::Bytes;
use corelane::hyper::HyperIo;
use corelane::net::{TcpListener, TcpStream};
use corelane::{Config, Worker, spawn_local};
use http_body_util::Full;
use hyper::Response;
use hyper::server::conn::http1;
use hyper::service::service_fn;

use crate::client::{Asked, Load};
use crate::environment::Cores;
use crate::floors::{http, ring_or_refused};
use crate::measure::{By, Contender, Sample, Target, interleave, process_time, thread_time};
use crate::{Failure, Options, Outcome};

const CONNECTIONS: usize = 64;
const REQUESTS: u64 = 60_000;
const WARM_UP: u64 = 6_400;
const BODY: &str = "Hello, world!";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 13\r\n\r\nHello, world!";
const TARGET: Target = Target {
    own: 1,
    against: &[0],
    by: By::Cpu,
    at_most: 1.15,
};

/// Serves that many connections of the listener until all are closed.
type Serve = fn(net::TcpListener) -> Outcome;

pub(crate) fn run(options: &Options, cores: &Cores) -> Outcome {
    if cores.pair().is_none() {
        println!("\nhttp: skipped, as this process may use one core only");
        return Ok(());
    }
    let contenders = vec![
        Contender::with("floor: bare ring", ring_or_refused()?, |()| {
            round(cores, serve_bare)
        }),
        Contender::new("corelane, direct operations", || round(cores, serve_direct)),
        Contender::new("hyper on corelane", || round(cores, serve_hyper)),
    ];
    interleave(
        options,
        "http: 13 bytes, 64 connections",
        "request",
        options.rounds,
        contenders,
        &[TARGET],
    )
    .map(drop)
}

/// Serves on the measured core while the client asks from the other one.
fn round(cores: &Cores, serve: Serve) -> Result<Sample, Failure> {
    let [_, other] = cores.pair().ok_or("one core only")?;
    let listener = net::TcpListener::bind("127.0.0.1:0")?;
    let addr = listener.local_addr()?;
    let asked = [Asked::get("/", None, BODY.into())];
    let load = Load {
        addr,
        core: other,
        connections: CONNECTIONS,
        warm_up: WARM_UP,
        requests: REQUESTS,
        asked: &asked,
    };
    thread::scope(|scope| {
        let server = scope.spawn(|| {
            cores.pin()?;
            serve(listener)
        });
        // All that this process does is the server, but for the client itself, which asks.
        let sample = load.run(|| Ok(process_time().saturating_sub(thread_time())));
        if sample.is_err() {
            // The server waits for connections that will not come from the client.
            for _ in 0..CONNECTIONS {
                drop(net::TcpStream::connect(addr));
            }
        }
        let served = server.join().map_err(|_| "the server panicked")?;
        // Why the server failed is why the client did.
        served?;
        sample
    })
}

fn serve_bare(listener: net::TcpListener) -> Outcome {
    let mut streams = Vec::new();
    for _ in 0..CONNECTIONS {
        let (stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        streams.push(stream);
    }
    http::serve(streams, ANSWER).map(drop)
}

fn serve_direct(listener: net::TcpListener) -> Outcome {
    serve_by_tasks(listener, |stream| spawn_local(answer(stream)))
}

fn serve_hyper(listener: net::TcpListener) -> Outcome {
    serve_by_tasks(listener, |stream| spawn_local(answer_by_hyper(stream)))
}

fn serve_by_tasks(
    listener: net::TcpListener,
    spawn: impl Fn(TcpStream) -> corelane::JoinHandle<Outcome>,
) -> Outcome {
    let worker = Worker::new(Config::default())?;
    worker.block_on(async {
        let listener = Rc::new(TcpListener::from_std(listener));
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS {
            let stream = listener.accept().await?;
            stream.set_nodelay(true)?;
            connections.push(spawn(stream));
        }
        for connection in connections {
            connection.await??;
        }
        Ok(())
    })
}

async fn answer(stream: TcpStream) -> Outcome {
    let mut buf = Vec::with_capacity(1024);
    loop {
        buf.clear();
        // A request is short, and comes as a whole.
        let (got, back) = stream.recv(buf).await;
        buf = back;
        if got? == 0 {
            return Ok(());
        }
        if !buf.ends_with(b"\r\n\r\n") {
            return Err("a part of a request".into());
        }
        stream.send_all(ANSWER).await.0?;
    }
}

async fn answer_by_hyper(stream: TcpStream) -> Outcome {
    let service = service_fn(|_request| async {
        let body = Full::new(Bytes::from_static(BODY.as_bytes()));
        Ok::<_, Infallible>(Response::new(body))
    });
    let connection = http1::Builder::new().serve_connection(HyperIo::new(stream), service);
    Ok(connection.await?)
}
