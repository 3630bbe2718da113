//! Signals arrive as futures, at every worker that asked, and none is lost.

mod support;

use corelane::signal::{ctrl_c, signals};
use corelane::{Executor, Placement, spawn_local, yield_now};

use support::run;

fn raise(signal: i32) {
    let process = std::process::id().try_into().unwrap();
    // SAFETY: kill takes no memory; the signal is handled by this test.
    assert_eq!(unsafe { libc::kill(process, signal) }, 0);
}

#[test]
fn a_signal_is_awaited() {
    run(async {
        let mut signals = signals(&[libc::SIGUSR1, libc::SIGUSR2]).unwrap();
        for signal in [libc::SIGUSR1, libc::SIGUSR2, libc::SIGUSR2, libc::SIGUSR1] {
            raise(signal);
            assert_eq!(signals.next().await.unwrap(), signal);
        }
        // Both, in one order or the other.
        raise(libc::SIGUSR1);
        raise(libc::SIGUSR2);
        let mut both = [signals.next().await.unwrap(), signals.next().await.unwrap()];
        both.sort_unstable();
        assert_eq!(both, [libc::SIGUSR1, libc::SIGUSR2]);
        // Nothing more, and giving up loses nothing.
        let mut next = Box::pin(signals.next());
        assert!(futures_util::poll!(next.as_mut()).is_pending());
        drop(next);
        raise(libc::SIGUSR2);
        assert_eq!(signals.next().await.unwrap(), libc::SIGUSR2);
    });
}

#[test]
fn every_worker_that_asked_gets_the_signal() {
    let executor = Executor::builder()
        .placement(Placement::Unpinned(2))
        .start()
        .unwrap();
    let (ready, when_ready) = std::sync::mpsc::channel();
    let waiting = executor
        .spawn_on_each(move |_| {
            let ready = ready.clone();
            async move {
                let mut signals = signals(&[libc::SIGHUP]).unwrap();
                ready.send(()).unwrap();
                signals.next().await.unwrap()
            }
        })
        .unwrap();
    when_ready.recv().unwrap();
    when_ready.recv().unwrap();
    raise(libc::SIGHUP);
    for task in waiting {
        assert_eq!(executor.block_on(task).unwrap(), libc::SIGHUP);
    }
}

#[test]
fn ctrl_c_ends_a_wait() {
    run(async {
        let waiting = spawn_local(ctrl_c());
        yield_now().await;
        raise(libc::SIGINT);
        waiting.await.unwrap().unwrap();
    });
}

#[test]
fn outside_of_a_worker_nothing_is_registered() {
    // SIGRTMAX: no other test asks for it.
    let signal = libc::SIGRTMAX();
    std::panic::catch_unwind(|| signals(&[signal])).unwrap_err();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = u64::from_str_radix(caught.unwrap().trim(), 16).unwrap();
    assert_eq!(caught >> (signal - 1) & 1, 0, "{caught:x}");
}
