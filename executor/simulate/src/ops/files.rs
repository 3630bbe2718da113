//! Reads, writes and the rest of what is done to files. Simulated files have right bytes at every
//! position, and no end.

use std::io::ErrorKind;
use std::mem;

use corelane::fs::{Advice, File, ReadMode};

use super::poll_once;
use crate::arena::Guarded;
use crate::world::Ctx;

/// Longest buffer.
const LEN_MAX: usize = 500;

fn len(ctx: &mut Ctx) -> usize {
    1 + ctx.rng.below(LEN_MAX)
}

fn offset(ctx: &mut Ctx) -> u64 {
    ctx.rng.next() >> 24
}

fn file(ctx: &Ctx) -> Option<File> {
    match std::fs::File::open("/dev/null") {
        Ok(file) => Some(File::from_std(file)),
        Err(error) => {
            ctx.world.fail(format!("/dev/null: {error}"));
            None
        }
    }
}

pub(super) async fn read(mut ctx: Ctx) {
    let Some(file) = file(&ctx) else { return };
    let (offset, mode) = (
        offset(&mut ctx),
        ctx.rng
            .pick(&[ReadMode::Inline, ReadMode::NoWait, ReadMode::Async]),
    );
    let len = len(&mut ctx);
    let buf = ctx.world.arena.buf(len);
    let (result, buf) = file.read_at_with(buf, offset, mode).await;
    let refused = |error: &std::io::Error| error.kind() == ErrorKind::WouldBlock;
    if mode == ReadMode::NoWait && result.as_ref().is_err_and(refused) {
        return;
    }
    if let Some(count) = ctx.io("read", result) {
        ctx.check(count > 0 && count == buf.bytes().len(), || {
            format!(
                "read: {count} bytes, and {} in the buffer",
                buf.bytes().len()
            )
        });
        ctx.check_bytes("read", buf.bytes(), offset);
    }
}

pub(super) async fn read_exact(mut ctx: Ctx) {
    let Some(file) = file(&ctx) else { return };
    let (len, offset) = (len(&mut ctx), offset(&mut ctx));
    let (result, buf) = file.read_exact_at(ctx.world.arena.buf(len), offset).await;
    if ctx.io("read_exact", result).is_some() {
        ctx.check(buf.bytes().len() == len, || {
            format!("read_exact: {} bytes of {len}", buf.bytes().len())
        });
        ctx.check_bytes("read_exact", buf.bytes(), offset);
    }
}

/// More reads at once than small queues have room for; some are dropped before they start.
pub(super) async fn read_many(mut ctx: Ctx) {
    let Some(file) = file(&ctx) else { return };
    let count = 2 + ctx.rng.below(14);
    let mut reads: Vec<_> = (0..count as u64)
        .map(|at| (at, Box::pin(file.read_at(ctx.world.arena.buf(64), at * 64))))
        .collect();
    while !reads.is_empty() {
        let (mut at, mut progress) = (0, false);
        while at < reads.len() {
            if ctx.rng.percent(5) {
                ctx.world.count(|tally| tally.dropped += 1);
                drop(reads.swap_remove(at));
                progress = true;
                continue;
            }
            let polled =
                std::future::poll_fn(|cx| std::task::Poll::Ready(reads[at].1.as_mut().poll(cx)));
            match polled.await {
                std::task::Poll::Pending => at += 1,
                std::task::Poll::Ready((result, buf)) => {
                    let (number, _) = reads.swap_remove(at);
                    progress = true;
                    if ctx.io("read_many", result).is_some() {
                        ctx.check_bytes("read_many", buf.bytes(), number * 64);
                    }
                }
            }
        }
        if !progress {
            // Each of them wakes this task.
            let mut first = true;
            std::future::poll_fn(|_| {
                if mem::take(&mut first) {
                    std::task::Poll::Pending
                } else {
                    std::task::Poll::Ready(())
                }
            })
            .await;
        }
    }
}

