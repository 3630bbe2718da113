//! A counted limit shared by tasks of one core.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::lock::Lock;
use super::permits::{HasPermits, Permits, abandon, poll_look, put_and_wake};

/// A number of permits that tasks of one core take in turn; clones share them.
///
/// # Examples
///
/// ```
/// # futures_executor::block_on(async {
/// let reads = corelane::sync::Semaphore::new(2);
/// let permit = reads.acquire(2).await;
/// assert!(reads.try_acquire(1).is_none());
/// drop(permit);
/// assert_eq!(reads.available(), 2);
/// # });
/// ```
#[derive(Debug, Clone)]
pub struct Semaphore {
    permits: Rc<RefCell<Permits>>,
}

/// Waits for permits: the future of [`Semaphore::acquire`].
///
/// # Cancel safety
///
/// Dropping it takes no permits: those it was given and did not use go to the next in the queue.
/// Its place in the queue is lost.
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct Acquire {
    permits: Rc<RefCell<Permits>>,
    need: usize,
    /// The entry among the waiters, from the first `Pending` on.
    key: Option<usize>,
}

/// Permits taken; dropping it gives them back.
#[derive(Debug)]
#[must_use = "dropping it gives the permits back"]
pub struct Permit {
    permits: Rc<RefCell<Permits>>,
    count: usize,
}

impl Semaphore {
    /// Makes one with `count` permits.
    #[must_use]
    pub fn new(count: usize) -> Self {
        Self {
            permits: Rc::new(RefCell::new(Permits::new(count))),
        }
    }

    /// Takes `count` permits, once every earlier caller has theirs.
    ///
    /// Waits for as long as there are fewer, and all later callers with it: asking for more than
    /// there will ever be stops them all until the future is dropped.
    pub fn acquire(&self, count: usize) -> Acquire {
        Acquire {
            permits: Rc::clone(&self.permits),
            need: count,
            key: None,
        }
    }

    /// Takes `count` permits if they are there and nobody waits.
    #[must_use = "dropping it gives the permits back"]
    pub fn try_acquire(&self, count: usize) -> Option<Permit> {
        let taken = self.permits.with(|permits| permits.try_acquire(count));
        taken.then(|| Permit {
            permits: Rc::clone(&self.permits),
            count,
        })
    }

    /// Adds permits.
    ///
    /// # Panics
    ///
    /// Panics when there would be more than `usize::MAX`.
    pub fn add_permits(&self, count: usize) {
        put_and_wake(&*self.permits, count);
    }

    /// Returns how many permits are not taken.
    #[must_use]
    pub fn available(&self) -> usize {
        self.permits.with(|permits| permits.available())
    }
}

impl Permit {
    /// Returns how many permits this is.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Keeps the permits from ever coming back.
    pub fn forget(mut self) {
        self.count = 0;
    }
}

impl Future for Acquire {
    type Output = Permit;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Permit> {
        let this = self.get_mut();
        let (key, need) = (&mut this.key, this.need);
        let taken = poll_look(
            &*this.permits,
            context,
            |permits: &mut Permits, waker, spare| (permits.look(key, need, waker, spare), ()),
        );
        taken.map(|()| Permit {
            permits: Rc::clone(&this.permits),
            count: need,
        })
    }
}

impl Drop for Acquire {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            abandon(&*self.permits, key, self.need);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.count > 0 {
            put_and_wake(&*self.permits, self.count);
        }
    }
}

impl HasPermits for Permits {
    fn permits(&mut self) -> &mut Permits {
        self
    }
}
