//! An idle executor takes no processor time and does not show as waiting for I/O.

mod support;

use std::os::fd::{FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use corelane::Executor;
use corelane::net::{TcpListener, UnixStream};

use support::{HUNG, child, is_child, on_ring};

const WATCHED: Duration = Duration::from_secs(5);

#[test]
fn an_idle_executor_takes_no_processor_time() {
    if is_child() {
        return measure();
    }
    // In a process of its own, which does nothing else.
    let (status, stderr) = child("an_idle_executor_takes_no_processor_time");
    assert!(status.success(), "{stderr}");
}

fn measure() {
    let executor = Executor::new().unwrap();
    let ready = executor
        .spawn_on_each(|_| async {
            // Idle as servers are: waiting for connections, bytes and a far timer.
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            corelane::spawn_local(async move { listener.incoming().next().await.is_some() });
            let (one, two) = UnixStream::pair().unwrap();
            corelane::spawn_local(async move {
                let _one = one;
                two.recv(vec![0; 8]).await.0.unwrap()
            });
            corelane::spawn_local(corelane::time::sleep(Duration::from_secs(3_600)));
        })
        .unwrap();
    for task in ready {
        executor.block_on(task).unwrap();
    }
    settle(&executor);
    let (stats, cpu, start) = (executor.stats(), cpu_time(), Instant::now());
    let mut blocked_min = usize::MAX;
    while start.elapsed() < WATCHED {
        std::thread::sleep(Duration::from_millis(100));
        blocked_min = blocked_min.min(processes_blocked());
    }
    let (cpu, elapsed) = (cpu_time().saturating_sub(cpu), start.elapsed());
    let parks = |stats: &[corelane::Stats]| stats.iter().map(|stats| stats.parks).sum::<u64>();
    let (before, after) = (parks(&stats), parks(&executor.stats()));
    assert!(
        after - before <= 4,
        "the workers parked {} times",
        after - before
    );
    let share = cpu.as_secs_f64() / elapsed.as_secs_f64();
    assert!(share < 0.002, "{:.3} % of a core", share * 100.0);
    // Waiting in epoll never counts.
    if !on_ring("how a wait in a ring is counted") || has_no_iowait() {
        // Others may wait for their I/O now and then; parked workers would do so all the time.
        let workers = executor.workers();
        assert!(
            blocked_min < workers,
            "{blocked_min} threads always waited for I/O"
        );
    } else {
        eprintln!("SKIP: this kernel counts every wait in a ring as I/O wait");
    }
}

/// Waits until no worker turns any more.
fn settle(executor: &Executor) {
    let start = Instant::now();
    let mut turns = Vec::new();
    loop {
        std::thread::sleep(Duration::from_millis(100));
        let now: Vec<u64> = executor.stats().iter().map(|stats| stats.turns).collect();
        if now == turns {
            return;
        }
        assert!(start.elapsed() < HUNG, "the workers do not come to rest");
        turns = now;
    }
}

/// The processor time of all threads but the calling one.
fn cpu_time() -> Duration {
    let own = clock(libc::CLOCK_THREAD_CPUTIME_ID);
    clock(libc::CLOCK_PROCESS_CPUTIME_ID).saturating_sub(own)
}

fn clock(id: libc::clockid_t) -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is valid for the call.
    assert_eq!(unsafe { libc::clock_gettime(id, &raw mut time) }, 0);
    Duration::new(
        time.tv_sec.try_into().unwrap(),
        time.tv_nsec.try_into().unwrap(),
    )
}

/// How many threads of the system the kernel counts as waiting for I/O at this moment.
fn processes_blocked() -> usize {
    let stat = std::fs::read_to_string("/proc/stat").unwrap();
    let line = stat
        .lines()
        .find_map(|line| line.strip_prefix("procs_blocked "));
    line.unwrap().parse().unwrap()
}

/// Asks the kernel whether a wait in a ring can be kept out of the I/O wait
/// (`IORING_FEAT_NO_IOWAIT`, Linux 6.15).
fn has_no_iowait() -> bool {
    const FEATURES: usize = 5;
    const NO_IOWAIT: u32 = 1 << 17;
    // struct io_uring_params has 120 bytes; its sixth word holds the features.
    let mut params = [0u32; 30];
    // SAFETY: `params` has the size and the alignment of the structure, and is zeroed as asked.
    let ring = unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, params.as_mut_ptr()) };
    let ring = i32::try_from(ring).unwrap();
    assert!(ring >= 0, "{}", std::io::Error::last_os_error());
    // SAFETY: the call has just made this descriptor, and nothing else owns it.
    drop(unsafe { OwnedFd::from_raw_fd(ring) });
    params[FEATURES] & NO_IOWAIT != 0
}