pub(super) async fn read_vectored(mut ctx: Ctx) {
    let Some(file) = file(&ctx) else { return };
    let offset = offset(&mut ctx);
    let count = 1 + ctx.rng.below(4);
    let bufs: Vec<Guarded> = (0..count)
        .map(|_| ctx.world.arena.buf(1 + ctx.rng.below(90)))
        .collect();
    let (result, bufs) = file.readv_at(bufs, offset).await;
    if let Some(count) = ctx.io("read_vectored", result) {
        let bytes: Vec<u8> = bufs.iter().flat_map(|buf| buf.bytes()).copied().collect();
        ctx.check(count > 0 && count == bytes.len(), || {
            format!(
                "read_vectored: {count} bytes, and {} in buffers",
                bytes.len()
            )
        });
        ctx.check_bytes("read_vectored", &bytes, offset);
    }
}

/// Reads into a buffer of the worker's pool, of which there are few.
pub(super) async fn read_pool(mut ctx: Ctx) {
    let Some(file) = file(&ctx) else { return };
    let offset = offset(&mut ctx);
    let Some(pool) = ctx.io("pool", corelane::pool()) else {
        return;
    };
    let (result, buf) = file.read_at(pool.get().await, offset).await;
    if let Some(count) = ctx.io("read_pool", result) {
        ctx.check(count == buf.len(), || "read_pool: a wrong count".into());
        ctx.check_bytes("read_pool", &buf, offset);
    }
}

pub(super) async fn write_all(mut ctx: Ctx) {
    let Some(file) = file(&ctx) else { return };
    let (len, offset) = (len(&mut ctx), offset(&mut ctx));
    let (result, buf) = file.write_all_at(ctx.world.arena.filled(len), offset).await;
    ctx.io("write_all", result);
    ctx.check(buf.bytes().len() == len, || {
        "write_all: the buffer came back shorter".into()
    });
    ctx.check_bytes("write_all", buf.bytes(), 0);
}

pub(super) async fn write_vectored(mut ctx: Ctx) {
    let Some(file) = file(&ctx) else { return };
    let count = 1 + ctx.rng.below(4);
    let bufs: Vec<Guarded> = (0..count)
        .map(|_| ctx.world.arena.filled(1 + ctx.rng.below(90)))
        .collect();
    let (result, bufs) = file.writev_at(bufs, 7).await;
    ctx.io("write_vectored", result);
    for buf in bufs {
        ctx.check_bytes("write_vectored", buf.bytes(), 0);
    }
}

pub(super) async fn metadata(ctx: Ctx) {
    let result = corelane::fs::metadata("/no/such/path").await;
    if let Some(metadata) = ctx.io("metadata", result) {
        ctx.check(metadata.is_file() && metadata.len() == 1 << 30, || {
            "metadata: not of the simulated file".into()
        });
    }
}

pub(super) async fn open_and_close(ctx: Ctx) {
    if let Some(file) = ctx.io("open", File::open("/no/such/path").await) {
        ctx.io("close", file.close().await);
    }
}

pub(super) async fn sync(ctx: Ctx) {
    let Some(file) = file(&ctx) else { return };
    ctx.io("sync", file.sync_data().await);
    ctx.io("advise", file.advise(0, 4096, Advice::WillNeed).await);
}

/// Begins a read and forgets it: its memory stays for ever, and so does its slot.
pub(super) async fn forget(mut ctx: Ctx) {
    let Some(file) = file(&ctx) else { return };
    let len = len(&mut ctx);
    let buf = ctx.world.arena.buf(len);
    let mut read = Box::pin(file.read_at(buf, 0));
    if poll_once(&mut read).await {
        return;
    }
    mem::forget(read);
    ctx.world.count(|tally| tally.forgotten += 1);
    ctx.world.offices.borrow_mut()[ctx.worker].forgotten += 1;
}
