//! Requests and answers over a socket that blocks.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use socket2::SockRef;

/// The longest that a client waits for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The longest head of an answer.
const HEAD_MAX: usize = 16 << 10;

/// One connection.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    buffer: Vec<u8>,
    /// What of the buffer was received and not taken yet.
    begin: usize,
    end: usize,
}

/// What an answer's head says.
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) len: usize,
    pub(crate) text: String,
}

/// An answer in memory.
pub(crate) struct Answer {
    pub(crate) head: Head,
    pub(crate) body: Vec<u8>,
}

impl Client {
    pub(crate) fn connect(addr: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(addr)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self {
            stream,
            buffer: vec![0; 32 << 10],
            begin: 0,
            end: 0,
        })
    }

    /// Sends bytes.
    pub(crate) fn send(&mut self, text: &[u8]) -> io::Result<()> {
        self.stream.write_all(text)
    }

    /// Asks for something, and takes the answer.
    pub(crate) fn get(&mut self, path: &str, fields: &str) -> io::Result<Answer> {
        self.send(request("GET", path, fields).as_bytes())?;
        self.answer()
    }

    /// Takes an answer to GET into memory.
    pub(crate) fn answer(&mut self) -> io::Result<Answer> {
        let head = self.head()?;
        let mut body = Vec::with_capacity(head.len.min(1 << 20));
        self.body(&head, |part| body.extend_from_slice(part))?;
        Ok(Answer { head, body })
    }

    /// Takes an answer's head.
    pub(crate) fn head(&mut self) -> io::Result<Head> {
        let len = loop {
            let there = &self.buffer[self.begin..self.end];
            if let Some(end) = there.windows(4).position(|part| part == b"\r\n\r\n") {
                break end + 4;
            }
            if there.len() > HEAD_MAX {
                return Err(io::Error::other("a head without end"));
            }
            if self.receive()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        };
        let text = &self.buffer[self.begin..self.begin + len];
        let text = String::from_utf8_lossy(text).into_owned();
        self.begin += len;
        let malformed = || io::Error::other(format!("a malformed head: {text}"));
        let status = text
            .strip_prefix("HTTP/1.1 ")
            .and_then(|rest| rest.get(..3));
        let status = status.and_then(|status| status.parse().ok());
        let status = status.ok_or_else(malformed)?;
        let len = field(&text, "Content-Length").map(str::parse);
        let len = len.transpose().map_err(|_| malformed())?.unwrap_or(0);
        Ok(Head { status, len, text })
    }

    /// Takes an answer's body, part by part.
    pub(crate) fn body(&mut self, head: &Head, mut each: impl FnMut(&[u8])) -> io::Result<()> {
        let mut left = head.len;
        while left > 0 {
            if self.begin == self.end && self.receive()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let count = left.min(self.end - self.begin);
            each(&self.buffer[self.begin..self.begin + count]);
            self.begin += count;
            left -= count;
        }
        Ok(())
    }

    /// Takes what comes up to the end of the connection, and gives how many answers began in it.
    pub(crate) fn answers_to_the_end(&mut self) -> io::Result<usize> {
        let mut count = 0;
        while match self.head() {
            Ok(head) => {
                count += 1;
                self.body(&head, |_| {})?;
                true
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => false,
            Err(error) => return Err(error),
        } {}
        Ok(count)
    }

    /// Ends the connection as one that vanishes does: by a reset.
    pub(crate) fn vanish(self) -> io::Result<()> {
        SockRef::from(&self.stream).set_linger(Some(Duration::ZERO))
    }

    fn receive(&mut self) -> io::Result<usize> {
        if self.begin > 0 {
            self.buffer.copy_within(self.begin..self.end, 0);
            self.end -= self.begin;
            self.begin = 0;
        }
        let count = read(&self.stream, &mut self.buffer[self.end..])?;
        self.end += count;
        Ok(count)
    }
}

impl Head {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        field(&self.text, name)
    }

    /// Returns whether the server ends the connection after it.
    pub(crate) fn is_last(&self) -> bool {
        self.field("Connection") == Some("close")
    }
}

/// Reads on after EINTR, which a socket with a timeout answers a process that is stopped or frozen.
pub(crate) fn read(mut stream: &TcpStream, into: &mut [u8]) -> io::Result<usize> {
    loop {
        match stream.read(into) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

/// Writes a request; `fields` are lines with their ends.
pub(crate) fn request(method: &str, path: &str, fields: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: soak\r\n{fields}\r\n")
}

fn field<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    text.lines().find_map(|line| {
        let (found, value) = line.split_once(": ")?;
        found.eq_ignore_ascii_case(name).then_some(value)
    })
}
