//! Many readers of a file or of several, on one core or on all.

use std::fs::{File, OpenOptions};
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::{Arc, Barrier, Mutex, OnceLock, PoisonError};
use std::thread;

use core_affinity::CoreId;

use crate::Failure;
use crate::content::{Positions, Span};
use crate::environment::pin;
use crate::job::Done;
use crate::measure::{Sample, Timer};

/// What a direct read's memory must be aligned to.
const ALIGN: usize = 4096;

/// What is read, and by how many.
#[derive(Clone, Debug)]
pub(crate) struct Crowd {
    pub(crate) paths: Vec<PathBuf>,
    pub(crate) file_len: u64,
    /// Whether reads go past the page cache.
    pub(crate) direct: bool,
    pub(crate) span: Span,
    /// Readers on all cores together, each with one read in flight.
    pub(crate) readers: u64,
    /// Reads of each reader before time is taken, and while it is.
    pub(crate) warm_up: u64,
    pub(crate) reads: u64,
    pub(crate) cores: Vec<CoreId>,
}

/// The readers of one thread.
#[derive(Clone, Debug)]
pub(crate) struct Share {
    pub(crate) crowd: Arc<Crowd>,
    /// Which they are: a reader's seed says where it reads.
    pub(crate) seeds: Range<u64>,
}

/// Where a thread waits until all are ready, and tells when it is done.
///
/// One that fails does not keep the others waiting: its gate is passed when it is dropped.
#[derive(Debug)]
pub(crate) struct Gate {
    clock: Arc<Clock>,
    passed: bool,
}

/// Runs from when the first thread begins until the last one is done. It is read by them: another
/// thread might find no core in time.
#[derive(Debug)]
struct Clock {
    ready: Barrier,
    timer: OnceLock<Timer>,
    sample: Mutex<Option<Sample>>,
}

impl Crowd {
    /// What the checks of a round sum up to.
    pub(crate) fn expected(&self) -> u64 {
        Positions::expected(self.readers, self.reads, self.span)
    }

    /// The number of the file that the content's byte `at` is in, and where in it.
    pub(crate) fn place(&self, at: u64) -> (usize, u64) {
        let file = usize::try_from(at / self.file_len).expect("the number of a file");
        (file, at % self.file_len)
    }

    /// Opens the files as the standard library does.
    pub(crate) fn open(&self) -> Result<Vec<File>, Failure> {
        let open = |path: &PathBuf| {
            let file = OpenOptions::new()
                .read(true)
                .custom_flags(self.flags())
                .open(path);
            file.map_err(|error| Failure::from(format!("{}: {error}", path.display())))
        };
        self.paths.iter().map(open).collect()
    }

    /// What a file is opened with beside for reading.
    pub(crate) fn flags(&self) -> i32 {
        if self.direct { libc::O_DIRECT } else { 0 }
    }

    /// Runs `work` on a thread pinned to each core, each with its share of the readers.
    pub(crate) fn on_each_core(
        self: &Arc<Self>,
        work: impl Fn(Share, Gate) -> Result<u64, Failure> + Sync,
    ) -> Result<Done, Failure> {
        let count = self.cores.len();
        self.race(count, |number, gate| {
            let of = |number: usize| self.readers * number as u64 / count as u64;
            let share = Share {
                crowd: Arc::clone(self),
                seeds: of(number)..of(number + 1),
            };
            pin(self.cores[number]).and_then(|()| work(share, gate))
        })
    }

    /// Runs `work` once with all readers. It is pinned where there is one core only.
    pub(crate) fn on_one_thread(
        self: &Arc<Self>,
        work: impl Fn(Share, Gate) -> Result<u64, Failure> + Sync,
    ) -> Result<Done, Failure> {
        self.race(1, |_, gate| {
            if let [core] = self.cores[..] {
                pin(core)?;
            }
            let share = Share {
                crowd: Arc::clone(self),
                seeds: 0..self.readers,
            };
            work(share, gate)
        })
    }

    fn race(
        &self,
        threads: usize,
        work: impl Fn(usize, Gate) -> Result<u64, Failure> + Sync,
    ) -> Result<Done, Failure> {
        let clock = Arc::new(Clock {
            ready: Barrier::new(threads),
            timer: OnceLock::new(),
            sample: Mutex::new(None),
        });
        let check = thread::scope(|scope| {
            let (clock, work) = (&clock, &work);
            let threads: Vec<_> = (0..threads)
                .map(|number| {
                    let gate = Gate {
                        clock: Arc::clone(clock),
                        passed: false,
                    };
                    scope.spawn(move || work(number, gate))
                })
                .collect();
            let mut check = 0_u64;
            for thread in threads {
                let own = thread.join().map_err(|_| "a thread panicked")??;
                check = check.wrapping_add(own);
            }
            Ok::<_, Failure>(check)
        })?;
        let sample = *clock.sample.lock().unwrap_or_else(PoisonError::into_inner);
        let sample = sample.ok_or("no thread has taken the time")?;
        Ok(Done { sample, check })
    }
}

