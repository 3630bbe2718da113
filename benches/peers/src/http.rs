//! Answers of 13 bytes over kept connections: a server on the measured core, and the benches' client
//! on another one.

use std::net::TcpListener;
use std::thread;

use core_affinity::CoreId;

use crate::client::{Asked, Load};
use crate::environment::pin;
use crate::job::Done;
use crate::measure::{process_time, thread_time};
use crate::{Failure, Outcome};

const CONNECTIONS: usize = 64;
const BODY: &str = "Hello, world!";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 13\r\n\r\nHello, world!";
/// Bytes of a request at most.
const REQUEST_MAX: usize = 1024;

/// Serves while the client asks, and returns what it took the server. The client checks all
/// answers; the check here counts them.
pub(crate) fn round(
    [here, there]: [CoreId; 2],
    ops: u64,
    serve: fn(TcpListener) -> Outcome,
) -> Result<Done, Failure> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let addr = listener.local_addr()?;
    let asked = [Asked::get("/", None, BODY.into())];
    let load = Load {
        addr,
        core: there,
        connections: CONNECTIONS,
        warm_up: ops / 10,
        requests: ops,
        asked: &asked,
    };
    thread::scope(|scope| {
        let server = scope.spawn(|| pin(here).and_then(|()| serve(listener)));
        // All that this process does is the server, but for the client itself, which asks.
        let sample = load.run(|| Ok(process_time().saturating_sub(thread_time())));
        // Why the server failed is why the client did.
        server.join().map_err(|_| "the server panicked")??;
        let sample = sample?;
        Ok(Done {
            sample,
            check: sample.items,
        })
    })
}

/// Says that a request did not come as a whole, which a client's short ones do.
fn whole(request: &[u8]) -> Outcome {
    if request.ends_with(b"\r\n\r\n") {
        return Ok(());
    }
    Err("a part of a request".into())
}

pub(crate) mod tokio {
    //! tokio as it is: read, write, one task for each connection.

    use std::net;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::runtime::Builder;

    use super::{ANSWER, CONNECTIONS, REQUEST_MAX, whole};
    use crate::{Failure, Outcome};

    pub(crate) fn serve(listener: net::TcpListener) -> Outcome {
        serve_by(listener, async |stream| answer(stream).await)
    }

    /// Gives each connection to a task, and waits until all have ended.
    pub(super) fn serve_by<F>(
        listener: net::TcpListener,
        answer: impl Fn(TcpStream) -> F,
    ) -> Outcome
    where
        F: Future<Output = Outcome> + Send + 'static,
    {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            listener.set_nonblocking(true)?;
            let listener = TcpListener::from_std(listener)?;
            let mut connections = Vec::new();
            for _ in 0..CONNECTIONS {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                connections.push(tokio::spawn(answer(stream)));
            }
            for connection in connections {
                connection.await??;
            }
            Ok::<_, Failure>(())
        })
    }

    async fn answer(mut stream: TcpStream) -> Outcome {
        let mut buf = [0; REQUEST_MAX];
        loop {
            let got = stream.read(&mut buf).await?;
            if got == 0 {
                return Ok(());
            }
            whole(&buf[..got])?;
            stream.write_all(ANSWER).await?;
        }
    }
}

pub(crate) mod hyper_tokio {
    //! hyper on tokio, as hyper's guide has it.

    use std::convert::Infallible;
    use std::net;

    use bytes::Bytes;
    use http_body_util::Full;
    use hyper::Response;
    use hyper::server::conn::http1;
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use tokio::net::TcpStream;

    use super::{BODY, tokio::serve_by};
    use crate::Outcome;

    pub(crate) fn serve(listener: net::TcpListener) -> Outcome {
        serve_by(listener, answer)
    }

    async fn answer(stream: TcpStream) -> Outcome {
        let service = service_fn(async |_request| {
            let body = Full::new(Bytes::from_static(BODY.as_bytes()));
            Ok::<_, Infallible>(Response::new(body))
        });
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        Ok(connection.await?)
    }
}

pub(crate) mod monoio {
    //! monoio as it is: read and write with owned buffers, one task for each connection.

    use std::net;

    use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
    use monoio::net::{TcpListener, TcpStream};

    use super::{ANSWER, CONNECTIONS, REQUEST_MAX, whole};
    use crate::Outcome;
    use crate::runtimes::monoio::runtime;

    pub(crate) fn serve(listener: net::TcpListener) -> Outcome {
        runtime()?.block_on(async {
            let listener = TcpListener::from_std(listener)?;
            let mut connections = Vec::new();
            for _ in 0..CONNECTIONS {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                connections.push(monoio::spawn(answer(stream)));
            }
            for connection in connections {
                connection.await?;
            }
            Ok(())
        })
    }

    async fn answer(mut stream: TcpStream) -> Outcome {
        let mut buf = Vec::with_capacity(REQUEST_MAX);
        loop {
            let (got, back) = stream.read(buf).await;
            buf = back;
            if got? == 0 {
                return Ok(());
            }
            whole(&buf)?;
            let (sent, _) = stream.write_all(ANSWER).await;
            sent?;
        }
    }
}
