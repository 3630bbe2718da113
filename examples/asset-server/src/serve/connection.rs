//! One connection, from its first byte to its end.

use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use corelane::net::TcpStream;

use super::answer::{After, Answerer};
use super::watchdog::Watchdog;
use super::wire::Wire;
use super::worker::{OpenConnection, Worker};
use crate::http::request::{HeadParser, Parsed, empty_lines_len};
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
        // They are no part of a request: what has not begun cannot be late either.
        buffer.drain(..empty_lines_len(&buffer));
        match parser.parse(&buffer) {
            Ok(Parsed::Partial) => {
                let is_idle = has_not_begun(&buffer);
                make_room(&mut buffer, args.head_limits().head_len_max);
                let gives_up = quits(&worker, is_idle, is_first);
                let Some(received) = wire.receive(buffer, gives_up).await else {
                    return time_over(wire, &mut answerer, is_idle).await;
                };
                let (count, filled) = received?;
                buffer = filled;
                if count == 0 {
                    return Ok(After::Close);
                }
                let has_begun = !has_not_begun(&buffer[empty_lines_len(&buffer)..]);
                if is_idle && has_begun && !is_first {
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
                buffer.drain(..empty_lines_len(&buffer));
                let time = if has_not_begun(&buffer) {
                    if buffer.capacity() > RECEIVE_LEN {
                        buffer.shrink_to(RECEIVE_LEN);
                    }
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

/// Returns whether no request has begun, though half of an empty line may be there.
fn has_not_begun(received: &[u8]) -> bool {
    matches!(received, b"" | b"\r")
}

/// Makes room to receive more, up to a byte more than the longest head.
fn make_room(buffer: &mut Vec<u8>, head_len_max: usize) {
    if buffer.len() == buffer.capacity() {
        let left = (head_len_max + 1).saturating_sub(buffer.len());
        buffer.reserve_exact(buffer.len().max(RECEIVE_LEN).min(left.max(1)));
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

#[cfg(test)]
mod tests {
    use super::{RECEIVE_LEN, make_room};

    #[test]
    fn a_receive_buffer_grows_to_the_longest_head_and_a_byte() {
        for head_len_max in [256, 5000, 16_384, 20_000] {
            let mut buffer = Vec::with_capacity(RECEIVE_LEN);
            while buffer.len() <= head_len_max {
                make_room(&mut buffer, head_len_max);
                assert!(buffer.capacity() > buffer.len());
                assert!(buffer.capacity() <= RECEIVE_LEN.max(head_len_max + 1));
                buffer.resize(buffer.capacity(), b'x');
            }
        }
    }
}
