//! A server in this process, and clients for it.

use std::fs::File;
use std::future::pending;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use asset_server::args::Args;
use asset_server::serve::{Server, StartError};

/// No answer of these tests takes nearly as long.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(20);

/// A server in this process; stopped on drop.
pub(crate) struct Site(Option<Server>);

impl Site {
    /// Serves `roots` on two workers, with more arguments.
    pub(crate) fn start(line: &str, roots: &[&Path]) -> Self {
        Self(Some(start(line, roots).unwrap()))
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.0.as_ref().unwrap().addr()
    }

    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.addr())
    }

    /// Asks for one thing on a connection of its own.
    pub(crate) fn get(&self, path: &str) -> Answer {
        self.get_with(path, "")
    }

    /// The same with more header lines.
    pub(crate) fn get_with(&self, path: &str, fields: &str) -> Answer {
        let mut client = self.connect();
        client.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n{fields}\r\n"));
        client.answer()
    }

    /// Reads a metric, summed over the workers.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let text = String::from_utf8(self.get("/metrics").body).unwrap();
        let values = text
            .lines()
            .filter(|line| line.starts_with(&format!("asset_server_{name}")))
            .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap());
        values.sum()
    }

    /// Takes the server, to stop it by hand.
    pub(crate) fn into_server(mut self) -> Server {
        self.0.take().unwrap()
    }
}

impl From<Server> for Site {
    fn from(server: Server) -> Self {
        Self(Some(server))
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(server) = self.0.take() {
            server.stop(pending::<()>());
        }
    }
}

/// Starts a server on two workers, unless the line says otherwise, and a free port.
pub(crate) fn start(line: &str, roots: &[&Path]) -> Result<Server, StartError> {
    let drain = match line.contains("--drain-timeout") {
        true => "",
        false => "--drain-timeout 1",
    };
    let workers = match line.contains("--workers") {
        true => "",
        false => "--workers 2",
    };
    let options = format!("asset-server --listen 127.0.0.1:0 {workers} {drain} {line}");
    let mut args = Args::from_command_line(options.split_whitespace()).unwrap();
    args.roots = roots.iter().map(|&root| root.to_owned()).collect();
    Server::start(&args)
}

/// One connection.
pub(crate) struct Client {
    stream: TcpStream,
    received: Vec<u8>,
}

/// One answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Client {
    pub(crate) fn connect(addr: SocketAddr) -> Self {
        Self::on(TcpStream::connect(addr).unwrap())
    }

    pub(crate) fn on(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        stream.set_write_timeout(Some(TIMEOUT)).unwrap();
        Self {
            stream,
            received: Vec::new(),
        }
    }

    pub(crate) fn send(&mut self, text: impl AsRef<[u8]>) {
        self.stream.write_all(text.as_ref()).unwrap();
    }

    /// Asks for something and keeps the connection.
    pub(crate) fn get(&mut self, path: &str) -> Answer {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
        self.answer()
    }

    pub(crate) fn end_sending(&mut self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// Reads one answer to a GET.
    pub(crate) fn answer(&mut self) -> Answer {
        let head_len = loop {
            let end = self.received.windows(4).position(|w| w == b"\r\n\r\n");
            if let Some(end) = end {
                break end + 4;
            }
            assert!(
                self.receive(),
                "no answer: {}",
                self.received.escape_ascii()
            );
        };
        let head = String::from_utf8(self.received.drain(..head_len).collect()).unwrap();
        let mut answer = Answer {
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            head,
            body: Vec::new(),
        };
        let len = answer
            .field("content-length")
            .map_or(0, |len| len.parse().unwrap());
        while self.received.len() < len {
            assert!(self.receive(), "the body is cut off: {answer:?}");
        }
        answer.body = self.received.drain(..len).collect();
        answer
    }

    /// Reads up to the end of some bytes.
    pub(crate) fn skip_to(&mut self, end: &[u8]) {
        while !self.received.ends_with(end) {
            assert!(self.receive(), "{}", self.received.escape_ascii());
        }
        self.received.clear();
    }

    /// Waits until something of an answer is there.
    pub(crate) fn some(&mut self) {
        assert!(self.receive(), "the connection ends");
    }

    /// Reads what still comes, up to the end of the connection.
    pub(crate) fn rest(mut self) -> Vec<u8> {
        while self.receive() {}
        self.received
    }

    /// Waits for more; false at the end.
    ///
    /// A socket with a timeout answers EINTR, not a restart, to a process that is stopped or frozen
    /// (`man 7 signal`).
    fn receive(&mut self) -> bool {
        let mut buf = vec![0; 64 * 1024];
        let count = loop {
            match self.stream.read(&mut buf) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => break read.unwrap(),
            }
        };
        self.received.extend_from_slice(&buf[..count]);
        count > 0
    }
}

impl Answer {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

/// Bytes that are nowhere the same for long, and compress to about a third.
pub(crate) fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&(state & 0x0f0f_0f0f_000f_000f).to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Writes a file that was last modified at a second since 1970.
pub(crate) fn write_old(path: &Path, content: &[u8], modified: u64) {
    let mut file = File::create(path).unwrap();
    file.write_all(content).unwrap();
    file.set_modified(UNIX_EPOCH + Duration::from_secs(modified))
        .unwrap();
}

/// Waits until something is so; it fails if it takes as long as nothing here does.
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + TIMEOUT;
    while !is_so() {
        assert!(std::time::Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
