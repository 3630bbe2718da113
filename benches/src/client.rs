//! A client that keeps connections busy: one request under way on each, and the next one as soon
//! as the answer is there. The same for every server that is measured.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use core_affinity::CoreId;
use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::fd::OwnedFd;
use rustix::io::Errno;

use crate::Failure;
use crate::environment::pin;
use crate::measure::Sample;

/// Bytes taken from a connection at once.
const CHUNK: usize = 256 << 10;
/// A server that answers nothing for so long is given up.
const SILENCE_MAX: Duration = Duration::from_secs(10);
const HEADERS_MAX: usize = 64;

/// A request, and what it must be answered.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) head: Vec<u8>,
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Asked {
    /// A request for `path`, perhaps for a part of it.
    pub(crate) fn get(path: &str, range: Option<std::ops::Range<u64>>, body: Vec<u8>) -> Self {
        let (status, range) = match range {
            None => (200, String::new()),
            Some(range) => (
                206,
                format!("Range: bytes={}-{}\r\n", range.start, range.end - 1),
            ),
        };
        let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{range}\r\n");
        Self {
            head: head.into_bytes(),
            status,
            body,
        }
    }
}

/// What a client does to a server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load<'a> {
    pub(crate) addr: SocketAddr,
    pub(crate) core: CoreId,
    pub(crate) connections: usize,
    /// Requests before time is taken, and those that count, of all connections together.
    pub(crate) warm_up: u64,
    pub(crate) requests: u64,
    /// What is asked for, in turn.
    pub(crate) asked: &'a [Asked],
}

impl Load<'_> {
    /// Runs it on a thread of its own. `server_time` says how much time the server has had of all
    /// cores so far, and is asked on that thread. Answers are compared byte by byte before time
    /// is taken, and by status and length while it is.
    pub(crate) fn run(
        &self,
        server_time: impl Fn() -> Result<Duration, Failure> + Sync,
    ) -> Result<Sample, Failure> {
        thread::scope(|scope| scope.spawn(|| self.drive(&server_time)).join())
            .unwrap_or_else(|_| Err("the client panicked".into()))
    }

    fn drive(
        &self,
        server_time: &dyn Fn() -> Result<Duration, Failure>,
    ) -> Result<Sample, Failure> {
        pin(self.core)?;
        let mut crowd = Crowd::connect(self)?;
        crowd.check_bodies()?;
        crowd.ask(self.warm_up)?;
        let (cpu, start) = (server_time()?, Instant::now());
        crowd.ask(self.requests)?;
        let elapsed = start.elapsed();
        Ok(Sample {
            elapsed,
            cpu: server_time()?.saturating_sub(cpu),
            items: self.requests,
        })
    }
}

/// The connections.
struct Crowd<'a> {
    epoll: OwnedFd,
    connections: Vec<Connection>,
    asked: &'a [Asked],
    chunk: Vec<u8>,
}

struct Connection {
    stream: TcpStream,
    /// The number of the request that is under way or was the last.
    asked: usize,
    /// The answer's head, as far as it is there.
    head: Vec<u8>,
    answer: Answer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    None,
    Head,
    /// Bytes of the body that are still to come.
    Body(usize),
}

impl<'a> Crowd<'a> {
    fn connect(load: &Load<'a>) -> Result<Self, Failure> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut connections = Vec::new();
        for number in 0..load.connections {
            let stream = TcpStream::connect(load.addr)
                .map_err(|error| format!("the server at {}: {error}", load.addr))?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(SILENCE_MAX))?;
            let data = epoll::EventData::new_u64(number as u64);
            epoll::add(&epoll, &stream, data, epoll::EventFlags::IN)?;
            connections.push(Connection {
                stream,
                asked: number,
                head: Vec::new(),
                answer: Answer::None,
            });
        }
        Ok(Self {
            epoll,
            connections,
            asked: load.asked,
            chunk: vec![0; CHUNK],
        })
    }

    /// Asks for everything once, on one connection, and looks at every byte of the answers.
    fn check_bodies(&mut self) -> Result<(), Failure> {
        let stream = &mut self.connections[0].stream;
        for asked in self.asked {
            stream.write_all(&asked.head)?;
            let mut got = Vec::new();
            let (head_len, head) = loop {
                let count = match stream.read(&mut self.chunk) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    read => read?,
                };
                got.extend_from_slice(&self.chunk[..count]);
                match parse(&got)? {
                    Some(head) => break head,
                    None if count == 0 => return Err("the server hung up".into()),
                    None => {}
                }
            };
            head.check(asked)?;
            let mut body = got.split_off(head_len);
            let missing = head.len.saturating_sub(body.len());
            io::copy(&mut stream.take(missing as u64), &mut body)?;
            if body != asked.body {
                let request = String::from_utf8_lossy(&asked.head);
                return Err(format!("the answer to {request:?} is wrong").into());
            }
        }
        for connection in &self.connections {
            connection.stream.set_nonblocking(true)?;
        }
        Ok(())
    }

    /// Asks `requests` times, and returns when all is answered.
    fn ask(&mut self, requests: u64) -> Result<(), Failure> {
        let mut to_ask = requests;
        let mut to_answer = requests;
        for connection in &mut self.connections {
            if to_ask > 0 {
                connection.ask(self.asked)?;
                to_ask -= 1;
            }
        }
        let mut events: Vec<epoll::Event> = Vec::with_capacity(self.connections.len());
        let patience = rustix::time::Timespec::try_from(SILENCE_MAX)?;
        while to_answer > 0 {
            events.clear();
            match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&patience)) {
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            }
            if events.is_empty() {
                return Err(format!("the server is silent, with {to_answer} to answer").into());
            }
            for event in &events {
                let connection = &mut self.connections[usize::try_from(event.data.u64())?];
                if !connection.take(&mut self.chunk, self.asked)? {
                    continue;
                }
                to_answer -= 1;
                if to_ask > 0 {
                    connection.ask(self.asked)?;
                    to_ask -= 1;
                }
            }
        }
        Ok(())
    }
}

