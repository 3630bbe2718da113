//! What an older kernel lacks, and what runs there instead. `.ci/old_kernel` boots one and names it
//! in `CORELANE_EXPECT_KERNEL`; without that, there is nothing to expect, and each test says so.

mod support;

use std::io::ErrorKind;
use std::time::Duration;

use corelane::net::{BufRing, TcpListener, TcpStream};
use corelane::{Backend, BackendChoice, Config, Executor, Rung, ThreadsReason, Worker, time};
use io_uring::{IoUring, Probe};

use support::on_ring;

/// What the worker makes of one kernel.
struct Expected {
    /// How uname(2) begins.
    release: &'static str,
    backend: Backend,
    /// What the kernel refuses, and what it has.
    lacks: &'static [Feature],
    has: &'static [Feature],
}

/// What a ring may be asked for, by the flag or operation that asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Feature {
    /// `IORING_SETUP_NO_SQARRAY`, Linux 6.6.
    NoSqArray,
    /// `IORING_FEAT_NO_IOWAIT`, Linux 6.15.
    NoIowait,
    /// `IORING_OP_READ_MULTISHOT`, Linux 6.7.
    ReadMultishot,
    /// `IORING_SETUP_DEFER_TASKRUN`, Linux 6.1.
    DeferTaskrun,
    /// `IORING_OP_SEND_ZC`, Linux 6.0.
    SendZc,
    /// `IORING_SETUP_COOP_TASKRUN`, Linux 5.19.
    CoopTaskrun,
    /// `IORING_FEAT_EXT_ARG`, Linux 5.11.
    ExtArg,
}

use Feature::{CoopTaskrun, DeferTaskrun, ExtArg, NoIowait, NoSqArray, ReadMultishot, SendZc};

/// What is expected of the kernel that was booted; `None`, with a line, where none was.
fn expected(test: &str) -> Option<Expected> {
    let Ok(kernel) = std::env::var("CORELANE_EXPECT_KERNEL") else {
        println!("SKIP: {test}: CORELANE_EXPECT_KERNEL names no kernel (.ci/old_kernel does)");
        return None;
    };
    let missing = |what: &str| {
        Backend::Threads(ThreadsReason::Missing {
            what: what.to_owned(),
        })
    };
    Some(match kernel.as_str() {
        "6.1" => Expected {
            release: "6.1.",
            backend: Backend::Uring(Rung::Defer),
            lacks: &[NoSqArray, NoIowait, ReadMultishot],
            has: &[DeferTaskrun, SendZc, CoopTaskrun, ExtArg],
        },
        "5.10" => Expected {
            release: "5.10.",
            backend: missing("IORING_SETUP_COOP_TASKRUN"),
            // Its io_uring is that of 5.15, which was brought over when 5.10 was mended.
            lacks: &[
                NoSqArray,
                NoIowait,
                ReadMultishot,
                DeferTaskrun,
                SendZc,
                CoopTaskrun,
            ],
            has: &[ExtArg],
        },
        other => panic!("nothing is known of the kernel {other:?}"),
    })
}

#[test]
fn the_kernel_is_the_one_that_was_asked_for() {
    let Some(expected) = expected("the_kernel_is_the_one_that_was_asked_for") else {
        return;
    };
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    assert!(release.starts_with(expected.release), "{release}");
}

/// The premise of the others: an expectation is about a kernel that lacks what it says.
#[test]
fn the_kernel_lacks_what_is_expected_to_be_missing() {
    let Some(expected) = expected("the_kernel_lacks_what_is_expected_to_be_missing") else {
        return;
    };
    let kernel_has = |feature: &&Feature| kernel_has(**feature);
    let found: Vec<_> = expected.lacks.iter().filter(kernel_has).collect();
    assert!(found.is_empty(), "this kernel has {found:?}");
    let missing: Vec<_> = expected.has.iter().filter(|it| !kernel_has(it)).collect();
    assert!(missing.is_empty(), "this kernel has not {missing:?}");
}

#[test]
fn the_backend_says_what_was_found() {
    let Some(expected) = expected("the_backend_says_what_was_found") else {
        return;
    };
    let worker = Worker::new(Config::new()).unwrap();
    assert_eq!(worker.backend(), Some(expected.backend.clone()));
    let text = worker.backend().unwrap().to_string();
    let words = match &expected.backend {
        Backend::Uring(_) => "io_uring (single_issuer+defer_taskrun)",
        _ => "threads and epoll (as this kernel does not support IORING_SETUP_COOP_TASKRUN)",
    };
    assert_eq!(text, words);
    let executor = Executor::new().unwrap();
    assert!(executor.workers() > 0);
}

