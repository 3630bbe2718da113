//! A panic ends its task alone, wherever it happens, and reaches who awaits it.

mod support;

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};

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

#[test]
fn user_code_that_panics_at_the_first_poll_ends_the_operation_alone() {
    thread_local! {
        static DROPPED: Cell<u32> = const { Cell::new(0) };
    }
    struct PanicsWhenAsked(Vec<u8>);
    impl Drop for PanicsWhenAsked {
        fn drop(&mut self) {
            DROPPED.set(DROPPED.get() + 1);
        }
    }
    // SAFETY: the bytes are the vector's.
    unsafe impl corelane::buf::IoBuf for PanicsWhenAsked {
        fn stable_ptr(&self) -> *const u8 {
            self.0.as_ptr()
        }

        fn init_len(&self) -> usize {
            self.0.len()
        }
    }
    // SAFETY: as for IoBuf; the length does not change.
    unsafe impl corelane::buf::IoBufMut for PanicsWhenAsked {
        fn stable_mut_ptr(&mut self) -> *mut u8 {
            panic!("where it is")
        }

        fn capacity(&self) -> usize {
            self.0.len()
        }

        unsafe fn set_init(&mut self, _len: usize) {}
    }
    run(async {
        let file = File::open("/dev/zero").await.unwrap();
        let mut read = Box::pin(file.read_at(PanicsWhenAsked(vec![1; 4]), 0));
        let mut cx = Context::from_waker(Waker::noop());
        let mut poll = || {
            let polled = catch_unwind(AssertUnwindSafe(|| read.as_mut().poll(&mut cx).is_ready()));
            panic_text(&*polled.unwrap_err()).to_owned()
        };
        assert_eq!(poll(), "where it is");
        assert_eq!((DROPPED.get(), corelane::stats().slots), (1, 0));
        // Polled again it says that it is over, and nothing is dropped twice.
        poll();
        drop(read);
        assert_eq!((DROPPED.get(), corelane::stats().slots), (1, 0));
        assert_eq!(file.read_at(vec![1; 4], 0).await.1, [0; 4]);
    });
}

/// Polls a future once with a waker made of `wake`, which is then let go.
fn poll_with<F: Future + ?Sized>(
    future: Pin<&mut F>,
    wake: Arc<impl Wake + Send + Sync + 'static>,
) -> bool {
    let waker = Waker::from(wake);
    future.poll(&mut Context::from_waker(&waker)).is_ready()
}

#[test]
fn the_driver_of_a_closed_worker_keeps_nobodys_waker() {
    struct Nothing;
    impl Wake for Nothing {
        fn wake(self: Arc<Self>) {}
    }
    let worker = worker();
    let file = worker.block_on(File::open("/dev/zero")).unwrap();
    drop(worker);
    let wake = Arc::new(Nothing);
    let mut read = Box::pin(file.read_at(vec![1; 4], 0));
    assert!(poll_with(read.as_mut(), Arc::clone(&wake)));
    assert_eq!(Arc::strong_count(&wake), 1);
}

#[test]
fn a_waker_whose_drop_uses_the_driver_finds_a_closed_one_at_hand() {
    type Reading = Pin<Box<dyn Future<Output = ()>>>;
    thread_local! {
        static READING: RefCell<Option<Reading>> = const { RefCell::new(None) };
    }
    /// Polls what it finds, which needs the driver.
    struct UsesTheDriver;
    impl Wake for UsesTheDriver {
        fn wake(self: Arc<Self>) {}
    }
    impl Drop for UsesTheDriver {
        fn drop(&mut self) {
            if let Some(mut reading) = READING.take() {
                let mut cx = Context::from_waker(Waker::noop());
                assert!(reading.as_mut().poll(&mut cx).is_ready());
            }
        }
    }
    let worker = worker();
    let file = worker.block_on(File::open("/dev/zero")).unwrap();
    drop(worker);
    for _ in 0..3 {
        let third = file.clone();
        READING.set(Some(Box::pin(async move {
            assert!(third.read_at(vec![1; 4], 0).await.0.is_err());
        })));
        for _ in 0..2 {
            let mut read = Box::pin(file.read_at(vec![1; 4], 0));
            assert!(poll_with(read.as_mut(), Arc::new(UsesTheDriver)));
        }
        assert!(READING.take().is_none());
    }
}
