//! Code of the user's that does its worst where the library calls it, or leaves the library in ways
//! that no destructor sees: all of it safe but for the buffers, and run under AddressSanitizer.

mod common;
mod support;

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net as std_unix;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use common::quarantine::{self, Guarded};
use corelane::buf::{IoBuf, IoBufMut};
use corelane::fs::File;
use corelane::net::UnixStream;
use corelane::{AsyncFd, BackendChoice, Config, TurnBudget, Worker, spawn_local};

use support::{file_of, run_on, settle, wait_until, watched};

/// Runs `test` on each backend that there is.
fn on_each(test: impl Fn(Config)) {
    for backend in [BackendChoice::Uring, BackendChoice::Threads] {
        let config = Config::new().backend(backend);
        match Worker::new(config.clone()) {
            Ok(_) => test(config),
            Err(error) => println!("SKIP: {backend:?}: {error}"),
        }
    }
}

fn poll_once<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// A buffer that runs code when it is dropped.
struct Trap {
    bytes: Vec<u8>,
    sprung: Option<Box<dyn FnOnce()>>,
}

impl Trap {
    fn new(sprung: impl FnOnce() + 'static) -> Self {
        Self {
            bytes: vec![0; 64],
            sprung: Some(Box::new(sprung)),
        }
    }
}

impl Drop for Trap {
    fn drop(&mut self) {
        if let Some(sprung) = self.sprung.take() {
            sprung();
        }
    }
}

#[allow(unsafe_code, reason = "implements the buffer traits")]
mod trap {
    use super::*;

    // SAFETY: the bytes are the vector's, which is not changed.
    unsafe impl IoBuf for Trap {
        fn stable_ptr(&self) -> *const u8 {
            self.bytes.as_ptr()
        }

        fn init_len(&self) -> usize {
            self.bytes.len()
        }
    }

    // SAFETY: as for IoBuf; all bytes are initialised.
    unsafe impl IoBufMut for Trap {
        fn stable_mut_ptr(&mut self) -> *mut u8 {
            self.bytes.as_mut_ptr()
        }

        fn capacity(&self) -> usize {
            self.bytes.len()
        }

        unsafe fn set_init(&mut self, _len: usize) {}
    }
}

/// An operation that is to go while another is dropped.
type Victim = Rc<RefCell<Option<Pin<Box<dyn Future<Output = ()>>>>>>;

/// Uses everything that a worker offers, then panics.
fn riot(stream: &Rc<UnixStream>, victim: &Victim) {
    // Another operation in flight of the same worker goes, and one of the same socket begins.
    drop(victim.borrow_mut().take());
    let mut recv = Box::pin({
        let stream = Rc::clone(stream);
        async move { drop(stream.recv(vec![0; 16]).await) }
    });
    let _ = poll_once(recv.as_mut());
    let handle = spawn_local(async { corelane::yield_now().await });
    handle.abort();
    spawn_local(recv);
    let mut file = pin!(File::open("/dev/null"));
    let _ = poll_once(file.as_mut());
    let other = Worker::new(Config::new()).unwrap();
    other.block_on(async { corelane::yield_now().await });
    panic!("the drop of a buffer");
}

