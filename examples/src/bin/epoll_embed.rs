//! A worker inside of somebody else's event loop.
//!
//! Many programs own an epoll loop already: a game engine, a GUI, a Wayland compositor. A worker
//! joins such a loop by its file descriptor, which is readable when a turn has something to do.
//! The loop needs three rules, all in [`run_loop`]:
//!
//! 1. Wait no longer than until the worker's next timer ([`Worker::next_deadline`]).
//! 2. Do a turn when the descriptor is readable, and when the time is over.
//! 3. When a turn reports more work, come back without waiting.
//!
//! Here the loop watches a socket of its own, on which another thread sends ticks, while the
//! worker runs a TCP echo server and a sleeping task. Run it with
//! `cargo run --release -p examples --bin epoll_embed`.
#![deny(unsafe_code)]

use std::cell::Cell;
use std::error::Error;
use std::io::{self, Read, Write};
use std::net::{self, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use corelane::net::{TcpListener, TcpStream};
use corelane::{Config, TurnBudget, Worker};
use rustix::event::{Timespec, epoll};

/// Drives a worker from an epoll loop, and checks that both get their share.
#[derive(Debug, Parser)]
struct Options {
    /// How many messages a client echoes through the worker.
    #[arg(long, default_value_t = 200)]
    messages: u32,
    /// How many ticks the loop gets on its own socket.
    #[arg(long, default_value_t = 20)]
    ticks: usize,
}

/// What epoll says about a descriptor is its number in this list.
const TICKS: u64 = 0;
const WORKER: u64 = 1;

/// The loop gives up after this time.
const PATIENCE: Duration = Duration::from_secs(20);

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let worker = Worker::new(Config::default())?;

    // What the worker does. Tasks are spawned from outside; sockets are made under the guard.
    let listener = {
        let _current = worker.enter();
        TcpListener::bind("127.0.0.1:0")?
    };
    let address = listener.local_addr()?;
    worker.spawn_local(serve(listener));
    let naps = Rc::<Cell<u32>>::default();
    worker.spawn_local(nap(Rc::clone(&naps)));

    // What the rest of the program does.
    let (ticks, ticker) = UnixStream::pair()?;
    let tick_count = options.ticks;
    let ticker = thread::spawn(move || tick(ticker, tick_count));
    let client = thread::spawn(move || client(address, options.messages));

    let ended = Rc::clone(&naps);
    let counted = run_loop(&worker, ticks, |ticks| {
        ticks == tick_count && client.is_finished() && ended.get() == NAPS
    })?;
    ticker.join().map_err(|_| "the ticker panicked")??;
    client.join().map_err(|_| "the client panicked")??;
    println!(
        "{} messages echoed, {} ticks, {} naps; the loop woke {} times for {} turns",
        options.messages,
        counted.ticks,
        naps.get(),
        counted.wakes,
        counted.turns
    );
    Ok(())
}

#[derive(Debug, Default)]
struct Counted {
    ticks: usize,
    wakes: u32,
    turns: u32,
}

/// The foreign loop. `done` looks at the number of ticks so far.
fn run_loop(
    worker: &Worker,
    mut ticks: UnixStream,
    done: impl Fn(usize) -> bool,
) -> Result<Counted, Box<dyn Error>> {
    ticks.set_nonblocking(true)?;
    let epoll: OwnedFd = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let readable = epoll::EventFlags::IN;
    epoll::add(&epoll, &ticks, epoll::EventData::new_u64(TICKS), readable)?;
    epoll::add(
        &epoll,
        worker.fd()?,
        epoll::EventData::new_u64(WORKER),
        readable,
    )?;

    let give_up = Instant::now() + PATIENCE;
    let mut counted = Counted::default();
    let mut events = Vec::with_capacity(8);
    // The first turn starts the tasks.
    let mut more_work = true;
    while !done(counted.ticks) {
        let now = Instant::now();
        if now > give_up {
            return Err(format!("not done after {PATIENCE:?}: {counted:?}").into());
        }
        let wait = match worker.next_deadline() {
            _ if more_work => Duration::ZERO,
            Some(deadline) => deadline.saturating_duration_since(now),
            // `done` asks about a thread, which nothing here signals.
            None => Duration::from_millis(10),
        };
        events.clear();
        let waited = epoll::wait(
            &epoll,
            rustix::buffer::spare_capacity(&mut events),
            Some(&timespec(wait)),
        );
        match waited {
            // A signal, or a process that was stopped and goes on: as if nothing was ready.
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        counted.wakes += 1;
        if events.iter().any(|event| event.data.u64() == TICKS) {
            let mut bytes = [0; 64];
            let got = ticks.read(&mut bytes)?;
            counted.ticks += got;
            if got == 0 {
                // The other side is gone, which makes the socket readable for good.
                epoll::delete(&epoll, &ticks)?;
            }
        }
        // A turn that has nothing to do costs little; so there is no need to tell why we woke.
        // The budget keeps the loop's own work from waiting.
        let report = worker.turn(TurnBudget::default().time(Duration::from_millis(2)));
        counted.turns += 1;
        more_work = report.more_work;
    }
    Ok(counted)
}

fn timespec(duration: Duration) -> Timespec {
    Timespec::try_from(duration).unwrap_or(Timespec {
        tv_sec: 1,
        tv_nsec: 0,
    })
}

const NAPS: u32 = 10;

/// Sleeps a few times, on the worker's timers.
async fn nap(naps: Rc<Cell<u32>>) {
    while naps.get() < NAPS {
        corelane::time::sleep(Duration::from_millis(15)).await;
        naps.set(naps.get() + 1);
    }
}

/// Echoes what each connection sends.
async fn serve(listener: TcpListener) -> io::Result<()> {
    loop {
        let stream = listener.accept().await?;
        corelane::spawn_local(echo(stream));
    }
}

async fn echo(stream: TcpStream) -> io::Result<()> {
    let mut buf = Vec::with_capacity(4096);
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

/// Sends `count` bytes to the loop's own socket, one at a time.
fn tick(mut loop_end: UnixStream, count: usize) -> io::Result<()> {
    for _ in 0..count {
        thread::sleep(Duration::from_millis(5));
        loop_end.write_all(&[1])?;
    }
    Ok(())
}

/// Sends messages to the worker and compares what comes back.
fn client(address: SocketAddr, messages: u32) -> io::Result<()> {
    let mut stream = net::TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    for number in 0..messages {
        let message = number.to_le_bytes().repeat(100);
        stream.write_all(&message)?;
        let mut echoed = vec![0; message.len()];
        stream.read_exact(&mut echoed)?;
        if echoed != message {
            return Err(io::Error::other(format!(
                "message {number} came back changed"
            )));
        }
    }
    Ok(())
}
