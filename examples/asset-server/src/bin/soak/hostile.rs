//! Clients that do what nobody should. None of it is a failure of the server but a wrong answer:
//! what it owes them is a status, or an end.

use std::io::{self, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::assets::{Asset, Assets, BOMB_LEN, SECRET};
use crate::message::{Answer, Client, read, request};
use crate::rng::Rng;
use crate::tally::Tally;

/// How often a client that is slow on purpose does something.
const PACE: Duration = Duration::from_millis(100);

/// Requests in one flood.
const FLOOD: usize = 10_000;

/// What an attack needs.
struct Attack<'a> {
    addr: SocketAddr,
    assets: &'a Assets,
    tally: &'a Tally,
    is_over: &'a AtomicBool,
    rng: Rng,
}

type Kind = (&'static str, fn(&mut Attack<'_>) -> io::Result<()>);

const KINDS: [Kind; 15] = [
    ("heads that drip in", drip),
    ("connections that say nothing", say_nothing),
    ("answers that are hardly taken", take_slowly),
    ("heads of every excess", exceed),
    ("floods of 10,000 requests", flood),
    ("floods whose answers nobody takes", flood_and_vanish),
    ("clients that vanish within an answer", vanish),
    ("clients that end their side", half_close),
    ("a thousand ranges", bomb_with_ranges),
    ("bodies that smuggle", smuggle),
    ("paths that lead out", lead_out),
    ("things that are no files", ask_for_odd_files),
    ("archives' bombs", set_off_bombs),
    ("connections that end at once", churn),
    ("pages, again and again", ask_for_pages),
];

/// Attacks in one way, by the client's number, until it is over.
pub(crate) fn run(
    addr: SocketAddr,
    assets: &Assets,
    tally: &Tally,
    is_over: &AtomicBool,
    number: usize,
    seed: u64,
) {
    let (name, attack) = KINDS[number % KINDS.len()];
    let mut context = Attack {
        addr,
        assets,
        tally,
        is_over,
        rng: Rng::new(seed),
    };
    while !context.is_over() {
        // Who attacks may be reset, and answered by nothing.
        if attack(&mut context).is_err() {
            thread::sleep(Duration::from_millis(1));
        }
        tally.attacked(name);
    }
}

impl Attack<'_> {
    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    fn connect(&self) -> io::Result<Client> {
        Client::connect(self.addr)
    }

    fn small(&mut self) -> &Asset {
        &self.assets.all[*self.rng.pick(&self.assets.small)]
    }

    /// Counts an answer, which is to have one of these statuses.
    fn expect(&self, what: &str, answer: &Answer, statuses: &[u16]) {
        self.tally
            .hostile
            .answered(answer.head.status, answer.body.len());
        let has_secret = answer.body.windows(SECRET.len()).any(|part| part == SECRET);
        if has_secret || !statuses.contains(&answer.head.status) {
            self.tally
                .wrong(format!("{what} -> {}", answer.head.text.escape_debug()));
        }
    }

    fn wrong(&self, what: &str) {
        self.tally.wrong(what.to_owned());
    }
}

