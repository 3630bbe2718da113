//! The operations of the storm, each on descriptors of its own.

use std::future::Future;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::RangeInclusive;
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::time::Duration;

use corelane::buf::AlignedBuf;
use corelane::fs::{File, ReadMode};
use corelane::{net, time};

use super::World;
use crate::common::quarantine::Guarded;
use crate::common::{Rng, is_pattern, pattern};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Open,
    Accept,
    Incoming,
    Read,
    ReadDirect,
    ReadFull,
    Readv,
    Write,
    Recv,
    RecvTimeout,
    Send,
    SendVectored,
    Statx,
    Sleep,
}

impl Kind {
    pub const ALL: [Self; 14] = [
        Self::Open,
        Self::Accept,
        Self::Incoming,
        Self::Read,
        Self::ReadDirect,
        Self::ReadFull,
        Self::Readv,
        Self::Write,
        Self::Recv,
        Self::RecvTimeout,
        Self::Send,
        Self::SendVectored,
        Self::Statx,
        Self::Sleep,
    ];
}

/// An operation that was not polled yet.
pub struct Made {
    pub future: Pin<Box<dyn Future<Output = ()>>>,
    /// Lets it complete, where that is up to a peer.
    pub feed: Option<Box<dyn FnOnce()>>,
    /// The peer's side.
    pub peer: Option<UnixStream>,
    /// How many descriptors stay open when the future is forgotten.
    pub keeps: RangeInclusive<usize>,
    /// Whether forgetting the future keeps its worker's memory.
    pub keeps_worker: bool,
}

impl Made {
    fn new(future: impl Future<Output = ()> + 'static) -> Self {
        Self {
            future: Box::pin(future),
            feed: None,
            peer: None,
            keeps: 1..=1,
            keeps_worker: true,
        }
    }

    fn alone(self) -> Self {
        Self {
            keeps_worker: false,
            ..self
        }
    }

    fn keeps(self, keeps: RangeInclusive<usize>) -> Self {
        Self { keeps, ..self }
    }

    fn feed(self, feed: impl FnOnce() + 'static) -> Self {
        Self {
            feed: Some(Box::new(feed)),
            ..self
        }
    }
}

pub fn make(kind: Kind, rng: &mut Rng, world: &World) -> Made {
    let len = 1 + rng.below(world.buffer_max);
    match kind {
        Kind::Open => {
            let (path, check) = (world.file.path.clone(), world.check());
            Made::new(async move {
                if let Some(file) = check.result(File::open(path).await) {
                    drop(file);
                }
            })
            .keeps(0..=1)
        }
        Kind::Accept | Kind::Incoming => accept(kind, rng, world),
        Kind::Read | Kind::ReadDirect | Kind::Readv => read(kind, len, rng, world),
        Kind::ReadFull => read_full(len, rng, world),
        Kind::Write => {
            let (file, check) = (File::from_std(world.file.open()), world.check());
            // The file holds these bytes already.
            let write = file.write_at(Guarded::filled(len), 0);
            Made::new(async move {
                check.result(write.await.0);
            })
            .alone()
        }
        Kind::Recv | Kind::RecvTimeout => recv(kind, len, rng, world),
        Kind::Send | Kind::SendVectored => send(kind, len, world),
        Kind::Statx => {
            let (file, check) = (File::from_std(world.file.open()), world.check());
            Made::new(async move {
                if let Some(metadata) = check.result(file.statx().await) {
                    assert!(metadata.len() >= 4096);
                }
            })
        }
        Kind::Sleep => {
            let time = Duration::from_micros(100 * rng.below(30) as u64);
            Made::new(time::sleep(time)).keeps(0..=0)
        }
    }
}

fn accept(kind: Kind, rng: &mut Rng, world: &World) -> Made {
    let check = world.check();
    let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let connections = if kind == Kind::Accept {
        1
    } else {
        1 + rng.below(4)
    };
    let may_keep = if !world.real { 4096 } else { 1 + connections };
    let made = if kind == Kind::Accept {
        Made::new(async move {
            check.result(listener.accept().await);
        })
    } else {
        Made::new(async move {
            let mut incoming = listener.incoming();
            drop(listener);
            for _ in 0..connections {
                let next = incoming.next().await.expect("the stream was not closed");
                check.result(next);
            }
        })
    };
    made.keeps(1..=may_keep)
        .feed(move || (0..connections).for_each(|_| connect(addr)))
}

/// Connects and hangs up at once: the connection stays in the backlog.
fn connect(addr: SocketAddr) {
    // Refused where the listener is gone already.
    let _ = TcpStream::connect(addr).inspect(|client| {
        let _ = socket2::SockRef::from(client).set_linger(Some(Duration::ZERO));
    });
}

