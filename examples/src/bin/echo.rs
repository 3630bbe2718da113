//! A TCP echo server on all cores.
//!
//! Each core has a listener of its own on the same port; the kernel spreads the connections over
//! them, and a connection never leaves its core.
//!
//! `cargo run --release -p examples --bin echo -- --listen 127.0.0.1:7000` serves until Ctrl-C.
//! Without `--listen` it serves a few clients of its own, checks what they get, and ends.
#![deny(unsafe_code)]

use std::error::Error;
use std::io::{self, Read, Write};
use std::net::{self, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use corelane::Executor;
use corelane::net::{TcpListener, TcpStream};

/// Echoes over TCP, on all cores.
#[derive(Debug, Parser)]
struct Options {
    /// The address to serve on until Ctrl-C; port 0 takes a free one.
    #[arg(long)]
    listen: Option<SocketAddr>,
}

/// Clients of the check, and what each sends.
const CLIENTS: u8 = 16;
const MESSAGE_LEN: usize = 200_000;

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let executor = Executor::new()?;

    // Listeners that share their port would not notice that somebody else listens there.
    if let Some(address) = options.listen {
        net::TcpListener::bind(address).map_err(|error| format!("{address}: {error}"))?;
    }
    // The first worker finds the port, the others join it.
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let address = options.listen.unwrap_or(any);
    let address = executor.block_on(executor.spawn_on(0, move || serve(address))?)??;
    for worker in 1..executor.workers() {
        executor.block_on(executor.spawn_on(worker, move || serve(address))?)??;
    }
    println!("echo on {address}, {} workers", executor.workers());

    let checked = if options.listen.is_some() {
        executor.block_on(executor.spawn_on(0, corelane::signal::ctrl_c)?)??;
        Ok(())
    } else {
        check(address)
    };
    // Tasks have a second to finish; what is left then is aborted.
    let report = executor.shutdown(Instant::now() + Duration::from_secs(1));
    println!("ended: {report:?}");
    checked
}

/// Listens on the current worker and returns the address. The listener lives in a task.
async fn serve(address: SocketAddr) -> io::Result<SocketAddr> {
    let listener = TcpListener::options().reuse_port(true).bind(address)?;
    let address = listener.local_addr()?;
    corelane::spawn_local(async move {
        // One operation accepts all connections.
        let mut incoming = listener.incoming();
        while let Some(accepted) = incoming.next().await {
            match accepted {
                Ok(stream) => drop(corelane::spawn_local(echo(stream))),
                Err(error) => {
                    eprintln!("accept: {error}");
                    // Out of descriptors, say: wait for connections to end.
                    corelane::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    });
    Ok(address)
}

/// Sends back what comes. The buffer goes to the kernel and comes back with each operation.
async fn echo(stream: TcpStream) -> io::Result<()> {
    let mut buf = Vec::with_capacity(64 * 1024);
    loop {
        buf.clear();
        let (received, back) = stream.recv(buf).await;
        if received? == 0 {
            return Ok(());
        }
        let (sent, back) = stream.send_all(back).await;
        sent?;
        buf = back;
    }
}

/// Runs clients on threads of their own, with the standard library's sockets.
fn check(address: SocketAddr) -> Result<(), Box<dyn Error>> {
    let clients: Vec<_> = (0..CLIENTS)
        .map(|id| thread::spawn(move || client(address, id)))
        .collect();
    for client in clients {
        client.join().map_err(|_| "a client panicked")??;
    }
    println!("{CLIENTS} clients got back the {MESSAGE_LEN} bytes that each had sent");
    Ok(())
}

fn client(address: SocketAddr, id: u8) -> io::Result<()> {
    let mut stream = net::TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let message: Vec<u8> = (0..MESSAGE_LEN)
        .map(|at| (at % 251).to_le_bytes()[0] ^ id)
        .collect();
    let mut writer = stream.try_clone()?;
    // Written beside reading: neither side can hold the whole message for the other.
    let sent = message.clone();
    let writer = thread::spawn(move || -> io::Result<()> {
        writer.write_all(&sent)?;
        writer.shutdown(net::Shutdown::Write)
    });
    let mut echoed = Vec::new();
    stream.read_to_end(&mut echoed)?;
    writer
        .join()
        .map_err(|_| io::Error::other("a writer panicked"))??;
    if echoed != message {
        return Err(io::Error::other(format!(
            "client {id} got {} other bytes",
            echoed.len()
        )));
    }
    Ok(())
}