impl Share {
    /// The reads that a reader does, as the number of the file and where in it.
    pub(crate) fn places(
        &self,
        seed: u64,
        reads: u64,
    ) -> impl Iterator<Item = (usize, u64)> + use<> {
        let crowd = Arc::clone(&self.crowd);
        let mut positions = Positions::new(seed, crowd.span);
        (0..reads).map(move |_| crowd.place(positions.next()))
    }

    /// Bytes of a read.
    pub(crate) fn read_len(&self) -> usize {
        self.crowd.span.read_len
    }

    /// Memory of a reader.
    pub(crate) fn buffer(&self) -> Vec<u8> {
        vec![0; self.read_len()]
    }

    /// Memory of a reader, and the part of it that a direct read may use.
    pub(crate) fn aligned_buffer(&self) -> (Vec<u8>, Range<usize>) {
        let buf = vec![0; self.read_len() + ALIGN];
        let start = buf.as_ptr().align_offset(ALIGN);
        let end = start + self.read_len();
        (buf, start..end)
    }

    /// Does the work twice, and lets the second time be timed. The work is given how many reads
    /// each reader does, and returns the sum of their checks.
    pub(crate) async fn run(
        &self,
        mut gate: Gate,
        work: impl AsyncFn(u64) -> Result<u64, Failure>,
    ) -> Result<u64, Failure> {
        work(self.crowd.warm_up).await?;
        gate.begin();
        let check = work(self.crowd.reads).await?;
        gate.end(self.crowd.readers * self.crowd.reads);
        Ok(check)
    }
}

impl Gate {
    /// Waits for the others. Nothing else is to be done on this thread meanwhile.
    pub(crate) fn begin(&mut self) {
        self.wait();
        self.clock.timer.get_or_init(Timer::start);
    }

    /// Tells that this thread is done, and how much all of them do. What it does from now on,
    /// such as taking its runtime down, does not count; the last one to come says the time.
    pub(crate) fn end(&self, items: u64) {
        if let Some(timer) = self.clock.timer.get() {
            let mut sample = self
                .clock
                .sample
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            *sample = Some(timer.stop(items));
        }
    }

    fn wait(&mut self) {
        self.passed = true;
        self.clock.ready.wait();
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        if !self.passed {
            self.wait();
        }
    }
}

/// Says that a read was too short.
pub(crate) fn short(got: usize, pos: u64) -> Failure {
    format!("a read at {pos} gave {got} bytes").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crowd(cores: usize) -> Arc<Crowd> {
        let all = core_affinity::get_core_ids().expect("cores can be read");
        Arc::new(Crowd {
            paths: Vec::new(),
            file_len: 1 << 20,
            direct: false,
            span: Span {
                len: 4 << 20,
                read_len: 4096,
            },
            readers: 7,
            warm_up: 1,
            reads: 2,
            // The same core may come more than once.
            cores: (0..cores).map(|number| all[number % all.len()]).collect(),
        })
    }

    #[test]
    fn each_reader_is_in_one_share() {
        let crowd = crowd(3);
        let done = crowd.on_each_core(|share, mut gate| {
            gate.begin();
            gate.end(14);
            Ok(share.seeds.sum())
        });
        let done = done.expect("nothing fails");
        assert_eq!(done.check, (0..7).sum::<u64>());
        assert_eq!(done.sample.items, 14);
    }

    #[test]
    fn one_that_fails_keeps_nobody_waiting() {
        let crowd = crowd(3);
        let done = crowd.on_each_core(|share, mut gate| {
            if share.seeds.contains(&0) {
                return Err("it failed".into());
            }
            gate.begin();
            gate.end(14);
            Ok(0)
        });
        assert_eq!(done.expect_err("one failed").to_string(), "it failed");
    }

    #[test]
    fn the_aligned_part_is_aligned_and_inside() {
        let share = Share {
            crowd: crowd(1),
            seeds: 0..1,
        };
        let (buf, range) = share.aligned_buffer();
        assert_eq!(range.len(), 4096);
        assert_eq!(buf[range].as_ptr().align_offset(ALIGN), 0);
    }

    #[test]
    fn places_are_within_their_files() {
        let share = Share {
            crowd: crowd(1),
            seeds: 0..1,
        };
        let places: Vec<_> = share.places(0, 100).collect();
        assert!(
            places
                .iter()
                .all(|&(file, pos)| file < 4 && pos + 4096 <= 1 << 20)
        );
        assert!(places.iter().any(|&(file, _)| file > 0));
    }
}