fn read(kind: Kind, len: usize, rng: &mut Rng, world: &World) -> Made {
    let check = world.check();
    let direct = world.direct.as_ref().filter(|_| kind == Kind::ReadDirect);
    let file = File::from_std(match direct {
        Some(direct) => direct.try_clone().unwrap(),
        None => world.file.open(),
    });
    if kind == Kind::Readv {
        let bufs: Vec<_> = (0..1 + rng.below(4)).map(|_| Guarded::new(len)).collect();
        return Made::new(async move {
            let (result, bufs) = file.readv_at(bufs, 0).await;
            let mut left = check.result(result).unwrap_or(0);
            for (at, buf) in bufs.iter().enumerate() {
                let filled = left.min(len);
                left -= filled;
                assert!(is_pattern(&buf.bytes()[..filled], (at * len) as u64));
            }
        });
    }
    let (len, offset) = match kind {
        Kind::ReadDirect => (len.next_multiple_of(4096), 4096 * rng.below(8) as u64),
        _ => (len, rng.below(8192) as u64),
    };
    if rng.percent(25) {
        // Memory that is freed when it is dropped, for address sanitizer.
        let read = file.read_at(AlignedBuf::new(len, 4096), offset);
        return Made::new(async move {
            let (result, buf) = read.await;
            let count = check.result(result).unwrap_or(0);
            assert!(is_pattern(&buf[..count], offset));
        })
        .alone();
    }
    let mode = rng.pick(&[ReadMode::Inline, ReadMode::Async]);
    let read = file.read_at_with(Guarded::new(len), offset, mode);
    Made::new(async move {
        let (result, buf) = read.await;
        let count = check.result(result).unwrap_or(0);
        assert!(is_pattern(&buf.bytes()[..count], offset));
    })
    .alone()
}

/// A read that goes on after a short one, with its memory in its future in between: the kernel's are
/// short at the end of the file, the simulated ring's anywhere.
fn read_full(len: usize, rng: &mut Rng, world: &World) -> Made {
    let check = world.check();
    let file = File::from_std(world.file.open());
    let there = rng.below(len) + 1;
    let offset = world.file.len - there as u64;
    let mode = rng.pick(&[ReadMode::Inline, ReadMode::NoWait, ReadMode::Async]);
    let read = file.read_full_at(Guarded::new(len), len, offset, mode);
    let real = world.real;
    Made::new(async move {
        let (result, buf) = read.await;
        if real && mode == ReadMode::NoWait && result.is_err() {
            return;
        }
        let count = check.result(result).unwrap_or(0);
        assert!(!real || count == there, "{count} of {there} bytes");
        assert!(is_pattern(&buf.bytes()[..count], offset));
    })
    .alone()
}

fn recv(kind: Kind, len: usize, rng: &mut Rng, world: &World) -> Made {
    let check = world.check();
    let (ours, peer) = UnixStream::pair().unwrap();
    let stream = net::UnixStream::from_std(ours).unwrap();
    let mut writer = peer.try_clone().unwrap();
    let recv = stream.recv(Guarded::new(len));
    let recv = async move {
        let (result, buf) = recv.await;
        let count = check.result(result).unwrap_or(0);
        assert!(is_pattern(&buf.bytes()[..count], 0));
    };
    let limit = Duration::from_micros(100 * rng.below(30) as u64);
    let made = if kind == Kind::Recv {
        Made::new(recv).alone()
    } else {
        Made::new(async move {
            // Both ends are fine.
            let _ = time::timeout(limit, recv).await;
        })
    };
    let feed = move || {
        // Refused where the receiver is gone already.
        let _ = writer.write_all(&pattern(64));
    };
    Made {
        peer: Some(peer),
        ..made.feed(feed)
    }
}

fn send(kind: Kind, len: usize, world: &World) -> Made {
    let check = world.check();
    let (ours, peer) = UnixStream::pair().unwrap();
    socket2::SockRef::from(&ours)
        .set_send_buffer_size(4096)
        .unwrap();
    ours.set_nonblocking(true).unwrap();
    while (&ours).write(&[0; 4096]).is_ok() {}
    let stream = net::UnixStream::from_std(ours).unwrap();
    let mut reader = peer.try_clone().unwrap();
    let made = if kind == Kind::Send {
        let send = stream.send(Guarded::filled(len));
        Made::new(async move {
            check.result(send.await.0);
        })
        .alone()
    } else {
        let bufs = vec![Guarded::filled(len), Guarded::filled(len)];
        Made::new(async move {
            check.result(stream.send_vectored(bufs).await.0);
        })
    };
    let feed = move || {
        reader.set_nonblocking(true).unwrap();
        while matches!(reader.read(&mut [0; 16 * 1024]), Ok(1..)) {}
    };
    Made {
        peer: Some(peer),
        ..made.feed(feed)
    }
}

/// What results are held to.
#[derive(Clone, Copy, Debug)]
pub struct Check {
    /// The simulated ring makes errors.
    pub errors: bool,
}

impl Check {
    fn result<T>(self, result: io::Result<T>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) if self.errors => {
                assert!(error.raw_os_error().is_some());
                None
            }
            Err(error) => panic!("an operation failed: {error}"),
        }
    }
}
