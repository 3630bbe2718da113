//! Who waits for a buffer, of a pool or of a ring: all are woken when some come, and try again.

use std::cell::{Cell, RefCell};
use std::task::Waker;

use slab::Slab;

use crate::guard::guarded_each;

/// The wakers of those who wait: one of each, taken back when it waits no more.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    wakers: RefCell<Slab<Waker>>,
    /// How often all were woken, ever.
    round: Cell<u64>,
}

/// Where the waker of one who waits is: the round in which it was left, and its key. It is there no
/// more in another round.
#[derive(Debug, Default)]
pub(crate) struct Place(Option<(u64, usize)>);

impl Waiting {
    /// Leaves a waker, in exchange for the one that was left before.
    pub(crate) fn wait(&self, place: &mut Place, waker: &Waker) {
        let known = |key: usize| self.wakers.borrow()[key].will_wake(waker);
        if self.key(place).is_some_and(known) {
            return;
        }
        // Outside of the borrow, as it is the user's code, and so is the drop.
        let waker = waker.clone();
        let former = match self.key(place) {
            Some(key) => Some(std::mem::replace(&mut self.wakers.borrow_mut()[key], waker)),
            None => {
                let key = self.wakers.borrow_mut().insert(waker);
                place.0 = Some((self.round.get(), key));
                None
            }
        };
        drop(former);
    }

    /// Takes the waker back.
    pub(crate) fn leave(&self, place: &mut Place) {
        let key = self.key(place);
        place.0 = None;
        let waker = key.map(|key| self.wakers.borrow_mut().remove(key));
        drop(waker);
    }

    /// Wakes all, also those behind one that panics.
    pub(crate) fn wake_all(&self) {
        let wakers = self.wakers.take();
        self.round.set(self.round.get() + 1);
        guarded_each(wakers.into_iter(), |(_, waker)| waker.wake());
    }

    fn key(&self, place: &Place) -> Option<usize> {
        let (round, key) = place.0?;
        (round == self.round.get()).then_some(key)
    }
}

#[cfg(all(test, not(corelane_loom)))]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn each_has_one_waker_there_and_takes_it_back() {
        let waiting = Waiting::default();
        let counts = [(); 3].map(|()| Arc::new(Count::default()));
        let wakers = counts.clone().map(Waker::from);
        let mut places = [(); 3].map(|()| Place::default());
        for waker in &wakers {
            for place in &mut places[..2] {
                waiting.wait(place, waker);
                waiting.wait(place, waker);
            }
        }
        assert_eq!(waiting.wakers.borrow().len(), 2);
        assert_eq!(Arc::strong_count(&counts[0]), 2);
        waiting.leave(&mut places[0]);
        waiting.leave(&mut places[0]);
        waiting.wait(&mut places[2], &wakers[0]);
        waiting.wake_all();
        waiting.wake_all();
        let woken = counts
            .each_ref()
            .map(|count| count.0.load(Ordering::Relaxed));
        assert_eq!(woken, [1, 0, 1]);
        // A place of another round is not taken for one of this.
        waiting.wait(&mut places[0], &wakers[1]);
        waiting.leave(&mut places[1]);
        waiting.leave(&mut places[2]);
        assert_eq!(waiting.wakers.borrow().len(), 1);
        waiting.wait(&mut places[1], &wakers[2]);
        waiting.wake_all();
        let woken = counts
            .each_ref()
            .map(|count| count.0.load(Ordering::Relaxed));
        assert_eq!(woken, [1, 1, 2]);
    }
}
