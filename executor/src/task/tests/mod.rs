//! The public bugs of hand-written task cores, and the counts of everything that is dropped.

use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn, ready};
use std::panic::panic_any;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Waker};
use std::thread;

use super::*;

mod basics;
mod panics;
mod recycling;
mod remote;
mod threads;

/// Counts its drops, and where they happened.
struct Counted {
    drops: Arc<AtomicUsize>,
    home: Option<thread::ThreadId>,
}

impl Counted {
    fn new(drops: &Arc<AtomicUsize>) -> Self {
        Self {
            drops: Arc::clone(drops),
            home: None,
        }
    }

    fn at_home(drops: &Arc<AtomicUsize>) -> Self {
        Self {
            drops: Arc::clone(drops),
            home: Some(thread::current().id()),
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.drops.fetch_add(1, Ordering::SeqCst);
        if let Some(home) = self.home {
            assert_eq!(home, thread::current().id(), "a future left its thread");
        }
    }
}

/// Panics when dropped.
struct Bomb(&'static str);

impl Drop for Bomb {
    fn drop(&mut self) {
        panic_any(self.0);
    }
}

fn counter() -> Arc<AtomicUsize> {
    Arc::new(AtomicUsize::new(0))
}

fn count(counter: &AtomicUsize) -> usize {
    counter.load(Ordering::SeqCst)
}

/// Runs until nothing is left to run.
fn run(local: &Local) -> usize {
    let _guard = local.enter();
    let mut polls = 0;
    loop {
        local.take_remote();
        if !local.run_one() {
            return polls;
        }
        polls += 1;
    }
}

fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

fn ready_now<F: Future + Unpin>(mut future: F) -> F::Output {
    match poll_once(&mut future) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("not ready"),
    }
}

fn yield_now() -> impl Future<Output = ()> {
    let mut yielded = false;
    poll_fn(move |cx| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
}

/// Puts the task's waker into `slot` and stays pending until `slot` is empty again.
fn park_in(slot: Rc<RefCell<Option<Waker>>>) -> impl Future<Output = ()> {
    let mut parked = false;
    poll_fn(move |cx| {
        if parked {
            return Poll::Ready(());
        }
        parked = true;
        *slot.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    })
}
