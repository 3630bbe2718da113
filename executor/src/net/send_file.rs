//! Sending a file over a socket: without a copy where its pages are resident.

use std::io;
use std::ops::Range;
use std::rc::Rc;

use super::stream::Stream;
use crate::buf::{IoBuf, Slice};
use crate::fs::File;
use crate::op::SharedFd;
use crate::op::kinds::poll::Poll;
use crate::spawn::yield_now;
use crate::sys::sendfile::{is_resident, sendfile};

/// Most bytes of one sendfile(2), which runs on the worker's core.
const CHUNK_MAX: u64 = 1024 * 1024;

pub(super) async fn send_file(stream: &Stream, file: &File, range: Range<u64>) -> io::Result<u64> {
    let mut at = range.start;
    while at < range.end {
        let len = (range.end - at).min(CHUNK_MAX);
        let sent = if is_resident(as_fd(file), at, len) == Some(true) {
            send_resident(stream, file, at, len).await?
        } else {
            send_copied(stream, file, at, len).await?
        };
        if sent == 0 {
            break;
        }
        at += sent;
        if crate::spawn::need_preempt() {
            yield_now().await;
        }
    }
    Ok(at - range.start)
}

fn as_fd(file: &File) -> std::os::fd::BorrowedFd<'_> {
    std::os::fd::AsFd::as_fd(file)
}

async fn send_resident(stream: &Stream, file: &File, at: u64, len: u64) -> io::Result<u64> {
    let len = usize::try_from(len).expect("at most CHUNK_MAX");
    loop {
        let socket = std::os::fd::AsFd::as_fd(&stream.fd);
        match sendfile(socket, as_fd(file), at, len) {
            Ok(sent) => return Ok(sent as u64),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                writable(stream).await?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // A file system without it: read and send.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                return send_copied(stream, file, at, len as u64).await;
            }
            Err(error) => return Err(error),
        }
    }
}

async fn writable(stream: &Stream) -> io::Result<()> {
    let events = u32::from(libc::POLLOUT.unsigned_abs());
    let socket: Rc<SharedFd> = Rc::new(stream.fd.clone());
    stream.core.op(Poll::new(events), socket).await.map(drop)
}

async fn send_copied(stream: &Stream, file: &File, at: u64, len: u64) -> io::Result<u64> {
    let pool = Rc::clone(stream.core.pool()?);
    let buf = std::future::poll_fn(|cx| pool.poll_get(cx)).await;
    let want = usize::try_from(len).unwrap_or(usize::MAX);
    let part: Slice<_> = buf.slice(..want);
    let (read, part) = file.read_at(part, at).await;
    match read {
        Ok(0) => Ok(0),
        Ok(count) => {
            let (sent, _) = stream.send_all(part).await;
            sent.map(|()| count as u64)
        }
        Err(error) if error.kind() == io::ErrorKind::Interrupted => {
            Box::pin(send_copied(stream, file, at, len)).await
        }
        Err(error) => Err(error),
    }
}