/// Who asks for a ring gets one, or an error that says what is missing.
#[test]
fn a_ring_by_name_is_a_ring_or_names_what_is_missing() {
    let Some(expected) = expected("a_ring_by_name_is_a_ring_or_names_what_is_missing") else {
        return;
    };
    let asked = Worker::new(Config::new().backend(BackendChoice::Uring));
    match (asked, expected.backend) {
        (Ok(worker), Backend::Uring(rung)) => {
            assert_eq!(worker.backend(), Some(Backend::Uring(rung)));
        }
        (Err(error), Backend::Threads(ThreadsReason::Missing { what })) => {
            let text = error.to_string();
            assert!(text.contains(&what), "{text}");
            assert_eq!(std::io::Error::from(error).kind(), ErrorKind::Unsupported);
        }
        (asked, expected) => panic!("{asked:?} where {expected} was expected"),
    }
}

/// A wait asks for `NO_IOWAIT` only where the kernel has it: it would be refused (`EINVAL`), which
/// ends the worker.
#[test]
fn a_worker_waits_without_what_is_missing() {
    if expected("a_worker_waits_without_what_is_missing").is_none() {
        return;
    }
    let worker = Worker::new(Config::new()).unwrap();
    let before = worker.stats().parks;
    // Long enough for an emulated processor to come to the wait.
    worker.block_on(time::sleep(Duration::from_secs(1)));
    assert!(worker.stats().parks > before);
}

/// Multishot accept and receive, and provided buffers (Linux 5.19 and 6.0), are the ring's own; on
/// threads they are made of calls. Nobody who uses them sees which.
#[test]
fn connections_are_accepted_and_received_from_in_one_way() {
    if expected("connections_are_accepted_and_received_from_in_one_way").is_none() {
        return;
    }
    let worker = Worker::new(Config::new()).unwrap();
    let received = worker.block_on(async {
        let buffers = BufRing::new(8, 4096).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let client = corelane::spawn_local(async move {
            let stream = TcpStream::connect(address).await.unwrap();
            stream.send_all(vec![7; 10_000]).await.0.unwrap();
        });
        let server = listener.incoming().next().await.unwrap().unwrap();
        let mut received = Vec::new();
        let mut stream = server.recv_stream(&buffers);
        while let Some(buffer) = stream.next().await {
            received.extend_from_slice(&buffer.unwrap());
        }
        client.await.unwrap();
        received
    });
    assert_eq!(received, vec![7; 10_000]);
}

/// With the backend forced by the environment, the reason is the environment.
#[test]
fn a_ring_is_what_the_suite_runs_on_where_there_is_one() {
    let test = "a_ring_is_what_the_suite_runs_on_where_there_is_one";
    let Some(expected) = expected(test) else {
        return;
    };
    let is_ring = matches!(expected.backend, Backend::Uring(_));
    assert_eq!(on_ring(test), is_ring);
}

/// Asks the kernel itself.
fn kernel_has(feature: Feature) -> bool {
    let has_operation = |code| {
        let ring = IoUring::new(2).unwrap();
        let mut probe = Probe::new();
        ring.submitter().register_probe(&mut probe).unwrap();
        probe.is_supported(code)
    };
    let has_flag = |set: &dyn Fn(&mut io_uring::Builder)| {
        let mut builder = IoUring::builder();
        set(&mut builder);
        match builder.build(2) {
            Ok(_) => true,
            Err(error) if error.kind() == ErrorKind::InvalidInput => false,
            Err(error) => panic!("{feature:?}: {error}"),
        }
    };
    let params = |ask: fn(&io_uring::Parameters) -> bool| ask(IoUring::new(2).unwrap().params());
    match feature {
        NoSqArray => has_flag(&|builder| {
            builder.setup_no_sqarray();
        }),
        DeferTaskrun => has_flag(&|builder| {
            builder.setup_single_issuer().setup_defer_taskrun();
        }),
        CoopTaskrun => has_flag(&|builder| {
            builder.setup_coop_taskrun();
        }),
        NoIowait => params(io_uring::Parameters::is_feature_no_iowait),
        ExtArg => params(io_uring::Parameters::is_feature_ext_arg),
        ReadMultishot => has_operation(io_uring::opcode::ReadMulti::CODE),
        SendZc => has_operation(io_uring::opcode::SendZc::CODE),
    }
}
