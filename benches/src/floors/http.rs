//! A bare ring that answers requests: a receive, a look at the end of what came, a send.
//!
//! # Safety
//!
//! The kernel writes into a connection's buffer, or reads the answer, between a push and its
//! completion. The buffers are boxed slices that do not move and are looked at only when nothing of
//! the connection is in flight; the answer is static. [`serve`] returns only when nothing is in
//! flight, and a panic on the way there aborts the process ([`Bomb`]).
#![allow(
    unsafe_code,
    reason = "drives io_uring without the library that is measured"
)]

use std::io;
use std::net::TcpStream;
use std::os::fd::AsRawFd;

use io_uring::squeue::{Entry, SubmissionQueue};
use io_uring::{opcode, types};

use crate::Failure;

/// Bytes that a request may have.
const REQUEST_MAX: usize = 1024;
/// How a request ends.
const END: &[u8] = b"\r\n\r\n";

struct Connection {
    stream: TcpStream,
    buf: Box<[u8]>,
    /// Bytes of the request that are there.
    filled: usize,
    /// Bytes of the answer that are to be sent; none while a request is received.
    to_send: usize,
}

/// Answers every request on these connections with `answer`, until all are closed, and returns how
/// many there were.
pub(crate) fn serve(streams: Vec<TcpStream>, answer: &'static [u8]) -> Result<u64, Failure> {
    let entries = u32::try_from(streams.len().max(1))?;
    let mut ring = super::set_up(entries)?;
    let mut connections: Vec<Connection> = streams
        .into_iter()
        .map(|stream| Connection {
            stream,
            buf: vec![0; REQUEST_MAX].into(),
            filled: 0,
            to_send: 0,
        })
        .collect();
    let (submitter, mut sq, mut cq) = ring.split();
    let bomb = Bomb;
    let mut open = connections.len();
    let (mut answered, mut failed) = (0_u64, None);
    for (index, connection) in (0..).zip(&mut connections) {
        push(&mut sq, &connection.recv(), index);
    }
    while open > 0 {
        sq.sync();
        match submitter.submit_and_wait(1) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => panic!("the bare ring cannot be entered: {error}"),
        }
        sq.sync();
        cq.sync();
        for cqe in &mut cq {
            let index = usize::try_from(cqe.user_data()).expect("an index was pushed");
            let connection = &mut connections[index];
            match connection.next(cqe.result(), answer, &mut answered) {
                Ok(Some(entry)) => push(&mut sq, &entry, cqe.user_data()),
                Ok(None) => open -= 1,
                Err(error) => {
                    // Others are in flight: they end when the client hangs up.
                    failed = Some(error);
                    open -= 1;
                }
            }
        }
    }
    std::mem::forget(bomb);
    match failed {
        None => Ok(answered),
        Some(error) => Err(error),
    }
}

fn push(sq: &mut SubmissionQueue<'_>, entry: &Entry, index: u64) {
    let entry = entry.clone().user_data(index);
    // SAFETY: the connection's buffer and the answer outlive what is in flight, nobody else touches
    // the buffer meanwhile, and the socket is held for as long.
    let pushed = unsafe { sq.push(&entry) };
    pushed.expect("the queue has an entry for each connection");
}

impl Connection {
    /// What is to be done after a completion; nothing more once the client has hung up.
    fn next(
        &mut self,
        result: i32,
        answer: &'static [u8],
        answered: &mut u64,
    ) -> Result<Option<Entry>, Failure> {
        let count = usize::try_from(result)
            .map_err(|_| io::Error::from_raw_os_error(result.wrapping_neg()))?;
        if self.to_send > 0 {
            self.to_send -= count;
            if self.to_send > 0 {
                return Ok(Some(self.send(answer)));
            }
            *answered += 1;
            self.filled = 0;
            return Ok(Some(self.recv()));
        }
        if count == 0 {
            return Ok(None);
        }
        self.filled += count;
        if self.buf[..self.filled].ends_with(END) {
            self.to_send = answer.len();
            return Ok(Some(self.send(answer)));
        }
        if self.filled == self.buf.len() {
            return Err("the request is too long".into());
        }
        Ok(Some(self.recv()))
    }

    fn recv(&mut self) -> Entry {
        let fd = types::Fd(self.stream.as_raw_fd());
        let rest = &mut self.buf[self.filled..];
        let len = u32::try_from(rest.len()).expect("a short buffer");
        opcode::Recv::new(fd, rest.as_mut_ptr(), len).build()
    }

    fn send(&self, answer: &'static [u8]) -> Entry {
        let fd = types::Fd(self.stream.as_raw_fd());
        let rest = &answer[answer.len() - self.to_send..];
        let len = u32::try_from(rest.len()).expect("a short answer");
        opcode::Send::new(fd, rest.as_ptr(), len).build()
    }
}

/// Ends the process when it is dropped: operations are in flight, and nothing says until when.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        std::process::abort();
    }
}