#[test]
fn a_buffer_whose_drop_uses_the_worker_is_dropped_where_that_is_harmless() {
    on_each(|config| {
        for ends in [false, true] {
            let worker = Worker::new(config.clone()).unwrap();
            let (theirs, ours) = std_unix::UnixStream::pair().unwrap();
            let ran = Rc::new(Cell::new(0));
            let task = {
                let _entered = worker.enter();
                let stream = Rc::new(UnixStream::from_std(ours).unwrap());
                let victim: Victim = Rc::default();
                for _ in 0..3 {
                    let (sprung, stream, victim) =
                        (Rc::clone(&ran), Rc::clone(&stream), Rc::clone(&victim));
                    let trap = Trap::new({
                        let stream = Rc::clone(&stream);
                        move || {
                            sprung.set(sprung.get() + 1);
                            riot(&stream, &victim);
                        }
                    });
                    worker.spawn_local(async move { drop(stream.recv(trap).await) });
                }
                let wakes_late = Rc::clone(&stream);
                *victim.borrow_mut() = Some(Box::pin(async move {
                    drop(wakes_late.recv(Guarded::new(64)).await);
                }));
                let polled = Rc::clone(&victim);
                worker.spawn_local(async move {
                    let mut victim = polled.borrow_mut();
                    let _ = poll_once(victim.as_mut().unwrap().as_mut());
                })
            };
            settle(&worker);
            assert!(task.is_finished());
            assert!(worker.stats().in_flight >= 3, "{:?}", worker.stats());
            if ends {
                // The operations end one after the other, with data, and then by the hang-up.
                for _ in 0..3 {
                    std::io::Write::write_all(&mut &theirs, &[1; 16]).unwrap();
                    let _ = catch_unwind(AssertUnwindSafe(|| settle(&worker)));
                }
                drop(theirs);
                wait_until("the traps have sprung", || {
                    let _ = catch_unwind(AssertUnwindSafe(|| worker.turn(TurnBudget::default())));
                    ran.get() == 3
                });
            }
            let _ = catch_unwind(AssertUnwindSafe(|| {
                let report = worker.shutdown(Instant::now());
                assert_eq!(report.ops_leaked, 0);
            }));
            assert_eq!(ran.get(), 3, "each buffer is dropped once");
            quarantine::check();
        }
    });
}

/// A waker that uses the worker whenever it is woken or dropped.
struct Meddler;

impl Meddler {
    fn meddle() {
        thread_local! {
            static INSIDE: Cell<bool> = const { Cell::new(false) };
        }
        if INSIDE.try_with(|inside| inside.replace(true)) != Ok(false) {
            return;
        }
        let _ = catch_unwind(|| {
            let mut open = pin!(File::open("/dev/null"));
            let _ = open
                .as_mut()
                .poll(&mut Context::from_waker(&Waker::from(Arc::new(Self))));
            drop(spawn_local(async {}));
        });
        let _ = INSIDE.try_with(|inside| inside.set(false));
        if !std::thread::panicking() {
            panic!("a waker");
        }
    }
}

impl Wake for Meddler {
    fn wake(self: Arc<Self>) {
        Self::meddle();
    }
}

impl Drop for Meddler {
    fn drop(&mut self) {
        let _ = catch_unwind(Self::meddle);
    }
}

#[test]
fn a_waker_that_uses_the_worker_and_panics_leaves_no_operation_behind() {
    let on_disk = file_of(&[7; 4096]);
    on_each(|config| {
        let worker = Worker::new(config).unwrap();
        let path = on_disk.path().to_owned();
        let file = worker.block_on(File::open(&path)).unwrap();
        for round in 0..50 {
            let _entered = worker.enter();
            let mut reads: Vec<_> = (0..4)
                .map(|_| Box::pin(file.read_at(Guarded::new(4096), 0)))
                .collect();
            for read in &mut reads {
                let waker = Waker::from(Arc::new(Meddler));
                let _ = catch_unwind(AssertUnwindSafe(|| {
                    read.as_mut()
                        .poll(&mut Context::from_waker(&waker))
                        .is_ready()
                }));
                let _ = catch_unwind(AssertUnwindSafe(|| drop(waker)));
            }
            if round % 2 == 0 {
                drop(reads);
            } else {
                wait_until("the reads have ended", || {
                    let _ = catch_unwind(AssertUnwindSafe(|| worker.turn(TurnBudget::default())));
                    worker.stats().in_flight == 0
                });
                for mut read in reads {
                    let Poll::Ready((result, buf)) = poll_once(read.as_mut()) else {
                        panic!("the read has ended");
                    };
                    assert_eq!(result.unwrap(), 4096);
                    assert_eq!(buf.bytes(), [7; 4096]);
                }
            }
        }
        wait_until("nothing is in flight", || {
            let _ = catch_unwind(AssertUnwindSafe(|| worker.turn(TurnBudget::default())));
            worker.stats().slots == 0
        });
        quarantine::check();
    });
}

