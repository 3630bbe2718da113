//! The work of a round that needs no files.

use std::thread;

use core_affinity::CoreId;

use crate::Failure;
use crate::environment::pin;
use crate::measure::{Sample, Timer};

/// How much to do in a round.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Job {
    /// Before time is taken.
    pub(crate) warm_up: u64,
    /// While it is.
    pub(crate) ops: u64,
    /// The core to measure on, and another one, which cases between cores alone need.
    pub(crate) cores: [CoreId; 2],
}

/// A round that is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Done {
    pub(crate) sample: Sample,
    /// What shows that the work was right; the case knows what it must be.
    pub(crate) check: u64,
}

impl Job {
    /// Does the work twice, and times the second time. The work is given how much to do, and
    /// returns its check.
    pub(crate) async fn run(
        &self,
        mut work: impl AsyncFnMut(u64) -> Result<u64, Failure>,
    ) -> Result<Done, Failure> {
        work(self.warm_up).await?;
        let timer = Timer::start();
        let check = work(self.ops).await?;
        Ok(Done {
            sample: timer.stop(self.ops),
            check,
        })
    }

    /// Runs one side on the measured core and another one on the other core, each on a thread of
    /// its own. The one on the measured core times the work.
    pub(crate) fn pair(
        &self,
        measured: impl FnOnce() -> Result<Done, Failure> + Send,
        other: impl FnOnce() -> Result<(), Failure> + Send,
    ) -> Result<Done, Failure> {
        let [here, there] = self.cores;
        thread::scope(|scope| {
            let other = scope.spawn(move || pin(there).and_then(|()| other()));
            let measured = scope.spawn(move || pin(here).and_then(|()| measured()));
            let done = measured.join().map_err(|_| "the measured side panicked")?;
            other.join().map_err(|_| "the other side panicked")??;
            done
        })
    }
}
