//! The kernel's flag for deferred work stays set, with nothing deferred, when an enter came between a
//! completion on another core and its setting of the flag (seen with Linux 6.18: the completion is
//! added to the list, the enter runs the list and clears the flag, the flag is set). It stays so until
//! the next completion, however often the ring is entered.
//!
//! The tests set the flag themselves, in the queue's shared memory.
#![allow(unsafe_code, reason = "maps a ring's queue and writes to it")]

mod support;

use std::fs;
use std::os::fd::RawFd;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use corelane::time::sleep;
use corelane::{BackendChoice, Config, TurnBudget, Worker};

use support::{file_of, on_ring};

const TASKRUN: u32 = 1 << 2;
/// Where `struct io_rings` has the masks of its two queues, in words, and the flags of the submission queue:
/// in this order, with or without a cache line for each head and tail before them.
const LAYOUTS: [(usize, usize); 2] = [(4, 9), (64, 69)];
const QUIET: Duration = Duration::from_millis(300);

/// The flags of a ring's submission queue.
struct Flags(&'static AtomicU32);

impl Flags {
    fn of(ring: RawFd, masks: [u32; 2]) -> Self {
        // SAFETY: a new mapping, of which nobody else knows.
        let memory = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                4096,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                ring,
                0,
            )
        };
        assert_ne!(memory, libc::MAP_FAILED);
        // SAFETY: a page that is never unmapped, of words that the kernel accesses as atomics.
        let words: &'static [AtomicU32; 1024] = unsafe { &*memory.cast() };
        let word = |at: usize| words[at].load(Ordering::Relaxed);
        let layout = LAYOUTS
            .iter()
            .find(|(at, _)| [word(*at), word(at + 1)] == masks);
        let (_, flags) = layout.expect("the kernel arranges its queues in a way that is known");
        Self(&words[*flags])
    }

    fn set_stale(&self) {
        self.0.fetch_or(TASKRUN, Ordering::SeqCst);
    }

    fn is_set(&self) -> bool {
        self.0.load(Ordering::SeqCst) & TASKRUN != 0
    }
}

fn rings() -> Vec<RawFd> {
    let fds = fs::read_dir("/proc/self/fd").unwrap();
    fds.filter_map(|fd| {
        let path = fd.unwrap().path();
        let is_ring = fs::read_link(&path).is_ok_and(|it| it == Path::new("anon_inode:[io_uring]"));
        is_ring.then(|| path.file_name()?.to_str()?.parse().ok())?
    })
    .collect()
}

/// One test, as the process is to have one ring.
#[test]
fn a_flag_that_stays_set_keeps_no_worker_awake() {
    if !on_ring("a_flag_that_stays_set_keeps_no_worker_awake") {
        return;
    }
    let config = Config::new()
        .backend(BackendChoice::Uring)
        .sq_entries(64)
        .cq_entries(1024);
    let worker = Worker::new(config).unwrap();
    let &[ring] = &*rings() else {
        panic!("there are {} rings", rings().len());
    };
    let flags = Flags::of(ring, [63, 1023]);
    // The kick is armed, and nothing is under way.
    worker.block_on(async {});
    while worker.turn(TurnBudget::default()).more_work {}

    a_turn_says_that_waiting_loses_nothing(&worker, &flags);
    a_park_waits(&worker, &flags);
    block_on_sleeps(&worker, &flags);
    operations_still_end(&worker, &flags);
}

fn a_turn_says_that_waiting_loses_nothing(worker: &Worker, flags: &Flags) {
    flags.set_stale();
    assert!(!worker.turn(TurnBudget::default()).more_work);
    assert!(
        flags.is_set(),
        "an enter cleared it: the test shows nothing"
    );
}

fn a_park_waits(worker: &Worker, flags: &Flags) {
    flags.set_stale();
    let start = Instant::now();
    worker.park(Some(start + QUIET));
    assert!(start.elapsed() >= QUIET);
}

fn block_on_sleeps(worker: &Worker, flags: &Flags) {
    flags.set_stale();
    let turns = worker.stats().turns;
    worker.block_on(sleep(QUIET));
    let turns = worker.stats().turns - turns;
    assert!(turns < 20, "{turns} turns for one sleep");
}

fn operations_still_end(worker: &Worker, flags: &Flags) {
    let on_disk = file_of(&[7; 4096]);
    let ends = worker.block_on(async {
        let file = corelane::fs::File::open(on_disk.path()).await.unwrap();
        let mut ends = 0;
        for _ in 0..100 {
            flags.set_stale();
            let (read, _) = file.read_at(vec![0; 4096], 0).await;
            ends += usize::from(read.unwrap() == 4096);
        }
        ends
    });
    assert_eq!(ends, 100);
}
