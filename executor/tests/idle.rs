//! An idle executor takes no processor time and does not show as waiting for I/O.

mod support;

use std::time::{Duration, Instant};

use corelane::Executor;
use corelane::net::{TcpListener, UnixStream};

use support::{HUNG, child, is_child};

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
    let mut io_waits = 0;
    while start.elapsed() < WATCHED {
        std::thread::sleep(Duration::from_millis(100));
        io_waits += threads_in_io_wait();
    }
    let (cpu, elapsed) = (cpu_time() - cpu, start.elapsed());
    let parks = |stats: &[corelane::Stats]| stats.iter().map(|stats| stats.parks).sum::<u64>();
    let (before, after) = (parks(&stats), parks(&executor.stats()));
    assert!(
        after - before <= 4,
        "the workers parked {} times",
        after - before
    );
    // Reading /proc fifty times is this thread's own; the workers' share is read by thread.
    let share = cpu.as_secs_f64() / elapsed.as_secs_f64();
    assert!(share < 0.002, "{:.3} % of a core", share * 100.0);
    assert_eq!(io_waits, 0, "threads waited for I/O");
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

/// How many threads are in a sleep that counts as waiting for I/O: the state D. A worker that is
/// parked in its ring sleeps in the state S; whether the kernel counts it as waiting for I/O all
/// the same shows in the processors' iowait, which other processes blur.
fn threads_in_io_wait() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let state = |entry: std::io::Result<std::fs::DirEntry>| {
        let stat = std::fs::read_to_string(entry.ok()?.path().join("stat")).ok()?;
        stat.rsplit_once(") ")?.1.chars().next()
    };
    tasks
        .filter_map(state)
        .filter(|&state| state == 'D')
        .count()
}
