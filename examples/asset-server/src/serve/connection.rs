//! One connection, from its first byte to its end.

use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use corelane::net::TcpStream;

use super::answer::{After, Answerer};
use super::watchdog::Watchdog;
use super::wire::Wire;
use super::worker::{OpenConnection, Worker};
use crate::http::request::{HeadParser, Parsed};
use crate::plan;

/// What a connection's receive buffer begins with. It grows up to the longest head.
const RECEIVE_LEN: usize = 4096;

/// How long a client that was accepted as the server stops has to begin its request.
const LAST_REQUEST_MAX: Duration = Duration::from_millis(500);

/// How long being told that there are too many connections may take.
const REFUSAL_MAX: Duration = Duration::from_secs(1);
const RETRY_AFTER_S: u32 = 1;

/// Answers a client's requests until one of the two ends it.
pub(super) async fn serve(worker: Rc<Worker>, stream: TcpStream, open: &OpenConnection) {
    open.register().await;
    // Heads and bodies are sent in as few pieces as there are: none should wait for the next.
    let _ = stream.set_nodelay(true);
    let deadline = Instant::now() + worker.site.args.head_timeout();
    let mut wire = Wire::new(worker, stream, deadline);
    // A client that is gone needs no answer, and nobody else is interested.
    if matches!(converse(&mut wire).await, Ok(After::Linger)) {
        wire.linger().await;
    }
}

/// Tells a client that there are too many connections.
pub(super) async fn refuse(worker: &Rc<Worker>, stream: TcpStream) {
    let deadline = Instant::now() + REFUSAL_MAX;
    let mut wire = Wire::new(Rc::clone(worker), stream, deadline);
    let plan = plan::unavailable(RETRY_AFTER_S);
    let mut answerer = Answerer::default();
    if answerer.send_text(&mut wire, &plan).await.is_ok() {
        wire.linger().await;
    }
}

async fn converse(wire: &mut Wire) -> io::Result<After> {
    let worker = Rc::clone(&wire.worker);
    let args = &worker.site.args;
    let mut parser = HeadParser::new(args.head_limits());
    let mut answerer = Answerer::default();
    let mut buffer = Vec::with_capacity(RECEIVE_LEN);
    let mut is_first = true;
    loop {
        match parser.parse(&buffer) {
            Ok(Parsed::Partial) => {
                let is_idle = buffer.is_empty();
                if buffer.len() == buffer.capacity() {
                    buffer.reserve(buffer.len().max(RECEIVE_LEN));
                }
                let gives_up = quits(&worker, is_idle, is_first);
                let Some(received) = wire.receive(buffer, gives_up).await else {
                    return time_over(wire, &mut answerer, is_idle).await;
                };
                let (count, filled) = received?;
                buffer = filled;
                if count == 0 {
                    return Ok(After::Close);
                }
                if is_idle && !is_first {
                    wire.watchdog.set(Instant::now() + args.head_timeout());
                }
            }
            Ok(Parsed::Complete { head, consumed }) => {
                let after = answerer.answer(wire, &head).await?;
                buffer.drain(..consumed);
                match after {
                    After::KeepOpen => {}
                    // The client went on: reset, it might lose the answer.
                    After::Close if !buffer.is_empty() => return Ok(After::Linger),
                    After::Close | After::Linger => return Ok(after),
                }
                is_first = false;
                let time = if buffer.is_empty() {
                    args.idle_timeout()
                } else {
                    args.head_timeout()
                };
                wire.watchdog.set(Instant::now() + time);
            }
            Err(refusal) => {
                answerer.send_text(wire, &plan::refusal(refusal)).await?;
                return Ok(After::Linger);
            }
        }
    }
}

/// Says when a connection that waits for its client has waited enough, as the server stops: at
/// once between two requests; a little later when the first one may be on its way.
fn quits(worker: &Worker, is_idle: bool, is_first: bool) -> impl FnMut(&mut Watchdog) -> bool {
    let mut is_warned = false;
    move |watchdog| {
        if !worker.is_draining() || !is_idle {
            return false;
        }
        if is_first && !is_warned {
            is_warned = true;
            watchdog.tighten(Instant::now() + LAST_REQUEST_MAX);
        }
        !is_first
    }
}

/// Ends a connection whose client took too long: with an answer where a request had begun.
async fn time_over(wire: &mut Wire, answerer: &mut Answerer, is_idle: bool) -> io::Result<After> {
    if is_idle {
        return Ok(After::Close);
    }
    answerer.send_text(wire, &plan::timed_out()).await?;
    Ok(After::Linger)
}
