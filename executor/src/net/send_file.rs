//! Sending a file over a socket: sendfile(2) on pages that are resident, so that the call neither
//! copies nor waits for the device; pages that are not are read first, by the ring.

use std::io;
use std::ops::Range;
use std::os::fd::AsFd;
use std::rc::Rc;

use super::stream::Stream;
use crate::buf::IoBuf;
use crate::fs::File;
use crate::op::SharedFd;
use crate::op::kinds::poll::Poll;
use crate::spawn::yield_now;
use crate::sys::sendfile::{is_resident, sendfile};

/// Most bytes of one sendfile(2), which runs on the worker's core.
const CHUNK_MAX: u64 = 1024 * 1024;
/// Bytes of a read-and-send, for a file that sendfile(2) does not take.
const COPY_LEN: usize = 64 * 1024;

pub(super) async fn send_file(stream: &Stream, file: &File, range: Range<u64>) -> io::Result<u64> {
    let mut at = range.start;
    while at < range.end {
        let mut len = (range.end - at).min(CHUNK_MAX);
        let resident = |len| is_resident(file.as_fd(), at, len) == Some(true);
        let mut is_there = resident(len);
        if !is_there {
            len = warm(stream, file, at, len).await?;
            // What is read past the page cache is not there now either: sendfile(2) would ask its
            // file system again, and wait for the answer.
            is_there = !file.is_handed_off() || resident(len);
        }
        let sent = send(stream, file, at, len, is_there).await?;
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

/// Brings the pages at `at` into the page cache by reading some of them; returns how many bytes,
/// zero at the end of the file. The buffer goes back before anything waits for the peer.
async fn warm(stream: &Stream, file: &File, at: u64, len: u64) -> io::Result<u64> {
    let pool = Rc::clone(stream.core.pool()?);
    let want = usize::try_from(len).unwrap_or(usize::MAX);
    loop {
        let buf = pool.get().await;
        match file.read_at(buf.slice(..want), at).await.0 {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result.map(|count| count as u64),
        }
    }
}

/// Sends what `is_there` in the page cache from there, and anything else by a copy.
async fn send(stream: &Stream, file: &File, at: u64, len: u64, is_there: bool) -> io::Result<u64> {
    let len = usize::try_from(len).expect("at most CHUNK_MAX");
    if len == 0 {
        return Ok(0);
    }
    if !is_there {
        return send_copied(stream, file, at, len).await;
    }
    loop {
        match sendfile(stream.fd.as_fd(), file.as_fd(), at, len) {
            Ok(sent) => return Ok(sent as u64),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => writable(stream).await?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // A file system, or a kind of socket, without it.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                return send_copied(stream, file, at, len).await;
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

/// Reads into memory of its own and sends from there: the pool's buffers are too few to wait for
/// peers with.
async fn send_copied(stream: &Stream, file: &File, at: u64, len: usize) -> io::Result<u64> {
    let (read, bytes) = file
        .read_at(Vec::with_capacity(len.min(COPY_LEN)), at)
        .await;
    match read {
        Ok(count) => stream.send_all(bytes, false).await.0.map(|()| count as u64),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => {
            Box::pin(send_copied(stream, file, at, len)).await
        }
        Err(error) => Err(error),
    }
}