fn drip(attack: &mut Attack<'_>) -> io::Result<()> {
    let mut client = attack.connect()?;
    client.stream.set_read_timeout(Some(PACE))?;
    for byte in b"GET /a/".iter().chain(b"x".iter().cycle().take(1000)) {
        client.send(&[*byte])?;
        match client.answer() {
            Ok(answer) => {
                attack.expect("a head that drips in", &answer, &[408]);
                return Ok(());
            }
            Err(error) if is_not_yet(&error) && !attack.is_over() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn say_nothing(attack: &mut Attack<'_>) -> io::Result<()> {
    let client = attack.connect()?;
    client.stream.set_read_timeout(Some(PACE))?;
    loop {
        match read(&client.stream, &mut [0; 64]) {
            Ok(0) => return Ok(()),
            Ok(_) => attack.wrong("an answer to nothing"),
            Err(error) if is_not_yet(&error) && !attack.is_over() => {}
            Err(error) => return Err(error),
        }
    }
}

fn take_slowly(attack: &mut Attack<'_>) -> io::Result<()> {
    let socket = Socket::new(Domain::for_address(attack.addr), Type::STREAM, None)?;
    socket.set_recv_buffer_size(4096)?;
    socket.connect(&attack.addr.into())?;
    let stream = TcpStream::from(socket);
    let paths = ["/a/huge", "/a/bomb.zip", "/a/0-64.bin"];
    let path = attack.rng.pick(&paths);
    (&stream).write_all(request("GET", path, "").as_bytes())?;
    let mut part = [0; 512];
    while !attack.is_over() {
        if read(&stream, &mut part)? == 0 {
            break;
        }
        thread::sleep(PACE);
    }
    Ok(())
}

fn exceed(attack: &mut Attack<'_>) -> io::Result<()> {
    let long = "x".repeat(20_000);
    let (sent, status) = match attack.rng.below(5) {
        0 => (format!("GET /{long}"), 414),
        1 => (format!("GET / HTTP/1.1\r\nHost: x\r\nX: {long}"), 431),
        2 => (
            format!(
                "GET / HTTP/1.1\r\nHost: x\r\n{}\r\n",
                "X: y\r\n".repeat(100)
            ),
            431,
        ),
        3 => (request("GET", &format!("/a/{}", &long[..5000]), ""), 414),
        _ => ("\0\u{16}\u{3}\u{1}".to_owned(), 400),
    };
    let mut client = attack.connect()?;
    client.send(sent.as_bytes())?;
    let answer = client.answer()?;
    // A machine that is overloaded may take longer for it than there is.
    attack.expect("a head of excess", &answer, &[status, 408]);
    Ok(())
}

fn flood(attack: &mut Attack<'_>) -> io::Result<()> {
    let mut client = attack.connect()?;
    let mut sending = client.stream.try_clone()?;
    let asset = attack.small();
    let (path, bytes) = (asset.path.clone(), asset.bytes.len());
    let one = request("GET", &path, "");
    // Not more than a second's worth, or short runs would wait for it.
    let count = FLOOD.min((20 << 20) / bytes.max(1));
    let flood = one.repeat(count);
    thread::scope(|scope| {
        let sent = scope.spawn(move || sending.write_all(flood.as_bytes()));
        let taken = (0..count).try_for_each(|_| {
            let answer = client.answer()?;
            attack.expect(&path, &answer, &[200, 503]);
            if answer.head.status == 200 && answer.body.len() != bytes {
                attack.wrong("an answer in a flood");
            }
            match attack.is_over() {
                true => Err(io::ErrorKind::Interrupted.into()),
                false => Ok(()),
            }
        });
        // It may still wait for room.
        let _ = client.stream.shutdown(Shutdown::Both);
        let sent = sent
            .join()
            .unwrap_or_else(|_| Err(io::ErrorKind::Other.into()));
        taken.and(sent)
    })
}

fn flood_and_vanish(attack: &mut Attack<'_>) -> io::Result<()> {
    let client = attack.connect()?;
    let flood = request("GET", &attack.small().path, "").repeat(FLOOD);
    client.stream.set_nonblocking(true)?;
    // As much as the sockets take.
    let _ = (&client.stream).write(flood.as_bytes());
    thread::sleep(PACE);
    client.vanish()
}

fn vanish(attack: &mut Attack<'_>) -> io::Result<()> {
    let paths = ["/a/huge", "/a/bomb.zip", "/a/0-64.bin", "/a/3-64.bin", "/"];
    let path = attack.rng.pick(&paths);
    let sent = request("GET", path, "");
    let mut client = attack.connect()?;
    let end = attack.rng.below(sent.len() * 2).min(sent.len());
    client.send(&sent.as_bytes()[..end])?;
    if end == sent.len() && attack.rng.below(2) == 0 {
        let _ = read(&client.stream, &mut [0; 1000])?;
    }
    match attack.rng.below(2) {
        0 => client.vanish(),
        _ => Ok(()),
    }
}

fn half_close(attack: &mut Attack<'_>) -> io::Result<()> {
    let mut client = attack.connect()?;
    let asset = attack.small();
    let (path, bytes) = (asset.path.clone(), asset.bytes.clone());
    let sent = request("GET", &path, "").repeat(3);
    client.send(sent.as_bytes())?;
    client.stream.shutdown(Shutdown::Write)?;
    for _ in 0..3 {
        let answer = client.answer()?;
        attack.expect("a client that ended its side", &answer, &[200, 503]);
        if answer.head.status == 200 && answer.body != bytes {
            attack.wrong("an answer to a client that ended its side");
        }
    }
    Ok(())
}

fn bomb_with_ranges(attack: &mut Attack<'_>) -> io::Result<()> {
    let list = |count: usize, range: &dyn Fn(usize) -> String| {
        (0..count).map(range).collect::<Vec<_>>().join(",")
    };
    let ranges = match attack.rng.below(5) {
        0 => list(1000, &|n| format!("{}-{}", n * 7, n * 7)),
        1 => list(1000, &|_| "0-".to_owned()),
        2 => list(16, &|n| format!("{n}-")),
        3 => list(16, &|n| format!("{}-{}", n * 1000, n * 1000 + 900)),
        _ => "18446744073709551615-,-18446744073709551615,99999999999999999999-".to_owned(),
    };
    let mut client = attack.connect()?;
    let numbers = attack.assets.all.len();
    let asset = &attack.assets.all[attack.rng.below(numbers)];
    let answer = client.get(&asset.path, &format!("Range: bytes={ranges}\r\n"))?;
    attack.expect(&asset.path, &answer, &[200, 206, 416, 503]);
    // A head for each part, and no byte twice.
    if answer.body.len() > asset.bytes.len() + 16 * 250 {
        attack.wrong("more than there is, for many ranges");
    }
    Ok(())
}

fn smuggle(attack: &mut Attack<'_>) -> io::Result<()> {
    let framings = [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: +5\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Content-Length: 60\r\n",
        "X: a\r\n Transfer-Encoding: chunked\r\n",
    ];
    let framing = attack.rng.pick(&framings);
    let inner = request("GET", "/healthz", "");
    let sent = format!(
        "{}0\r\n\r\n{inner}",
        request("GET", "/a/below/missing", framing)
    );
    let mut client = attack.connect()?;
    client.send(sent.as_bytes())?;
    let answer = client.answer()?;
    attack.expect(framing, &answer, &[400, 404]);
    if client.answers_to_the_end()? > 0 {
        attack.wrong("an answer to what was smuggled");
    }
    Ok(())
}

fn lead_out(attack: &mut Attack<'_>) -> io::Result<()> {
    let ups = [
        "..",
        "%2e%2e",
        "%252e%252e",
        "..%5c",
        "%c0%ae%c0%ae",
        "%ef%bc%8e%ef%bc%8e",
        "..%00",
    ];
    let separators = ["/", "%2f", "%252f", "\\", "//", "%c0%af", "%ef%bc%8f"];
    let mut client = attack.connect()?;
    for up in ups {
        for separator in separators {
            let path = format!("/a/below{separator}{up}{separator}{up}{separator}secret");
            let answer = client.get(&path, "")?;
            attack.expect(&path, &answer, &[400, 404]);
        }
    }
    // Nobody knows what an archive has that is being replaced.
    let absent: &[u16] = &[404, 503];
    for (path, statuses) in [
        ("a".repeat(4096), &[414][..]),
        ("a/".repeat(2000), absent),
        ("a".repeat(256), absent),
    ] {
        let answer = client.get(&format!("/a/{path}"), "")?;
        attack.expect("a long path", &answer, statuses);
    }
    Ok(())
}

fn ask_for_odd_files(attack: &mut Attack<'_>) -> io::Result<()> {
    let mut client = attack.connect()?;
    for name in [
        "pipe",
        "link-up",
        "link-device",
        "link-loop",
        "below",
        "pipe/x",
        "0-0.bin/x",
    ] {
        let answer = client.get(&format!("/a/{name}"), "")?;
        attack.expect(name, &answer, &[404]);
    }
    Ok(())
}

fn set_off_bombs(attack: &mut Attack<'_>) -> io::Result<()> {
    let mut client = attack.connect()?;
    if attack.rng.below(4) > 0 {
        // All before it is inflated for it.
        let answer = client.get("/a/bomb.zip", "Range: bytes=-10\r\n")?;
        attack.expect("the end of a bomb", &answer, &[206, 503]);
        return Ok(());
    }
    client.send(request("GET", "/a/bomb.zip", "").as_bytes())?;
    let head = client.head()?;
    let mut len = 0;
    client.body(&head, |part| len += part.len())?;
    attack.tally.hostile.answered(head.status, len);
    if !matches!((head.status, len), (200, BOMB_LEN) | (503, _)) {
        attack.wrong("a bomb");
    }
    Ok(())
}

fn churn(attack: &mut Attack<'_>) -> io::Result<()> {
    for round in 0..50 {
        let mut client = attack.connect()?;
        if round == 49 {
            return client.vanish();
        }
        // The server has ended its side too before there is another.
        client.stream.shutdown(Shutdown::Write)?;
        if client.answers_to_the_end()? > 0 {
            attack.wrong("an answer to nothing");
        }
    }
    Ok(())
}

fn ask_for_pages(attack: &mut Attack<'_>) -> io::Result<()> {
    let mut client = attack.connect()?;
    for path in ["/", "/a/", "/metrics", "/a/?page=2", "/healthz"] {
        let answer = client.get(path, "")?;
        attack.expect(path, &answer, &[200, 503]);
    }
    Ok(())
}

/// Returns whether nothing came in time.
fn is_not_yet(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}
