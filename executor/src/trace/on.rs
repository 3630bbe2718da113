//! With the feature `tracing`.

use std::fmt::Display;
use std::io;
use std::panic::Location;
use std::time::Duration;

use tracing::instrument::{Instrument, Instrumented};
use tracing::{Level, Span, debug, event, span};

const TASK: &str = "corelane::task";
const WORKER: &str = "corelane";

/// A future in its span: entered for each poll, and for the drop.
pub(crate) type Traced<F> = Instrumented<F>;

/// Makes a task's future inside of its span. The span has no parent, as a task outlives whoever
/// spawned it; it follows from the one that it is made in, which is that of a `spawn_local`. What is
/// spawned from another thread is made by its worker.
#[inline]
pub(crate) fn task<F>(spawned_at: &'static Location<'static>, make: impl FnOnce() -> F) -> Traced<F>
where
    F: Future,
{
    let span = span!(target: TASK, parent: None, Level::DEBUG, "task", spawned_at = %spawned_at);
    span.follows_from(Span::current());
    let future = span.in_scope(make);
    future.instrument(span)
}

/// A setup of the ring was refused; the next rung of the ladder is tried.
pub(crate) fn rung_refused(rung: &dyn Display, answer: &io::Error) {
    debug!(target: WORKER, %rung, %answer, "this kernel has not all flags of a rung");
}

/// A worker was made. `reason` says why it runs on threads, where it does.
pub(crate) fn backend_chosen(backend: &dyn Display, reason: Option<&dyn Display>) {
    match reason {
        Some(reason) => event!(
            target: WORKER, Level::WARN, %backend, %reason, "a worker was made without io_uring"
        ),
        None => event!(target: WORKER, Level::INFO, %backend, "a worker was made"),
    }
}

/// The completion queue has overflowed; nothing is lost.
pub(crate) fn overflowed(overflows: u64) {
    event!(target: WORKER, Level::WARN, overflows, "the completion queue overflowed");
}

/// A poll goes on for longer than the threshold.
pub(crate) fn stalled(spawned_at: &'static Location<'static>, worker: usize, lasted: Duration) {
    event!(
        target: WORKER, Level::WARN, %spawned_at, worker, ?lasted,
        "a task does not give way"
    );
}

/// Operations did not end by the deadline, and their memory is leaked.
pub(crate) fn leaked(ops_leaked: usize) {
    if ops_leaked > 0 {
        event!(
            target: WORKER, Level::ERROR, ops_leaked,
            "the kernel has not let go of the memory of operations: it is leaked"
        );
    }
}
