//! hyper on a worker: keep-alive, large bodies both ways, timeouts by the worker's timers, and
//! sleeps that do not follow hyper to another thread.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use corelane::hyper::{HyperExecutor, HyperIo, HyperTimer};
use corelane::net::{TcpListener, TcpStream, UnixStream};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::SendRequest;
use hyper::rt::{Executor, Sleep, Timer};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};

/// Answers every request with its body, and counts the requests in an `Rc`: nothing here is
/// `Send`. Returns the address and the counters of connections and requests.
fn echo_server() -> (SocketAddr, Rc<Cell<usize>>, Rc<Cell<usize>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (connections, requests) = (Rc::<Cell<usize>>::default(), Rc::<Cell<usize>>::default());
    let counters = (Rc::clone(&connections), Rc::clone(&requests));
    corelane::spawn_local(async move {
        let mut incoming = listener.incoming();
        while let Some(stream) = incoming.next().await {
            let stream: TcpStream = stream.unwrap();
            counters.0.set(counters.0.get() + 1);
            let requests = Rc::clone(&counters.1);
            let service = service_fn(move |request: Request<Incoming>| {
                requests.set(requests.get() + 1);
                async move {
                    let body = request.into_body().collect().await.unwrap().to_bytes();
                    Ok::<_, Infallible>(Response::new(Full::new(body)))
                }
            });
            HyperExecutor::new().execute(async move {
                let served = hyper::server::conn::http1::Builder::new()
                    .timer(HyperTimer::new())
                    .serve_connection(HyperIo::new(stream), service)
                    .await;
                served.unwrap();
            });
        }
    });
    (address, connections, requests)
}

