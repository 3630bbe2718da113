//! Signals that stop a build.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::flag;

use crate::failure::Failure;

/// Whether a signal has said to stop.
pub(crate) struct Stop {
    /// The signal's number; 0 for none.
    signal: Arc<AtomicUsize>,
}

impl Stop {
    /// From here on the first SIGINT or SIGTERM is only noted; a second one ends the process at
    /// once, as it would have without this. A file that may grow no more (SIGXFSZ) is an error
    /// of writing it.
    pub(crate) fn on_signals() -> io::Result<Self> {
        let signal = Arc::new(AtomicUsize::new(0));
        for number in [SIGINT, SIGTERM] {
            let is_second = Arc::new(AtomicBool::new(false));
            // In this order: the first one passes the condition before it sets it.
            flag::register_conditional_default(number, Arc::clone(&is_second))?;
            flag::register(number, is_second)?;
            let value = usize::try_from(number).expect("signals have small numbers");
            flag::register_usize(number, Arc::clone(&signal), value)?;
        }
        flag::register(SIGXFSZ, Arc::default())?;
        Ok(Self { signal })
    }

    /// Returns the number of the signal that came.
    pub(crate) fn signal(&self) -> Option<u8> {
        match self.signal.load(Ordering::Relaxed) {
            0 => None,
            number => u8::try_from(number).ok(),
        }
    }

    /// Fails once a signal has come.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        self.reason().map_or(Ok(()), Err)
    }

    /// Returns the signal as a failure, if one came.
    pub(crate) fn reason(&self) -> Option<Failure> {
        self.signal().map(Failure::Stopped)
    }
}