impl Connection {
    fn ask(&mut self, asked: &[Asked]) -> Result<(), Failure> {
        self.asked += 1;
        let head = &asked[self.asked % asked.len()].head;
        self.answer = Answer::Head;
        self.head.clear();
        // Only short requests are sent, and only when all before is answered.
        let sent = self.stream.write(head)?;
        if sent == head.len() {
            return Ok(());
        }
        Err(format!("{sent} bytes of a request of {} were taken", head.len()).into())
    }

    /// Takes what has come; says whether the answer is complete.
    fn take(&mut self, chunk: &mut [u8], asked: &[Asked]) -> Result<bool, Failure> {
        let count = match self.stream.read(chunk) {
            Ok(0) => return Err("the server hung up".into()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let got = match self.answer {
            Answer::None => return Err("an answer to nothing".into()),
            Answer::Body(_) => count,
            Answer::Head => {
                self.head.extend_from_slice(&chunk[..count]);
                let Some((head_len, head)) = parse(&self.head)? else {
                    return Ok(false);
                };
                head.check(&asked[self.asked % asked.len()])?;
                self.answer = Answer::Body(head.len);
                self.head.len() - head_len
            }
        };
        let Answer::Body(left) = self.answer else {
            return Ok(false);
        };
        let left = left.checked_sub(got).ok_or("the answer is too long")?;
        self.answer = if left == 0 {
            Answer::None
        } else {
            Answer::Body(left)
        };
        Ok(left == 0)
    }
}

/// What matters of an answer's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    len: usize,
}

impl Head {
    fn check(self, asked: &Asked) -> Result<(), Failure> {
        if (self.status, self.len) == (asked.status, asked.body.len()) {
            return Ok(());
        }
        let request = String::from_utf8_lossy(&asked.head);
        let Self { status, len } = self;
        Err(format!("{request:?} was answered {status} with {len} bytes").into())
    }
}

/// The head and its length, once all of it is there.
fn parse(bytes: &[u8]) -> Result<Option<(usize, Head)>, Failure> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head_len) = response.parse(bytes)? else {
        return Ok(None);
    };
    let status = response.code.ok_or("an answer without a status")?;
    let len = response
        .headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("content-length"))
        .ok_or("an answer without a length")?;
    let len = std::str::from_utf8(len.value)?.trim().parse()?;
    Ok(Some((head_len, Head { status, len })))
}

#[cfg(test)]
mod tests {
    use super::{Asked, Head, parse};

    #[test]
    fn heads_are_found_whole_or_not_at_all() {
        let bytes = b"HTTP/1.1 206 Partial Content\r\nContent-Length: 5\r\n\r\nhello";
        let head = Head {
            status: 206,
            len: 5,
        };
        assert_eq!(parse(bytes).unwrap(), Some((bytes.len() - 5, head)));
        assert_eq!(parse(&bytes[..40]).unwrap(), None);
        assert!(parse(b"SMTP 1\r\n\r\n").is_err());
        assert!(parse(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }

    #[test]
    fn another_status_or_length_is_an_error() {
        let asked = Asked::get("/", Some(0..5), b"hello".to_vec());
        assert!(asked.head.ends_with(b"bytes=0-4\r\n\r\n"));
        let right = Head {
            status: 206,
            len: 5,
        };
        assert!(right.check(&asked).is_ok());
        assert!(Head { len: 6, ..right }.check(&asked).is_err());
        assert!(
            Head {
                status: 200,
                ..right
            }
            .check(&asked)
            .is_err()
        );
    }
}
