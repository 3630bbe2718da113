//! What cases run on, and what results are held to.

use std::future::Future;
use std::io;
use std::process::Command;
use std::time::Instant;

use corelane::{BackendChoice, Config, SimConfig, Worker};

use crate::SIM_CANNOT;
use crate::common::number;
use crate::support::{self, HUNG};

/// A backend, as its tests are named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Ring,
    Threads,
    Sim,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Ring => "ring",
            Self::Threads => "threads",
            Self::Sim => "sim",
        }
    }
}

/// What a case is given.
#[derive(Debug)]
pub(crate) struct Backend {
    kind: Kind,
    case: &'static str,
    seed: u64,
}

/// Runs a case on a backend.
pub(crate) fn run(kind: Kind, case: &'static str, body: fn(&Backend)) {
    if kind == Kind::Sim
        && let Some((_, why)) = SIM_CANNOT.iter().find(|(name, _)| *name == case)
    {
        println!("SKIP: sim::{case}: {why}");
        return;
    }
    let seed = number("CORELANE_CONFORMANCE_SEED", 1);
    if kind == Kind::Sim {
        println!("CORELANE_CONFORMANCE_SEED={seed}");
    }
    body(&Backend { kind, case, seed });
}

impl Backend {
    pub(crate) fn is_sim(&self) -> bool {
        self.kind == Kind::Sim
    }

    pub(crate) fn config(&self) -> Config {
        Config::new().backend(match self.kind {
            Kind::Ring => BackendChoice::Auto,
            Kind::Threads => BackendChoice::Threads,
            Kind::Sim => BackendChoice::Sim(SimConfig::system(self.seed)),
        })
    }

    pub(crate) fn worker(&self) -> Worker {
        Worker::new(self.config()).unwrap()
    }

    /// Drives `future` on a worker of its own that must end with nothing in flight.
    #[track_caller]
    pub(crate) fn run<F: Future>(&self, future: F) -> F::Output {
        self.run_with(self.config(), future)
    }

    /// As [`run`](Self::run), within other limits.
    #[track_caller]
    pub(crate) fn run_with<F: Future>(&self, config: Config, future: F) -> F::Output {
        let worker = Worker::new(config).unwrap();
        let output = support::run_on(&worker, future);
        let report = worker.shutdown(Instant::now() + HUNG);
        assert_eq!(report.ops_leaked, 0, "operations did not end");
        output
    }

    /// Runs the case in a process of its own; true in that process.
    #[track_caller]
    pub(crate) fn in_a_child(&self, prepare: impl FnOnce(&mut Command)) -> bool {
        if support::is_child() {
            return true;
        }
        let test = format!("{}::{}", self.kind.name(), self.case);
        let (status, stderr) = support::child_with(&test, prepare);
        assert!(status.success(), "{status}: {stderr}");
        false
    }
}

/// Asserts that an operation has come to what the system call does.
#[track_caller]
pub(crate) fn assert_same<T: PartialEq + std::fmt::Debug>(
    what: &str,
    operation: &io::Result<T>,
    call: &io::Result<T>,
) {
    match (operation, call) {
        (Ok(operation), Ok(call)) => assert!(
            operation == call,
            "{what}: the operation came to something else than the call"
        ),
        (Err(operation), Err(call)) => assert_eq!(
            operation.raw_os_error(),
            call.raw_os_error(),
            "{what}: {operation} instead of {call}"
        ),
        _ => panic!("{what}: the operation came to {operation:?}, the call to {call:?}"),
    }
}

/// Asserts that a result is an error of this number.
#[track_caller]
pub(crate) fn assert_errno<T: std::fmt::Debug>(what: &str, result: io::Result<T>, errno: i32) {
    let expected = io::Error::from_raw_os_error(errno);
    match result {
        Ok(value) => panic!("{what}: {value:?} instead of {expected}"),
        Err(error) => assert_eq!(
            error.raw_os_error(),
            Some(errno),
            "{what}: {error} instead of {expected}"
        ),
    }
}
