//! Clients as they should be, on connections that they keep; they check every byte.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::assets::{Asset, Assets, is_one_state};
use crate::message::{Client, Head, PATIENCE, request};
use crate::rng::Rng;
use crate::tally::Tally;

/// How many connections a thread has. With a thread for each, hundreds are ready at once, and one
/// that has taken some milliseconds more than the others is not run before each of them has caught
/// up: for longer than the server waits.
pub(crate) const CONNECTIONS_PER_THREAD: usize = 30;

/// How long a client waits that was told to come back later.
const PAUSE: Duration = Duration::from_millis(50);

/// How many requests a client makes on a connection, about.
const REQUESTS_MAX: usize = 2000;

/// What one asks for.
enum Ask<'a> {
    Whole(&'a Asset),
    Head(&'a Asset),
    Known(&'a Asset),
    /// These bytes of it, the last one included.
    Ranges(&'a Asset, Vec<(usize, usize)>),
    Replaced,
    Missing,
}

/// One client, which has a connection for some requests, and then another.
struct Honest<'a> {
    addr: SocketAddr,
    assets: &'a Assets,
    tally: &'a Tally,
    seed: u64,
    rng: Rng,
    connection: Option<Connection<'a>>,
    /// When it goes on, after a pause.
    resumes: Instant,
}

struct Connection<'a> {
    client: Client,
    requests_left: usize,
    /// When the last request was sent; before the first, when it was made.
    last: Instant,
    asked: Option<Asked<'a>>,
}

/// A request under way.
struct Asked<'a> {
    ask: Ask<'a>,
    sent: String,
    began: Instant,
    /// How long after the one before.
    after: Duration,
}

/// Asks for this and that until it is over, with a connection for each seed.
pub(crate) fn run(
    addr: SocketAddr,
    assets: &Assets,
    tally: &Tally,
    is_over: &AtomicBool,
    seeds: Range<u64>,
) {
    let now = Instant::now();
    let mut clients: Vec<_> = seeds
        .map(|seed| Honest {
            addr,
            assets,
            tally,
            seed,
            rng: Rng::new(seed),
            connection: None,
            resumes: now,
        })
        .collect();
    while !is_over.load(Ordering::Relaxed) {
        clients.iter_mut().for_each(Honest::ask);
        for index in answered(&clients) {
            clients[index].take();
        }
    }
    clients.iter_mut().for_each(Honest::take);
}

/// Waits until answers begin, but for no longer than a pause; gives whose.
fn answered(clients: &[Honest<'_>]) -> Vec<usize> {
    let waiting = clients.iter().enumerate();
    let waiting = waiting.filter_map(|(index, client)| Some((index, client.waits_for()?)));
    let (indices, mut polled): (Vec<_>, Vec<_>) = waiting
        .map(|(index, stream)| (index, PollFd::new(stream, PollFlags::IN)))
        .unzip();
    let pause = Timespec::try_from(PAUSE).expect("a short time");
    // Interrupted, it says that there are none: they are asked for again.
    if poll(&mut polled, Some(&pause)).is_err() {
        return Vec::new();
    }
    let found = indices.into_iter().zip(&polled);
    let found = found.filter(|(_, polled)| !polled.revents().is_empty());
    found.map(|(index, _)| index).collect()
}

impl<'a> Honest<'a> {
    /// Asks for the next thing, unless an answer is still to come.
    fn ask(&mut self) {
        let overdue = self
            .asked()
            .filter(|asked| asked.began.elapsed() > PATIENCE);
        if let Some(why) = overdue.map(|asked| asked.told("no answer")) {
            self.fail(&why);
        }
        if self.asked().is_some() || self.resumes > Instant::now() {
            return;
        }
        if self.connection.is_none() {
            match Connection::make(self.addr, 1 + self.rng.below(REQUESTS_MAX)) {
                Ok(made) => self.connection = Some(made),
                Err(error) => self.fail(&error.to_string()),
            }
        }
        let Some(connection) = &mut self.connection else {
            return;
        };
        if let Err(why) = connection.ask(choose(self.assets, &mut self.rng)) {
            self.fail(&why);
        }
    }

    fn asked(&self) -> Option<&Asked<'a>> {
        self.connection.as_ref()?.asked.as_ref()
    }

    /// Gives the socket that an answer is to come from.
    fn waits_for(&self) -> Option<&TcpStream> {
        let connection = self.connection.as_ref()?;
        connection.asked.as_ref()?;
        Some(&connection.client.stream)
    }

    /// Takes the answer that is to come, if any, and checks it.
    fn take(&mut self) {
        let Some(connection) = &mut self.connection else {
            return;
        };
        let Some(asked) = connection.asked.take() else {
            return;
        };
        let client = &mut connection.client;
        match take(client, &asked.ask, self.tally) {
            Ok(head) => {
                self.tally.latency.add(asked.began.elapsed());
                if head.status == 503 {
                    self.resumes = Instant::now() + PAUSE;
                }
                if head.is_last() || connection.requests_left == 0 {
                    self.connection = None;
                }
            }
            Err(error) => self.fail(&asked.told(&error.to_string())),
        }
    }

    fn fail(&mut self, why: &str) {
        self.tally.failed(format!("{why} (seed {})", self.seed));
        self.connection = None;
        self.resumes = Instant::now() + PAUSE;
    }
}