async fn connect(address: SocketAddr) -> SendRequest<Full<Bytes>> {
    let stream = TcpStream::connect(address).await.unwrap();
    let io = HyperIo::new(stream);
    let (sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    corelane::spawn_local(connection);
    sender
}

async fn post(sender: &mut SendRequest<Full<Bytes>>, body: Vec<u8>) -> (StatusCode, Bytes) {
    let request = Request::post("/")
        .header("host", "test")
        .body(Full::new(body.into()))
        .unwrap();
    sender.ready().await.unwrap();
    let response = sender.send_request(request).await.unwrap();
    let status = response.status();
    (
        status,
        response.into_body().collect().await.unwrap().to_bytes(),
    )
}

#[corelane::test]
async fn requests_share_a_connection() {
    let (address, connections, requests) = echo_server();
    let mut sender = connect(address).await;
    for round in 0..100_usize {
        let body = vec![u8::try_from(round).unwrap(); round * 7];
        assert_eq!(
            post(&mut sender, body.clone()).await,
            (StatusCode::OK, body.into())
        );
    }
    assert_eq!((connections.get(), requests.get()), (1, 100));
}

#[corelane::test]
async fn bodies_larger_than_every_buffer_arrive_whole() {
    let (address, _, _) = echo_server();
    let mut sender = connect(address).await;
    let body: Vec<u8> = (0..3_000_017_u32)
        .map(|at| (at % 251).to_le_bytes()[0])
        .collect();
    let (_, echoed) = post(&mut sender, body.clone()).await;
    assert!(echoed == body, "{} bytes came back", echoed.len());
}

#[corelane::test]
async fn clients_are_served_side_by_side() {
    let (address, connections, _) = echo_server();
    let clients: Vec<_> = (0..8_u8)
        .map(|client| {
            corelane::spawn_local(async move {
                let mut sender = connect(address).await;
                for _ in 0..20 {
                    let body = vec![client; 10_000];
                    assert_eq!(post(&mut sender, body.clone()).await.1, body);
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    assert_eq!(connections.get(), 8);
}

#[corelane::test]
async fn a_client_that_sends_no_header_is_timed_out_by_the_workers_timer() {
    let (server, client) = UnixStream::pair().unwrap();
    let start = Instant::now();
    let served = corelane::spawn_local(async move {
        hyper::server::conn::http1::Builder::new()
            .timer(HyperTimer::new())
            .header_read_timeout(Duration::from_millis(50))
            .serve_connection(
                HyperIo::new(server),
                service_fn(|_: Request<Incoming>| async {
                    Ok::<_, Infallible>(Response::new(Full::new(Bytes::new())))
                }),
            )
            .await
    });
    client.send_all("GET / HTTP/1.1\r\nhost: ").await.0.unwrap();
    let error = served.await.unwrap().unwrap_err();
    assert!(error.is_timeout(), "{error:?}");
    let elapsed = start.elapsed();
    assert!(
        elapsed >= Duration::from_millis(50),
        "too early: {elapsed:?}"
    );
    assert!(elapsed < Duration::from_secs(60), "too late: {elapsed:?}");
    // No timer of the connection is left.
    assert_eq!(corelane::stats().timers, 0);
}

#[corelane::test]
async fn a_reset_sleep_ends_at_its_new_deadline() {
    let timer = HyperTimer::new();
    let start = Instant::now();
    let mut sleep = timer.sleep(Duration::from_secs(3600));
    assert!(poll_once(&mut sleep).await.is_pending());
    assert_eq!(corelane::stats().timers, 1);
    timer.reset(&mut sleep, start + Duration::from_millis(20));
    sleep.as_mut().await;
    assert!(start.elapsed() >= Duration::from_millis(20));
    assert_eq!(corelane::stats().timers, 0);
}

#[corelane::test]
async fn a_dropped_sleep_takes_its_timer_out() {
    let mut sleep = HyperTimer::new().sleep(Duration::from_secs(3600));
    assert!(poll_once(&mut sleep).await.is_pending());
    assert_eq!(corelane::stats().timers, 1);
    drop(sleep);
    assert_eq!(corelane::stats().timers, 0);
}

#[corelane::test]
async fn a_sleep_may_be_dropped_on_another_thread() {
    let mut sleep = HyperTimer::new().sleep(Duration::from_millis(20));
    assert!(poll_once(&mut sleep).await.is_pending());
    std::thread::spawn(move || drop(sleep)).join().unwrap();
    // The timer stays until it runs out.
    assert_eq!(corelane::stats().timers, 1);
    corelane::time::sleep(Duration::from_millis(60)).await;
    assert_eq!(corelane::stats().timers, 0);
}

#[test]
fn a_sleep_refuses_to_be_polled_elsewhere() {
    let worker = corelane::Worker::new(corelane::Config::default()).unwrap();
    let other = corelane::Worker::new(corelane::Config::default()).unwrap();
    let mut sleep = HyperTimer::new().sleep(Duration::from_secs(3600));
    assert!(worker.block_on(poll_once(&mut sleep)).is_pending());

    let (on_other, sleep) = panic_of(sleep, |sleep| other.block_on(poll_once(sleep)).is_ready());
    assert!(on_other.contains("another worker"), "{on_other}");

    let on_thread = std::thread::spawn(move || {
        panic_of(sleep, |sleep| {
            sleep
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()))
                .is_ready()
        })
        .0
    });
    let on_thread = on_thread.join().unwrap();
    assert!(
        on_thread.contains("must be called on a corelane worker"),
        "{on_thread}"
    );
}

type BoxSleep = Pin<Box<dyn Sleep>>;

async fn poll_once(sleep: &mut BoxSleep) -> Poll<()> {
    poll_fn(|cx| Poll::Ready(sleep.as_mut().poll(cx))).await
}

/// Returns the message of the panic that `poll` must end in, and the sleep.
fn panic_of(mut sleep: BoxSleep, poll: impl FnOnce(&mut BoxSleep) -> bool) -> (String, BoxSleep) {
    let poll = std::panic::AssertUnwindSafe(|| poll(&mut sleep));
    let payload = std::panic::catch_unwind(poll).expect_err("the poll must panic");
    let message = payload
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| {
            payload
                .downcast_ref::<&str>()
                .map(|text| (*text).to_owned())
        })
        .expect("a panic with a message");
    (message, sleep)
}
