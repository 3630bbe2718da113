//! Which queued request is next: shares by class, deadlines ahead of them, and nobody forgotten.
//!
//! A pure policy: it reads no clock, wakes nobody and knows no I/O. Four rules, each with a bound:
//!
//! 1. *First come, first served* within a class. What was taken but could not go
//!    [comes again](Order::push_again) ahead of what came later.
//! 2. *Shares.* Classes that have requests waiting divide the bytes by [`Policy::weights`]. Over
//!    any time in which two of them wait and may go, what their turns took of the two, in bytes
//!    by weight, differs by no more than the largest request of each by its weight.
//! 3. *Deadlines.* A request whose deadline is no further than [`Policy::slack_ns`] goes ahead of
//!    the shares, the earliest first; its class pays for it. After [`Policy::urgent_burst`] bytes,
//!    one byte in `urgent_ratio + 1` goes by the shares all the same.
//! 4. *Aging.* What has waited [`Policy::age_after_ns`] shares as a line of its own, the oldest
//!    first. [`Policy::ahead_max`] says how many bytes can still go ahead of it.
//!
//! A request is taken when [`Admit::Take`] is the answer for it. A class at its own limit does not
//! hold up the others and does not save up its share; [`Admit::Full`] ends the search, so that
//! small requests do not slip past a large one for ever.
//!
//! Everything but [`Order::remove_if`] is O(1), and O(log n) where deadlines are involved.
//!
//! ```
//! use blobio::queue::order::{Admit, Class, Order, Policy};
//!
//! let mut order = Order::new(Policy::default())?;
//! let now = 0;
//! order.push("later", Class::Low, 4096, None, now).expect("there is room");
//! let key = order.push("soon", Class::Low, 4096, None, now).expect("there is room");
//! order.set_class(key, Class::High, now);
//!
//! let popped = order.pop(now, |_class, _bytes| Admit::Take).expect("two are queued");
//! assert_eq!(popped.value, "soon");
//! # Ok::<(), blobio::queue::order::PolicyError>(())
//! ```

mod class;
mod deadlines;
mod policy;
mod shares;
mod slots;
mod take;

use std::fmt;
use std::num::NonZeroU64;

pub use class::Class;
pub use policy::{Policy, PolicyError, WEIGHT_MAX};

use deadlines::{Deadlines, Due};
use shares::{AGED, Shares};
use slots::{Slot, Slots};

/// Names one queued request; finds nothing once the request has left, for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    slot: u32,
    serial: NonZeroU64,
}

/// What the limits say of a request that could be next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admit {
    /// It may go.
    Take,
    /// Its class has no room; others may go.
    ClassFull,
    /// There is no room for it, and nothing else may overtake it.
    Full,
}

/// Why a request was next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Its class had its turn.
    Share,
    /// Its deadline was near or past.
    Deadline,
    /// It was the oldest of those that had waited long.
    Age,
}

/// A request that was next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Popped<T> {
    /// What it was pushed with; the key finds it no more.
    pub key: Key,
    /// What it was pushed with.
    pub value: T,
    /// The class it had at the end.
    pub class: Class,
    /// The bytes it was pushed with.
    pub bytes: u64,
    /// How long it was in the line of its last class, in nanoseconds.
    pub waited_ns: u64,
    /// The deadline it had at the end.
    pub deadline_ns: Option<u64>,
    /// Why it was next.
    pub reason: Reason,
}

/// The order is full: the request comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full<T>(pub T);

impl<T> fmt::Display for Full<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("as many requests are queued as the policy allows")
    }
}

impl<T: fmt::Debug> std::error::Error for Full<T> {}

/// Queued requests in the order in which they go. `T` is what the caller knows one by.
///
/// Each takes [`RECORD_LEN`](Self::RECORD_LEN) bytes, and [`DEADLINE_LEN`](Self::DEADLINE_LEN)
/// more with a deadline; memory grows by doubling and is kept until
/// [`release_memory`](Self::release_memory).
pub struct Order<T> {
    policy: Policy,
    slots: Slots<T>,
    deadlines: [Deadlines; Class::COUNT],
    shares: Shares,
    /// Bytes that went ahead because of deadlines and are not yet made up for.
    urgent_debt: u64,
    /// Whether something aged was waiting at the last pop.
    aging: bool,
}