/// Answers with another descriptor each time that it is asked, from inside of another operation.
struct Shifty {
    ends: Vec<OwnedFd>,
    asked: Cell<usize>,
}

impl AsFd for Shifty {
    fn as_fd(&self) -> BorrowedFd<'_> {
        let asked = self.asked.get();
        self.asked.set(asked + 1);
        let mut open = pin!(File::open("/dev/null"));
        let _ = poll_once(open.as_mut());
        self.ends[asked % self.ends.len()].as_fd()
    }
}

#[test]
fn a_descriptor_that_changes_between_two_questions_is_waited_for_as_it_was_asked_for() {
    on_each(|config| {
        let worker = Worker::new(config).unwrap();
        let pairs: Vec<_> = (0..3)
            .map(|_| std_unix::UnixStream::pair().unwrap())
            .collect();
        let (theirs, ours): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
        let shifty = {
            let _entered = worker.enter();
            Rc::new(AsyncFd::new(Shifty {
                ends: ours.into_iter().map(OwnedFd::from).collect(),
                asked: Cell::new(0),
            }))
        };
        let waits: Vec<_> = (0..6)
            .map(|_| {
                let shifty = Rc::clone(&shifty);
                worker.spawn_local(async move { shifty.readable().await })
            })
            .collect();
        settle(&worker);
        assert!(waits.iter().all(|wait| !wait.is_finished()));
        for (at, their) in theirs.iter().enumerate() {
            std::io::Write::write_all(&mut &*their, b"!").unwrap();
            wait_until("two waits have ended", || {
                worker.turn(TurnBudget::default());
                waits.iter().filter(|wait| wait.is_finished()).count() >= 2 * (at + 1)
            });
            settle(&worker);
            let finished = waits.iter().filter(|wait| wait.is_finished()).count();
            assert_eq!(finished, 2 * (at + 1));
        }
        drop(shifty);
        drop(waits);
        assert_eq!(worker.shutdown(Instant::now()).ops_leaked, 0);
    });
}

#[test]
fn a_worker_that_is_forgotten_with_its_thread_keeps_what_the_kernel_may_write() {
    on_each(|config| {
        let (sender, receiver) = mpsc::channel();
        let (theirs, ours) = std_unix::UnixStream::pair().unwrap();
        let dropped = Arc::new(AtomicBool::new(false));
        let drops = Arc::clone(&dropped);
        let handle = watched(move || {
            let worker = Worker::new(config).unwrap();
            std::mem::forget(worker.enter());
            let stream = UnixStream::from_std(ours).unwrap();
            let waiting = worker.spawn_local(async move {
                let sent = std::future::poll_fn(|cx| {
                    let _ = sender.send(cx.waker().clone());
                    Poll::Ready(())
                });
                sent.await;
                let trap = Trap::new(move || drops.store(true, Ordering::Relaxed));
                drop(stream.recv(trap).await);
            });
            settle(&worker);
            assert_eq!(worker.stats().in_flight, 1);
            std::mem::forget(worker);
            waiting
        });
        // The kernel, or nobody, may take these bytes: the buffer is still there.
        let _ = std::io::Write::write_all(&mut &theirs, &[1; 64]);
        let waker = receiver.recv().unwrap();
        for _ in 0..3 {
            waker.wake_by_ref();
        }
        drop(waker);
        handle.abort();
        assert!(!handle.is_finished(), "nobody is there to drop the future");
        drop(handle);
        assert!(!dropped.load(Ordering::Relaxed));
    });
}

