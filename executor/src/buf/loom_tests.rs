//! Models of the pool's return list: each buffer comes home once, and who waits for one is told.

use std::collections::HashSet;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use loom::thread;

use super::pool::PoolCore;
use super::{IoBuf, PoolBuf};
use crate::config::PoolConfig;

/// Explores with at most this many preemptions.
fn model(preemptions: usize, run: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(run);
}

/// The worker's wait.
struct Sleeper(loom::sync::Notify);

impl Wake for Sleeper {
    fn wake(self: Arc<Self>) {
        self.0.notify();
    }
}

/// The pool of a worker that waits as a worker does.
struct Home {
    pool: Rc<PoolCore>,
    sleeper: Arc<Sleeper>,
}

impl Home {
    fn new(buffers: usize) -> Self {
        let sleeper = Arc::new(Sleeper(loom::sync::Notify::new()));
        let kick = Waker::from(Arc::clone(&sleeper));
        let pool = PoolCore::new(PoolConfig::new(buffers, 4096), kick, |_, _| None).unwrap();
        Self {
            pool: Rc::new(pool),
            sleeper,
        }
    }

    /// Waits for a buffer; a kick that is lost is a deadlock, which loom reports.
    fn get(&self) -> PoolBuf {
        let woken = Arc::new(Sleeper(loom::sync::Notify::new()));
        let waker = Waker::from(woken);
        let mut get = pin!(self.pool.get());
        loop {
            if let Poll::Ready(buf) = get.as_mut().poll(&mut Context::from_waker(&waker)) {
                return buf;
            }
            if !self.pool.has_news() {
                self.sleeper.0.wait();
            }
            self.pool.take_home();
        }
    }
}

#[test]
fn loom_a_buffer_that_comes_home_ends_the_wait_for_one() {
    model(3, || {
        let home = Home::new(1);
        let buf = home.get();
        let dropping = thread::spawn(move || drop(buf));
        drop(home.get());
        dropping.join().unwrap();
    });
}

#[test]
fn loom_buffers_that_come_home_at_once_are_each_lent_once() {
    model(2, || {
        let home = Home::new(3);
        let mut bufs: Vec<_> = (0..3).map(|_| home.get()).collect();
        let (one, two) = (bufs.pop().unwrap(), bufs.pop().unwrap());
        let dropping = [one, two].map(|buf| thread::spawn(move || drop(buf)));
        bufs.push(home.get());
        bufs.push(home.get());
        let addresses: HashSet<_> = bufs.iter().map(|buf| buf.stable_ptr().addr()).collect();
        assert_eq!(addresses.len(), 3);
        for thread in dropping {
            thread.join().unwrap();
        }
        assert!(home.pool.try_get().is_none());
    });
}