impl<T> Order<T> {
    /// What a queued request takes, in bytes.
    pub const RECORD_LEN: usize = size_of::<Slot<T>>();

    /// What its deadline takes, in bytes.
    pub const DEADLINE_LEN: usize = size_of::<Due>();

    /// Makes an empty order.
    ///
    /// # Errors
    ///
    /// Fails on a weight out of range and on a zero that would stop something for ever.
    pub fn new(policy: Policy) -> Result<Self, PolicyError> {
        policy.check()?;
        Ok(Self {
            policy,
            slots: Slots::new(),
            deadlines: Default::default(),
            shares: Shares::new(&policy),
            urgent_debt: 0,
            aging: false,
        })
    }

    /// Returns how many requests are queued.
    #[must_use]
    pub fn len(&self) -> usize {
        slots::at(self.slots.len())
    }

    /// Returns how many requests of a class are queued.
    #[must_use]
    pub fn len_of(&self, class: Class) -> usize {
        slots::at(self.slots.len_of(class))
    }

    /// Returns whether nothing is queued.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.len() == 0
    }

    /// Returns the bytes of memory held, most of which may be unused.
    #[must_use]
    pub fn memory_len(&self) -> usize {
        let deadlines: usize = self.deadlines.iter().map(Deadlines::capacity).sum();
        self.slots.capacity() * Self::RECORD_LEN + deadlines * Self::DEADLINE_LEN
    }

    /// Gives memory that a flood has left behind back to the allocator, when nothing is queued.
    ///
    /// Returns whether it did. Keys of requests that have left still find nothing.
    pub fn release_memory(&mut self) -> bool {
        if !self.is_empty() {
            return false;
        }
        self.slots.release();
        self.deadlines.iter_mut().for_each(Deadlines::release);
        true
    }

    /// Queues a request behind those of its class. Times are on one clock of the caller's.
    ///
    /// # Errors
    ///
    /// Gives the value back when [`Policy::len_max`] are queued.
    ///
    /// # Panics
    ///
    /// Panics when memory runs out, as `Vec` does.
    #[inline(always)]
    pub fn push(
        &mut self,
        value: T,
        class: Class,
        bytes: u64,
        deadline_ns: Option<u64>,
        now_ns: u64,
    ) -> Result<Key, Full<T>> {
        if self.slots.len() >= self.policy.len_max.min(slots::NONE - 1) {
            return Err(Full(value));
        }
        self.begin(class);
        let key = self.slots.insert(value, class, bytes, now_ns);
        if deadline_ns.is_some() {
            self.deadlines[class.index()].set(&mut self.slots, key.slot, deadline_ns);
        }
        Ok(key)
    }

    /// Queues a request that was taken but could not go: ahead of those of its class, behind others
    /// that came again so. `since_ns` is when it came first. Its turn is charged once more.
    ///
    /// # Errors
    ///
    /// Gives the value back when [`Policy::len_max`] are queued.
    ///
    /// # Panics
    ///
    /// Panics when memory runs out, as `Vec` does.
    pub fn push_again(
        &mut self,
        value: T,
        class: Class,
        bytes: u64,
        deadline_ns: Option<u64>,
        since_ns: u64,
    ) -> Result<Key, Full<T>> {
        if self.slots.len() >= self.policy.len_max.min(slots::NONE - 1) {
            return Err(Full(value));
        }
        self.begin(class);
        let key = self.slots.insert_again(value, class, bytes, since_ns);
        self.deadlines[class.index()].set(&mut self.slots, key.slot, deadline_ns);
        Ok(key)
    }

    /// Takes the request that is next, of those that `admit` lets go.
    ///
    /// `admit` is told class and bytes. It is asked of no more than eight requests, in the order in
    /// which they would go, and must have no effect: only what is returned was taken.
    #[inline(always)]
    pub fn pop(
        &mut self,
        now_ns: u64,
        mut admit: impl FnMut(Class, u64) -> Admit,
    ) -> Option<Popped<T>> {
        match self.sole(now_ns) {
            Some(slot) => {
                let Slot { class, bytes, .. } = *self.slots.get(slot);
                let goes = admit(class, bytes) == Admit::Take;
                goes.then(|| self.take_sole(slot, now_ns))
            }
            None => self.pop_by_policy(now_ns, &mut admit),
        }
    }

    /// Takes the request that is next of several classes, or besides deadlines, or by age.
    fn pop_by_policy(
        &mut self,
        now_ns: u64,
        admit: &mut impl FnMut(Class, u64) -> Admit,
    ) -> Option<Popped<T>> {
        let indebted = self.urgent_debt >= self.policy.urgent_burst;
        if !indebted && let Some(slot) = self.urgent(now_ns, admit).ok()? {
            return Some(self.take_urgent(slot, now_ns, false));
        }
        if let Some((line, slot)) = self.in_turn(now_ns, admit).ok()? {
            return Some(self.take_in_turn(line, slot, now_ns));
        }
        if indebted {
            // Nothing else may go now: holding deadlines back would help nobody.
            let slot = self.urgent(now_ns, admit).ok()??;
            return Some(self.take_urgent(slot, now_ns, true));
        }
        None
    }

    /// Moves a request behind those of another class, where it begins to wait anew; its deadline
    /// stays. The class that it has already changes nothing.
    ///
    /// Returns whether the request is still queued.
    pub fn set_class(&mut self, key: Key, class: Class, now_ns: u64) -> bool {
        let Some(slot) = self.slots.find(key) else {
            return false;
        };
        let old = self.slots.get(slot).class;
        if old != class {
            self.begin(class);
            let deadline_ns = self.deadlines[old.index()].get(&self.slots, slot);
            self.deadlines[old.index()].set(&mut self.slots, slot, None);
            self.slots.move_to(slot, class, now_ns);
            self.deadlines[class.index()].set(&mut self.slots, slot, deadline_ns);
        }
        true
    }

    /// Gives a request another deadline, or none.
    ///
    /// Returns whether the request is still queued.
    pub fn set_deadline(&mut self, key: Key, deadline_ns: Option<u64>) -> bool {
        let Some(slot) = self.slots.find(key) else {
            return false;
        };
        let class = self.slots.get(slot).class.index();
        self.deadlines[class].set(&mut self.slots, slot, deadline_ns);
        true
    }

    /// Takes a request out; `None` when it has left already.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        let slot = self.slots.find(key)?;
        Some(self.take(slot))
    }

    /// Takes out all requests that `unwanted` picks and hands them to `removed`, line by line. O(n).
    ///
    /// Neither closure can reach the order. One that panics leaves it whole.
    pub fn remove_if(
        &mut self,
        mut unwanted: impl FnMut(&T) -> bool,
        mut removed: impl FnMut(Key, T),
    ) {
        for class in Class::ALL {
            let mut next = self.slots.head(class);
            while let Some(slot) = next {
                next = self.slots.next(slot);
                let value = self.slots.get(slot).value.as_ref();
                if value.is_some_and(&mut unwanted) {
                    let key = self.slots.key(slot);
                    let value = self.take(slot);
                    removed(key, value);
                }
            }
        }
    }

    /// Returns the value of a queued request.
    #[must_use]
    pub fn get(&self, key: Key) -> Option<&T> {
        let slot = self.slots.find(key)?;
        self.slots.get(slot).value.as_ref()
    }

    /// Finds the request that is next whatever the policy: all are of one class, none has a
    /// deadline, and none has aged.
    #[inline]
    fn sole(&self, now_ns: u64) -> Option<u32> {
        if self.aging || !self.deadlines.iter().all(Deadlines::is_empty) {
            return None;
        }
        let slot = self.slots.sole_head()?;
        (!self.is_aged(slot, now_ns)).then_some(slot)
    }

    /// Finds the request with the earliest deadline that is near; `Err` when all must wait.
    fn urgent(
        &self,
        now_ns: u64,
        admit: &mut impl FnMut(Class, u64) -> Admit,
    ) -> Result<Option<u32>, AllFull> {
        let horizon_ns = now_ns.saturating_add(self.policy.slack_ns);
        let mut due = Class::ALL.map(|class| {
            let first = self.deadlines[class.index()].first();
            first.filter(|due| due.deadline_ns <= horizon_ns)
        });
        if due.iter().all(Option::is_none) {
            return Ok(None);
        }
        // Stable: of equal deadlines the more important class is first.
        due.sort_by_key(|due| due.map_or(u64::MAX, |due| due.deadline_ns));
        for due in due.into_iter().flatten() {
            let slot = self.slots.get(due.slot);
            match admit(slot.class, slot.bytes) {
                Admit::Take => return Ok(Some(due.slot)),
                Admit::ClassFull => {}
                Admit::Full => return Err(AllFull),
            }
        }
        Ok(None)
    }

    /// Finds the request whose line has its turn, and the line; `Err` when all must wait.
    fn in_turn(
        &mut self,
        now_ns: u64,
        admit: &mut impl FnMut(Class, u64) -> Admit,
    ) -> Result<Option<(usize, u32)>, AllFull> {
        let heads = Class::ALL.map(|class| self.slots.head(class));
        let aged = self.aged(heads, now_ns);
        let mut waiting = std::array::from_fn(|line| match heads.get(line) {
            Some(head) => head.is_some(),
            None => self.aging,
        });
        let mut asked = [None; Class::COUNT];
        let mut held_back = [false; shares::LINES];
        let mut found = None;
        'lines: while let Some(line) = self.shares.least(&waiting) {
            waiting[line] = false;
            let candidates = match heads.get(line) {
                Some(&head) => [head, None, None, None],
                None => aged,
            };
            for slot in candidates.into_iter().flatten() {
                let head = self.slots.get(slot);
                let answer =
                    asked[head.class.index()].get_or_insert_with(|| admit(head.class, head.bytes));
                match answer {
                    Admit::Take => {
                        found = Some((line, slot));
                        break 'lines;
                    }
                    Admit::ClassFull => held_back[line] = true,
                    Admit::Full => return Err(AllFull),
                }
            }
        }
        if let Some((found, _)) = found {
            self.shares.serve(found);
            for line in (0..shares::LINES).filter(|&line| held_back[line]) {
                self.shares.begin(line);
            }
        }
        Ok(found)
    }

    /// The heads that have waited long, the oldest first. Tells the shares when the first comes.
    fn aged(&mut self, heads: [Option<u32>; 4], now_ns: u64) -> [Option<u32>; 4] {
        let queued = |&slot: &u32| self.slots.get(slot).queued_ns;
        let is_aged = |slot: &u32| self.is_aged(*slot, now_ns);
        let mut aged = heads.map(|head| head.filter(is_aged));
        let aging = aged != [None; Class::COUNT];
        if aging {
            aged.sort_by_key(|head| {
                head.map_or((u64::MAX, Some(NonZeroU64::MAX)), |slot| {
                    (queued(&slot), self.slots.get(slot).serial)
                })
            });
        }
        if aging && !self.aging {
            self.shares.begin(AGED);
        }
        self.aging = aging;
        aged
    }

    fn is_aged(&self, slot: u32, now_ns: u64) -> bool {
        let waited_ns = now_ns.saturating_sub(self.slots.get(slot).queued_ns);
        waited_ns >= self.policy.age_after_ns
    }

    /// Lets a line begin at the present pass when it has been empty.
    fn begin(&mut self, class: Class) {
        if self.slots.head(class).is_none() {
            self.shares.begin(class.index());
        }
    }
}

/// Nothing may be taken before something has ended.
struct AllFull;

impl<T> fmt::Debug for Order<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Order")
            .field("len", &self.len())
            .field("policy", &self.policy)
            .field("urgent_debt", &self.urgent_debt)
            .finish_non_exhaustive()
    }
}
