//! A panic ends its task alone, wherever it happens, and reaches who awaits it.

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};

use corelane::fs::File;
use corelane::{Executor, Placement, spawn_blocking, spawn_local, yield_now};

use support::{panic_text, run, worker};

struct PanicsOnDrop;

impl Drop for PanicsOnDrop {
    fn drop(&mut self) {
        panic!("in a drop");
    }
}

#[test]
fn a_panic_in_a_poll_reaches_the_handle() {
    run(async {
        let neighbour = spawn_local(async {
            for _ in 0..10 {
                yield_now().await;
            }
            1
        });
        let now = spawn_local(async { panic!("at once") });
        let later = spawn_local(async {
            yield_now().await;
            panic!("later: {}", 5)
        });
        let text = |error: corelane::JoinError| panic_text(&*error.into_panic()).to_owned();
        assert_eq!(text(now.await.map(|(): ()| ()).unwrap_err()), "at once");
        assert_eq!(text(later.await.map(|(): ()| ()).unwrap_err()), "later: 5");
        assert_eq!(neighbour.await.unwrap(), 1);
    });
}

#[test]
fn a_panic_with_an_operation_in_flight_leaves_no_slot() {
    let worker = worker();
    let (_theirs, ours) = std::os::unix::net::UnixStream::pair().unwrap();
    let task = {
        let _entered = worker.enter();
        let ours = corelane::net::UnixStream::from_std(ours).unwrap();
        worker.spawn_local(async move {
            let mut recv = std::pin::pin!(ours.recv(Vec::with_capacity(8)));
            assert!(futures_util::poll!(recv.as_mut()).is_pending());
            yield_now().await;
            panic!("while receiving");
        })
    };
    let error = worker.block_on(task).map(|(): ()| ()).unwrap_err();
    assert!(error.is_panic());
    worker.block_on(support::yield_until("the slot is free", || {
        corelane::stats().slots == 0
    }));
}

#[test]
fn a_panic_in_the_drop_of_a_future_is_contained() {
    run(async {
        let aborted = spawn_local(async {
            let _bomb = PanicsOnDrop;
            std::future::pending::<()>().await;
        });
        yield_now().await;
        aborted.abort();
        assert!(aborted.await.is_err());
        let output = spawn_local(async { PanicsOnDrop });
        drop(output);
        for _ in 0..5 {
            yield_now().await;
        }
        let file = File::open("/dev/zero").await.unwrap();
        assert_eq!(file.read_at(vec![1; 4], 0).await.1, [0; 4]);
    });
}

#[test]
fn a_panic_in_the_drop_of_a_buffer_is_contained() {
    struct Bomb(Vec<u8>, PanicsOnDrop);
    // SAFETY: the bytes are the vector's.
    unsafe impl corelane::buf::IoBuf for Bomb {
        fn stable_ptr(&self) -> *const u8 {
            self.0.as_ptr()
        }

        fn init_len(&self) -> usize {
            self.0.len()
        }
    }
    // SAFETY: as for IoBuf; the length does not change.
    unsafe impl corelane::buf::IoBufMut for Bomb {
        fn stable_mut_ptr(&mut self) -> *mut u8 {
            self.0.as_mut_ptr()
        }

        fn capacity(&self) -> usize {
            self.0.len()
        }

        unsafe fn set_init(&mut self, _len: usize) {}
    }
    let worker = worker();
    let (theirs, ours) = std::os::unix::net::UnixStream::pair().unwrap();
    let task = {
        let _entered = worker.enter();
        let ours = corelane::net::UnixStream::from_std(ours).unwrap();
        worker.spawn_local(async move { drop(ours.recv(Bomb(vec![0; 8], PanicsOnDrop)).await) })
    };
    while worker.stats().in_flight == 0 {
        worker.turn(corelane::TurnBudget::default());
    }
    task.abort();
    // The buffer goes when the cancelled operation has ended, in a turn.
    while worker.stats().slots > 0 {
        let _ = catch_unwind(AssertUnwindSafe(|| {
            worker.turn(corelane::TurnBudget::default())
        }));
    }
    drop(theirs);
    assert_eq!(
        worker.block_on(async { spawn_local(async { 4 }).await.unwrap() }),
        4
    );
}

#[test]
fn a_panic_in_one_task_leaves_the_other_workers_and_its_own_alone() {
    let executor = Executor::builder()
        .placement(Placement::Unpinned(2))
        .start()
        .unwrap();
    for _ in 0..20 {
        let building = executor.spawn_on(0, || {
            assert!(current_is(0), "not here");
            panic!("in the closure");
            #[expect(unreachable_code, reason = "gives the closure its future")]
            async {}
        });
        let error = executor.block_on(building.unwrap()).unwrap_err();
        assert_eq!(panic_text(&*error.into_panic()), "in the closure");
    }
    for worker in 0..2 {
        let task = executor.spawn_on(worker, move || async move { worker });
        assert_eq!(executor.block_on(task.unwrap()).unwrap(), worker);
    }
    assert_eq!(executor.join().workers_panicked, 0);
}

fn current_is(worker: usize) -> bool {
    corelane::current_worker() == worker
}

#[test]
fn a_panic_in_blocking_work_reaches_who_awaits_it() {
    run(async {
        for round in 0..50 {
            match spawn_blocking(move || panic!("round {round}"))
                .await
                .map(|(): ()| ())
            {
                Err(corelane::BlockingError::Panicked(payload)) => {
                    assert_eq!(panic_text(&*payload), format!("round {round}"));
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(spawn_blocking(|| 6).await.unwrap(), 6);
    });
}