impl<'a> Connection<'a> {
    fn make(addr: SocketAddr, requests: usize) -> io::Result<Self> {
        Ok(Self {
            client: Client::connect(addr)?,
            requests_left: requests,
            last: Instant::now(),
            asked: None,
        })
    }

    /// Sends a request, or says why not.
    fn ask(&mut self, ask: Ask<'a>) -> Result<(), String> {
        let began = Instant::now();
        let asked = Asked {
            sent: ask.request(),
            ask,
            began,
            after: began - self.last,
        };
        let is_sent = self.client.send(asked.sent.as_bytes());
        is_sent.map_err(|error| asked.told(&error.to_string()))?;
        self.last = began;
        self.requests_left -= 1;
        self.asked = Some(asked);
        Ok(())
    }
}

impl Asked<'_> {
    fn told(&self, error: &str) -> String {
        let line = self.sent.lines().next().unwrap_or_default();
        let (after, took) = (self.after, self.began.elapsed());
        format!(
            "{line}: {error}, {took:?} after it was sent, which was {after:?} after the one before"
        )
    }
}

fn choose<'a>(assets: &'a Assets, rng: &mut Rng) -> Ask<'a> {
    let small = &assets.all[*rng.pick(&assets.small)];
    let any = &assets.all[rng.below(assets.all.len())];
    match rng.below(100) {
        _ if any.bytes.is_empty() => Ask::Whole(any),
        0..62 => Ask::Whole(small),
        62..65 => Ask::Whole(any),
        65..85 => Ask::Ranges(any, vec![range(any, rng)]),
        85..90 => Ask::Ranges(any, vec![range(any, rng), range(any, rng)]),
        90..94 => Ask::Known(small),
        94..97 => Ask::Head(any),
        97..99 => Ask::Replaced,
        _ => Ask::Missing,
    }
}

fn range(of: &Asset, rng: &mut Rng) -> (usize, usize) {
    let first = rng.below(of.bytes.len());
    (
        first,
        first + rng.below((of.bytes.len() - first).min(100_000)),
    )
}

impl Ask<'_> {
    fn request(&self) -> String {
        match self {
            Self::Whole(asset) => request("GET", &asset.path, ""),
            Self::Head(asset) => request("HEAD", &asset.path, ""),
            Self::Known(asset) => {
                let etag = asset.etag.get().map_or("\"none\"", String::as_str);
                request("GET", &asset.path, &format!("If-None-Match: {etag}\r\n"))
            }
            Self::Ranges(asset, ranges) => {
                let ranges = ranges.iter().map(|(first, last)| format!("{first}-{last}"));
                let ranges = ranges.collect::<Vec<_>>().join(",");
                request("GET", &asset.path, &format!("Range: bytes={ranges}\r\n"))
            }
            Self::Replaced => request("GET", "/a/replaced", ""),
            Self::Missing => request("GET", "/a/below/missing", ""),
        }
    }
}

