//! Clients as they should be, on connections that they keep; they check every byte.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::assets::{Asset, Assets, is_one_state};
use crate::message::{Client, Head, request};
use crate::rng::Rng;
use crate::server::{HEAD_TIMEOUT, IDLE_TIMEOUT};
use crate::tally::Tally;

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

/// Asks for this and that until it is over.
pub(crate) fn run(
    addr: SocketAddr,
    assets: &Assets,
    tally: &Tally,
    is_over: &AtomicBool,
    seed: u64,
) {
    let mut rng = Rng::new(seed);
    while !is_over.load(Ordering::Relaxed) {
        if let Err(error) = converse(addr, assets, tally, is_over, &mut rng) {
            tally.failed(format!("{error} (seed {seed})"));
            thread::sleep(PAUSE);
        }
    }
}

/// Makes requests on one connection.
fn converse(
    addr: SocketAddr,
    assets: &Assets,
    tally: &Tally,
    is_over: &AtomicBool,
    rng: &mut Rng,
) -> io::Result<()> {
    let mut client = Client::connect(addr)?;
    // When the server may have begun to wait for this client.
    let mut waits = (Instant::now(), HEAD_TIMEOUT);
    for _ in 0..1 + rng.below(REQUESTS_MAX) {
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        let ask = choose(assets, rng);
        let sent = ask.request();
        let began = Instant::now();
        let is_sent = client.send(sent.as_bytes());
        let waited = waits.0.elapsed();
        let checked = is_sent.and_then(|()| take(&mut client, &ask, tally));
        if checked.as_ref().is_err_and(is_end) && waited >= waits.1 {
            tally.late.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        let head = checked.map_err(|error| {
            let line = sent.lines().next().unwrap_or_default();
            io::Error::other(format!("{line}: {error}, {waited:?} after the one before"))
        })?;
        waits = (began, IDLE_TIMEOUT);
        tally.latency.add(began.elapsed());
        if head.status == 503 {
            thread::sleep(PAUSE);
        }
        if head.is_last() {
            break;
        }
    }
    Ok(())
}

/// Says whether the connection has ended.
fn is_end(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof)
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
