//! Sockets. The peers are simulated: they send what a file holds from 0 on, when they like.

use corelane::AsyncFd;
use corelane::net::{TcpListener, TcpStream, UnixStream};

use crate::world::Ctx;

fn pair(ctx: &Ctx) -> Option<UnixStream> {
    ctx.io("pair", UnixStream::pair()).map(|(stream, _)| stream)
}

pub(super) async fn recv(mut ctx: Ctx) {
    let Some(stream) = pair(&ctx) else { return };
    let buf = ctx.world.arena.buf(1 + ctx.rng.below(300));
    let (result, buf) = stream.recv(buf).await;
    if ctx.io("recv", result).is_some() {
        ctx.check_bytes("recv", buf.bytes(), 0);
    }
}

pub(super) async fn talk(mut ctx: Ctx) {
    let Some(stream) = pair(&ctx) else { return };
    let len = 1 + ctx.rng.below(300);
    let (result, buf) = stream.send_all(ctx.world.arena.filled(len)).await;
    ctx.io("send_all", result);
    ctx.check(buf.bytes().len() == len, || {
        "send_all: the buffer came back shorter".into()
    });
    let halves = vec![ctx.world.arena.filled(len), ctx.world.arena.filled(1)];
    let (result, halves) = stream.send_vectored_all(halves).await;
    ctx.io("send_vectored_all", result);
    for half in halves {
        ctx.check_bytes("send_vectored_all", half.bytes(), 0);
    }
    ctx.io("shutdown", stream.shutdown(std::net::Shutdown::Both).await);
    ctx.io("close", stream.close().await);
}

pub(super) async fn accept(ctx: Ctx) {
    let Some(listener) = ctx.io("bind", TcpListener::bind("127.0.0.1:0")) else {
        return;
    };
    ctx.io("accept", listener.accept().await);
}

/// Accepts as many as come, and then what came before the close.
pub(super) async fn incoming(mut ctx: Ctx) {
    let Some(listener) = ctx.io("bind", TcpListener::bind("127.0.0.1:0")) else {
        return;
    };
    let mut incoming = listener.incoming();
    for _ in 0..1 + ctx.rng.below(20) {
        match incoming.next().await {
            Some(next) => drop(ctx.io("incoming", next)),
            None => ctx.check(false, || "incoming ended by itself".into()),
        }
    }
    incoming.close();
    while let Some(next) = incoming.next().await {
        ctx.io("incoming", next);
    }
}

pub(super) async fn connect(mut ctx: Ctx) {
    let addr = ([127, 0, 0, 1], 9).into();
    if let Some(stream) = ctx.io("connect", TcpStream::connect(addr).await) {
        let buf = ctx.world.arena.buf(1 + ctx.rng.below(30));
        ctx.io("recv", stream.recv(buf).await.0);
    }
}

pub(super) async fn readable(ctx: Ctx) {
    let Some((stream, _peer)) = ctx.io("pair", std::os::unix::net::UnixStream::pair()) else {
        return;
    };
    ctx.io("readable", AsyncFd::new(stream).readable().await);
}