/// Takes an answer and checks it.
fn take(client: &mut Client, ask: &Ask<'_>, tally: &Tally) -> io::Result<Head> {
    let head = client.head()?;
    let is_right = match (ask, head.status) {
        (Ask::Whole(asset) | Ask::Known(asset), 200) => {
            if let Some(etag) = head.field("ETag") {
                // Another client may have been first; it is the same.
                let _ = asset.etag.set(etag.to_owned());
            }
            is_same(client, &head, &asset.bytes)?
        }
        (Ask::Head(asset), 200) => head.len == asset.bytes.len(),
        (Ask::Known(asset), 304) => head.field("ETag") == asset.etag.get().map(String::as_str),
        (Ask::Ranges(asset, ranges), 206) => {
            let (Some(&first), Some(&last)) = (ranges.first(), ranges.last()) else {
                return Err(io::Error::other("no range was asked for"));
            };
            // One of two that touch takes in the other.
            if first.0 <= last.1 + 1 && last.0 <= first.1 + 1 {
                let (from, to) = (first.0.min(last.0), first.1.max(last.1));
                let whole = asset.bytes.len();
                let expected = format!("bytes {from}-{to}/{whole}");
                is_same(client, &head, &asset.bytes[from..=to])?
                    && head.field("Content-Range") == Some(&expected)
            } else {
                let body = collect(client, &head)?;
                parts(&head, asset, ranges).is_some_and(|expected| expected == body)
            }
        }
        (Ask::Replaced, 200) => is_one_state(&collect(client, &head)?),
        (Ask::Missing, 404) | (_, 503) => {
            if !matches!(ask, Ask::Head(_)) {
                client.body(&head, |_| {})?;
            }
            true
        }
        (_, status) => return Err(io::Error::other(format!("status {status}"))),
    };
    let is_bodiless = matches!(ask, Ask::Head(_)) || head.status == 304;
    let body_len = if is_bodiless { 0 } else { head.len };
    tally.honest.answered(head.status, body_len);
    if !is_right {
        let sent = ask.request();
        tally.wrong(format!(
            "{} -> {}",
            sent.escape_debug(),
            head.text.escape_debug()
        ));
    }
    Ok(head)
}

fn is_same(client: &mut Client, head: &Head, expected: &[u8]) -> io::Result<bool> {
    let mut rest = Some(expected);
    client.body(head, |part| {
        rest = rest.and_then(|rest| rest.strip_prefix(part));
    })?;
    Ok(rest.is_some_and(<[u8]>::is_empty))
}

fn collect(client: &mut Client, head: &Head) -> io::Result<Vec<u8>> {
    let mut body = Vec::with_capacity(head.len);
    client.body(head, |part| body.extend_from_slice(part))?;
    Ok(body)
}

/// Writes down the body of an answer of several parts; `None` where the head announces none.
fn parts(head: &Head, asset: &Asset, ranges: &[(usize, usize)]) -> Option<Vec<u8>> {
    let kind = head.field("Content-Type")?;
    let boundary = kind.strip_prefix("multipart/byteranges; boundary=")?;
    let mut body = Vec::with_capacity(head.len);
    for (index, &(first, last)) in ranges.iter().enumerate() {
        let whole = asset.bytes.len();
        let lead = if index == 0 { "" } else { "\r\n" };
        // Each part has the type that the whole has, which its name tells.
        let content_type = asset_server::mime::content_type(asset.path.as_bytes());
        let head = format!(
            "{lead}--{boundary}\r\nContent-Type: {content_type}\r\n\
             Content-Range: bytes {first}-{last}/{whole}\r\n\r\n"
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(&asset.bytes[first..=last]);
    }
    body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    Some(body)
}
