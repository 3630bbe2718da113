//! One operation of each kind, some of which wait until they are cancelled.

use std::future::Future;
use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::os::unix::net as std_unix;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use corelane::fs::{Advice, File, OpenOptions, ReadMode};
use corelane::net::{BufRing, TcpListener, UnixListener, UnixStream};
use corelane::sync::{channel, local};
use corelane::{AsyncFd, spawn_blocking, time};

use crate::common::pattern;
use crate::common::quarantine::Guarded;
use crate::harness::Backend;
use crate::sockets::full_unix;

pub(crate) type Local = Pin<Box<dyn Future<Output = ()>>>;

/// An operation that was not polled yet.
pub(crate) struct Made {
    pub(crate) name: &'static str,
    pub(crate) future: Local,
    /// It waits until it is cancelled.
    pub(crate) waits: bool,
    /// What shows, once it is cancelled, that it has taken nothing and closed nothing.
    pub(crate) after: Option<Local>,
}

impl Made {
    fn prompt(name: &'static str, future: impl Future<Output = ()> + 'static) -> Self {
        Self {
            name,
            future: Box::pin(future),
            waits: false,
            after: None,
        }
    }

    fn waiting(name: &'static str, future: impl Future<Output = ()> + 'static) -> Self {
        Self {
            waits: true,
            ..Self::prompt(name, future)
        }
    }

    fn after(self, after: impl Future<Output = ()> + 'static) -> Self {
        Self {
            after: Some(Box::pin(after)),
            ..self
        }
    }
}

/// What the operations work on.
#[derive(Debug)]
pub(crate) struct World {
    folder: tempfile::TempDir,
    file: PathBuf,
    sockets: std::cell::Cell<usize>,
}

const LEN: usize = 20_000;

impl World {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, pattern(LEN)).unwrap();
        Self {
            folder,
            file,
            sockets: std::cell::Cell::new(0),
        }
    }

    fn open(&self) -> File {
        let mut options = std::fs::OpenOptions::new();
        File::from_std(options.read(true).write(true).open(&self.file).unwrap())
    }

    fn socket_path(&self) -> PathBuf {
        let number = self.sockets.get();
        self.sockets.set(number + 1);
        self.folder.path().join(format!("socket-{number}"))
    }

    /// Makes one operation of each kind.
    pub(crate) fn all(&self, backend: &Backend) -> Vec<Made> {
        let mut all = self.files();
        all.extend(self.metadata());
        all.extend(pipes());
        all.extend(self.sockets());
        all.extend(streams());
        all.extend(beside());
        // As `SIM_CANNOT` says of `received_into_provided_buffers`.
        if !backend.is_sim() {
            all.push(recv_stream());
        }
        all
    }

    fn files(&self) -> Vec<Made> {
        let read = |mode| {
            let read = self.open().read_at_with(Guarded::new(9000), 5, mode);
            async move { assert_eq!(read.await.0.unwrap(), 9000) }
        };
        let (file, exact, written) = (self.open(), self.open(), self.open());
        let write = self.open().write_at(Guarded::filled(9000), 0);
        vec![
            Made::prompt("read", read(ReadMode::Inline)),
            Made::prompt("read on a thread", read(ReadMode::Async)),
            Made::prompt("readv", async move {
                let bufs = vec![Guarded::new(3000), Guarded::new(100)];
                assert_eq!(file.readv_at(bufs, 0).await.0.unwrap(), 3100);
            }),
            Made::prompt("exact read", async move {
                exact.read_exact_at(Guarded::new(LEN), 0).await.0.unwrap();
            }),
            Made::prompt("write", async move {
                assert_eq!(write.await.0.unwrap(), 9000);
            }),
            Made::prompt("write all, in segments", async move {
                written
                    .write_all_at(Guarded::filled(LEN), 0)
                    .await
                    .0
                    .unwrap();
            }),
        ]
    }

    fn metadata(&self) -> Vec<Made> {
        let path = || self.file.clone();
        let (opened, created, asked, listed) = (
            path(),
            self.folder.path().join("made"),
            path(),
            self.folder.path().to_owned(),
        );
        let (stat, all, data, advised, closed) = (
            self.open(),
            self.open(),
            self.open(),
            self.open(),
            self.open(),
        );
        vec![
            Made::prompt("open", async move {
                File::open(opened).await.unwrap();
            }),
            Made::prompt("create", async move {
                let mut options = OpenOptions::new();
                options
                    .write(true)
                    .create(true)
                    .open(created)
                    .await
                    .unwrap();
            }),
            Made::prompt("statx by path", async move {
                corelane::fs::metadata(asked).await.unwrap();
            }),
            Made::prompt("statx", async move {
                assert_eq!(stat.statx().await.unwrap().len(), LEN as u64);
            }),
            Made::prompt("fsync", async move { all.sync_all().await.unwrap() }),
            Made::prompt("fdatasync", async move { data.sync_data().await.unwrap() }),
            Made::prompt("fadvise", async move {
                advised.advise(0, 0, Advice::Normal).await.unwrap();
            }),
            Made::prompt("close", async move { closed.close().await.unwrap() }),
            Made::prompt("list a folder", async move {
                assert!(!corelane::fs::read_dir(listed).await.unwrap().is_empty());
            }),
        ]
    }

    fn sockets(&self) -> Vec<Made> {
        let (one, two, full) = (self.socket_path(), self.socket_path(), self.socket_path());
        let listener = std::rc::Rc::new(UnixListener::bind(&one).unwrap());
        let accepting = listener.clone();
        let incoming_listener = UnixListener::bind(&two).unwrap();
        let mut incoming = incoming_listener.incoming();
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let crowd = full_unix(&full);
        vec![
            Made::waiting("accept", async move {
                accepting.accept().await.unwrap();
            })
            .after(async move {
                let _client = std_unix::UnixStream::connect(&one).unwrap();
                listener.accept().await.unwrap();
            }),
            Made::waiting("accept continuously", async move {
                incoming.next().await.unwrap().unwrap();
            })
            .after(async move {
                let _client = std_unix::UnixStream::connect(&two).unwrap();
                incoming_listener.accept().await.unwrap();
            }),
            Made::waiting("accept TCP", async move {
                tcp.accept().await.unwrap();
            }),
            Made::waiting("connect", async move {
                let _crowd = crowd;
                UnixStream::connect(full).await.unwrap();
            }),
        ]
    }
}