#[test]
fn a_guard_that_is_forgotten_names_no_worker_that_is_gone() {
    on_each(|config| {
        watched(move || {
            let mut wakers = Vec::new();
            for round in 0..4 {
                let worker = Worker::new(config.clone()).unwrap();
                for _ in 0..=round {
                    std::mem::forget(worker.enter());
                }
                let (sender, receiver) = mpsc::channel();
                let task = worker.spawn_local(std::future::poll_fn(move |cx| {
                    let _ = sender.send(cx.waker().clone());
                    Poll::<()>::Pending
                }));
                settle(&worker);
                wakers.push(receiver.recv().unwrap());
                drop(worker);
                assert!(task.is_finished());
                // The thread is still, as far as it can tell, inside of the worker that has ended.
                assert!(spawn_local(async {}).is_finished());
                let mut open = Box::pin(File::open("/dev/null"));
                assert!(matches!(poll_once(open.as_mut()), Poll::Ready(Err(_))));
                for waker in &wakers {
                    waker.wake_by_ref();
                }
            }
            let last = Worker::new(config.clone()).unwrap();
            assert_eq!(
                run_on(&last, async { spawn_local(async { 3 }).await.unwrap() }),
                3
            );
            std::mem::forget(last.enter());
            // The thread ends inside of it, with the wakers of the others.
        });
    });
}

/// Ends operations that own descriptors at each stage, in each way, and looks whether the number
/// of a descriptor that was opened meanwhile is closed under its owner.
#[test]
fn a_descriptor_is_closed_exactly_once_however_its_close_ends() {
    on_each(|config| {
        let worker = Worker::new(config).unwrap();
        for polls in 0..4 {
            for forgets in [false, true] {
                let file = worker.block_on(File::open("/dev/null")).unwrap();
                {
                    let _entered = worker.enter();
                    let mut close = Box::pin(file.close());
                    for _ in 0..polls {
                        if poll_once(close.as_mut()).is_ready() {
                            break;
                        }
                        worker.turn(TurnBudget::default());
                    }
                    if forgets {
                        std::mem::forget(close);
                    } else {
                        drop(close);
                    }
                }
                // They take the number, if it is free already.
                let taken: Vec<_> = (0..4)
                    .map(|_| std::fs::File::open("/proc/self/stat").unwrap())
                    .collect();
                for _ in 0..20 {
                    worker.turn(TurnBudget::default());
                    std::thread::sleep(Duration::from_micros(200));
                }
                for file in &taken {
                    assert!(file.metadata().is_ok(), "closed by somebody else");
                }
            }
        }
        wait_until("the kernel lets go of every operation", || {
            worker.turn(TurnBudget::default());
            worker.stats().in_flight == 0
        });
        let report = worker.shutdown(Instant::now());
        assert_eq!(report.ops_leaked, 0);
    });
}

/// Buffers of more than 4 GiB: lengths are cut, not truncated to 32 bits.
#[test]
fn a_buffer_longer_than_a_request_may_be_is_cut_and_not_wrapped() {
    const LEN: usize = (1 << 32) + 4096;
    let on_disk = file_of(&[9; 8192]);
    on_each(|config| {
        let worker = Worker::new(config).unwrap();
        let path = on_disk.path().to_owned();
        run_on(&worker, async {
            let file = File::open(&path).await.unwrap();
            // Reserved, not touched.
            let (result, buf) = file.read_at(Vec::with_capacity(LEN), 0).await;
            // 4,096 with a length that wrapped.
            assert_eq!(result.unwrap(), 8192);
            assert_eq!(buf, [9; 8192]);
            let bufs = vec![Vec::with_capacity(4096), Vec::with_capacity(LEN)];
            let (result, bufs) = file.readv_at(bufs, 0).await;
            assert_eq!(result.unwrap(), 8192);
            assert_eq!((bufs[0].len(), bufs[1].len()), (4096, 4096));
        });
    });
}
