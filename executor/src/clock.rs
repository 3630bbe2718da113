//! The clock of timers and deadlines: the system's, or that of a simulation.

use std::time::{Duration, Instant};

/// Returns the time.
#[inline]
pub(crate) fn now() -> Instant {
    #[cfg(feature = "sim")]
    if let Some(now) = crate::sim::now() {
        return now;
    }
    Instant::now()
}

/// Returns how much time has passed since `start`.
#[inline]
pub(crate) fn elapsed(start: Instant) -> Duration {
    now().saturating_duration_since(start)
}

/// Blocks the thread for `duration`.
pub(crate) fn pause(duration: Duration) {
    #[cfg(feature = "sim")]
    if crate::sim::advance(duration) {
        return;
    }
    std::thread::sleep(duration);
}

/// Lets a moment pass in a loop that waits for something.
#[inline]
pub(crate) fn spin() {
    #[cfg(feature = "sim")]
    if crate::sim::advance(Duration::from_micros(1)) {
        return;
    }
    std::hint::spin_loop();
}