fn pipes() -> Vec<Made> {
    let pipe = || {
        let (reader, writer) = std::io::pipe().unwrap();
        (File::from_std(OwnedFd::from(reader).into()), writer)
    };
    let ((one, mut to_one), (two, mut to_two)) = (pipe(), pipe());
    let (read, again) = (one.read_at(Guarded::new(100), 0), one);
    let (from_full, full) = std::io::pipe().unwrap();
    let full = File::from_std(OwnedFd::from(full).into());
    let readv = two.clone();
    vec![
        Made::waiting("read a pipe", async move {
            read.await.0.unwrap();
        })
        .after(async move {
            to_one.write_all(b"later").unwrap();
            let (_, buf) = again.read_at(Vec::with_capacity(10), 0).await;
            assert_eq!(buf, b"later");
        }),
        Made::waiting("readv a pipe", async move {
            readv.readv_at(vec![Guarded::new(10)], 0).await.0.unwrap();
        })
        .after(async move {
            to_two.write_all(b"later").unwrap();
            let (_, buf) = two.read_at(Vec::with_capacity(10), 0).await;
            assert_eq!(buf, b"later");
        }),
        Made::waiting("write a pipe", async move {
            let _reader = from_full;
            // More than it holds.
            full.write_all_at(Guarded::filled(1 << 20), 0)
                .await
                .0
                .unwrap();
        }),
    ]
}

/// A stream whose peer takes no more.
fn full_stream() -> (UnixStream, std_unix::UnixStream) {
    let (ours, peer) = std_unix::UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    while (&ours).write(&[0; 4096]).is_ok() {}
    while (&ours).write(&[0]).is_ok() {}
    (UnixStream::from_std(ours).unwrap(), peer)
}

fn streams() -> Vec<Made> {
    let (one, mut peer) = std_unix::UnixStream::pair().unwrap();
    let one = UnixStream::from_std(one).unwrap();
    let recv = one.recv(Guarded::new(100));
    let (sender, mut sent_to) = full_stream();
    let send = sender.send(Guarded::filled(3));
    let (all, all_to) = full_stream();
    let (vectored, vectored_to) = full_stream();
    let (end, ended) = UnixStream::pair().unwrap();
    let closing = UnixStream::pair().unwrap();
    vec![
        Made::waiting("recv", async move {
            recv.await.0.unwrap();
        })
        .after(async move {
            peer.write_all(b"later").unwrap();
            let (_, buf) = one.recv(Vec::with_capacity(10)).await;
            assert_eq!(buf, b"later");
        }),
        Made::waiting("send", async move {
            send.await.0.unwrap();
        })
        .after(async move {
            // Nothing of it was sent, and there is room again.
            sent_to.set_nonblocking(true).unwrap();
            let mut bytes = [0; 4096];
            while let Ok(count) = sent_to.read(&mut bytes) {
                assert!(bytes[..count].iter().all(|byte| *byte == 0));
            }
            sender.send_all(b"later".to_vec()).await.0.unwrap();
        }),
        Made::waiting("send all", async move {
            let _peer = all_to;
            all.send_all(Guarded::filled(100_000)).await.0.unwrap();
        }),
        Made::waiting("send segments", async move {
            let _peer = vectored_to;
            let bufs = vec![Guarded::filled(300), Guarded::filled(7)];
            vectored.send_vectored_all(bufs).await.0.unwrap();
        }),
        Made::prompt("shutdown", async move {
            end.shutdown(std::net::Shutdown::Write).await.unwrap();
            drop(ended);
        }),
        Made::prompt("close a socket", async move {
            closing.0.close().await.unwrap();
        }),
    ]
}

fn recv_stream() -> Made {
    let (ours, peer) = std_unix::UnixStream::pair().unwrap();
    let stream = UnixStream::from_std(ours).unwrap();
    let mut received = stream.recv_stream(&BufRing::new(2, 100).unwrap());
    Made::waiting("recv continuously", async move {
        received.next().await.unwrap().unwrap();
        drop(peer);
    })
}

/// What waits without an operation of the backend, or for a foreign descriptor.
fn beside() -> Vec<Made> {
    let (ours, peer) = std_unix::UnixStream::pair().unwrap();
    let ready = AsyncFd::new(ours);
    let (sender, mut receiver) = channel::bounded::<u8>(1);
    let (local_sender, mut local_receiver) = local::bounded::<u8>(1);
    let hour = Duration::from_secs(3600);
    vec![
        Made::waiting("readiness", async move {
            ready.readable().await.unwrap();
            drop(peer);
        }),
        Made::waiting("sleep", time::sleep(hour)),
        Made::waiting("timeout", async move {
            let never = std::future::pending::<()>();
            time::timeout(hour, never).await.unwrap();
        }),
        Made::waiting("channel", async move {
            receiver.recv().await;
            drop(sender);
        }),
        Made::waiting("local channel", async move {
            local_receiver.recv().await;
            drop(local_sender);
        }),
        Made::prompt("blocking", async {
            assert_eq!(spawn_blocking(|| 7).await.unwrap(), 7);
        }),
    ]
}
