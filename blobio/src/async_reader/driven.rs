//! Reads that go on whether or not their future is polled.

use std::future::{Future, pending};
use std::panic::resume_unwind;

use corelane::{JoinHandle, spawn_local};

/// Runs `future` as a task of its own, which ends when the returned future is dropped.
///
/// What a read holds while it is in flight, others wait for: a place at the device, an open
/// descriptor. If it were given back only when the read's future is polled again, a caller that
/// polls some reads and then awaits another one would wait for itself.
pub(super) async fn driven<F>(future: F) -> F::Output
where
    F: Future<Output: 'static> + 'static,
{
    let mut task = Task(spawn_local(future));
    match (&mut task.0).await {
        Ok(output) => output,
        Err(e) if e.is_panic() => resume_unwind(e.into_panic()),
        // The worker is gone, and with it whoever polls this.
        Err(_) => pending().await,
    }
}

struct Task<T>(JoinHandle<T>);

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
