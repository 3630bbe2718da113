//! In the steady state, direct operations allocate nothing, and a spawn allocates once.

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::task::Poll;
use std::time::{Duration, Instant};

use corelane::fs::{File, OpenOptions};
use corelane::net::UnixStream;
use corelane::time::{Sleep, sleep, sleep_until};
use corelane::{spawn_local, yield_now};

use support::{content, file_of, run};

/// Counts what the calling thread allocates.
struct Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    // A thread that ends allocates uncounted.
    let _ = COUNT.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: every call is handed on to the system's allocator as it is; counting does not allocate,
// as the thread-local needs neither initialisation nor a destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's obligations are those of the system's allocator.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(ptr, layout) };
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.realloc(ptr, layout, new_size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations() -> u64 {
    COUNT.with(Cell::get)
}

/// Operations counted of each kind, after a tenth as many to warm up: a debug build makes them
/// slower.
const OPERATIONS: usize = if cfg!(debug_assertions) {
    10_000
} else {
    100_000
};

/// Sleeps that wait at the same time.
const SLEEPERS: usize = 500;

/// Drives `step` for the warm-up, then counts what the rest allocates.
async fn steady(name: &str, operations: usize, mut step: impl AsyncFnMut()) {
    for _ in 0..operations / 10 {
        step().await;
    }
    let before = allocations();
    for _ in 0..operations {
        step().await;
    }
    let allocated = allocations() - before;
    assert_eq!(allocated, 0, "{operations} {name} allocated");
}

#[test]
fn the_counter_counts() {
    let before = allocations();
    drop(std::hint::black_box(Box::new(5)));
    assert_eq!(allocations() - before, 1);
}

#[test]
fn reads_and_writes_allocate_nothing() {
    let on_disk = file_of(&content(65_536));
    run(async {
        let mut options = OpenOptions::new();
        let file = options
            .read(true)
            .write(true)
            .open(on_disk.path())
            .await
            .unwrap();
        let mut buf = Vec::with_capacity(512);
        let mut at = 0;
        steady("reads", OPERATIONS, async || {
            at = (at + 4_099) % 65_000;
            let (result, back) = file.read_at(std::mem::take(&mut buf), at).await;
            assert_eq!(
                result.unwrap(),
                512.min(65_536 - usize::try_from(at).unwrap())
            );
            buf = back;
        })
        .await;
        steady("writes", OPERATIONS, async || {
            let (result, back) = file.write_at(std::mem::take(&mut buf), at).await;
            assert_eq!(result.unwrap(), back.len());
            buf = back;
        })
        .await;
        let pool = corelane::pool().unwrap();
        steady("reads into the pool", OPERATIONS, async || {
            let (result, buf) = file.read_at(pool.try_get().unwrap(), 0).await;
            assert_eq!(result.unwrap(), buf.len());
        })
        .await;
    });
}

#[test]
fn sends_and_receives_allocate_nothing() {
    run(async {
        let (one, two) = UnixStream::pair().unwrap();
        let (mut to_send, mut received) = (content(100), Vec::with_capacity(100));
        steady("sends and receives", OPERATIONS, async || {
            let (result, back) = one.send(std::mem::take(&mut to_send)).await;
            assert_eq!(result.unwrap(), 100);
            to_send = back;
            let (result, back) = two.recv(std::mem::take(&mut received)).await;
            assert_eq!(result.unwrap(), 100);
            received = back;
        })
        .await;
        // A receive that has to wait, with the answer from another task.
        let echo = spawn_local(async move {
            let mut buf = Vec::with_capacity(100);
            loop {
                let (result, back) = two.recv(buf).await;
                if result.unwrap() == 0 {
                    return;
                }
                buf = two.send_all(back).await.1;
            }
        });
        steady("round trips between tasks", OPERATIONS, async || {
            let (result, back) = one.send_all(std::mem::take(&mut to_send)).await;
            result.unwrap();
            to_send = back;
            received.clear();
            let (result, back) = one.recv(std::mem::take(&mut received)).await;
            assert_eq!(result.unwrap(), 100);
            received = back;
        })
        .await;
        drop(one);
        echo.await.unwrap();
    });
}

#[test]
fn many_operations_in_flight_allocate_nothing() {
    let on_disk = file_of(&content(65_536));
    run(async {
        let file = File::open(on_disk.path()).await.unwrap();
        let mut bufs: Vec<Vec<u8>> = (0..32).map(|_| Vec::with_capacity(256)).collect();
        let mut reads: Vec<Option<corelane::fs::ReadAt<Vec<u8>>>> = (0..32).map(|_| None).collect();
        steady("batches of 32 reads", OPERATIONS.div_ceil(32), async || {
            for (index, read) in reads.iter_mut().enumerate() {
                *read = Some(file.read_at(bufs.pop().unwrap(), index as u64 * 1_000));
            }
            poll_fn(|cx| {
                for read in &mut reads {
                    if let Some(future) = read
                        && let Poll::Ready((result, buf)) = std::pin::Pin::new(future).poll(cx)
                    {
                        assert_eq!(result.unwrap(), 256);
                        bufs.push(buf);
                        *read = None;
                    }
                }
                if reads.iter().all(Option::is_none) {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                }
            })
            .await;
        })
        .await;
    });
}

#[test]
fn sleeps_and_wakes_allocate_nothing() {
    run(async {
        steady("yields", OPERATIONS, async || yield_now().await).await;
        let soon = Duration::from_nanos(1);
        steady("sleeps that end at once", OPERATIONS, async || {
            sleep(soon).await
        })
        .await;
        // Timers that are armed, moved and taken out, without the wait.
        steady("timers", OPERATIONS, async || {
            let mut timer: Sleep = sleep(Duration::from_secs(5));
            poll_fn(|cx| {
                assert!(std::pin::Pin::new(&mut timer).poll(cx).is_pending());
                Poll::Ready(())
            })
            .await;
        })
        .await;
    });
}

#[test]
fn sleeps_side_by_side_allocate_nothing() {
    run(async {
        let ended = std::rc::Rc::new(Cell::new(0));
        // As many timers as there may ever be, before the count begins.
        let all_there = Instant::now() + Duration::from_millis(200);
        let sleepers: Vec<_> = (0..SLEEPERS)
            .map(|index| {
                let ended = std::rc::Rc::clone(&ended);
                // From a tenth of a millisecond to two, not in the order of the tasks.
                let delay = Duration::from_micros(100 * (1 + index as u64 * 7 % 20));
                spawn_local(async move {
                    sleep_until(all_there).await;
                    loop {
                        sleep(delay).await;
                        ended.set(ended.get() + 1);
                    }
                })
            })
            .collect();
        let rounds = OPERATIONS.div_ceil(SLEEPERS);
        steady("rounds of 500 sleeps", rounds, async || {
            let due = ended.get() + SLEEPERS;
            while ended.get() < due {
                sleep_until(Instant::now() + Duration::from_micros(100)).await;
            }
        })
        .await;
        for sleeper in sleepers {
            sleeper.abort();
        }
    });
}

#[test]
fn more_timers_due_at_once_than_ever_before_allocate_nothing() {
    run(async {
        sleep(Duration::from_micros(100)).await;
        let begun = std::rc::Rc::new(Cell::new(0));
        let ended = std::rc::Rc::new(Cell::new(0));
        for _ in 0..SLEEPERS {
            let (begun, ended) = (std::rc::Rc::clone(&begun), std::rc::Rc::clone(&ended));
            drop(spawn_local(async move {
                begun.set(begun.get() + 1);
                sleep(Duration::from_millis(50)).await;
                ended.set(ended.get() + 1);
            }));
        }
        while begun.get() < SLEEPERS {
            yield_now().await;
        }
        let before = allocations();
        // Nobody polls meanwhile: all of them are late by the time the worker looks.
        std::thread::sleep(Duration::from_millis(60));
        while ended.get() < SLEEPERS {
            yield_now().await;
        }
        assert_eq!(allocations() - before, 0);
    });
}

#[test]
fn wakes_between_tasks_allocate_nothing() {
    run(async {
        let notify =
            std::rc::Rc::new((corelane::sync::Notify::new(), corelane::sync::Notify::new()));
        let theirs = std::rc::Rc::clone(&notify);
        let echo = spawn_local(async move {
            loop {
                theirs.0.notified().await;
                theirs.1.notify_one();
            }
        });
        steady("wakes there and back", OPERATIONS, async || {
            notify.0.notify_one();
            notify.1.notified().await;
        })
        .await;
        echo.abort();
    });
}

#[test]
fn a_spawn_allocates_once() {
    run(async {
        for _ in 0..100 {
            spawn_local(async {}).await.unwrap();
        }
        let before = allocations();
        for value in 0..OPERATIONS as u64 {
            assert_eq!(spawn_local(async move { value }).await.unwrap(), value);
        }
        assert_eq!(allocations() - before, OPERATIONS as u64);
    });
}
