//! A plan that is warm and an order that has grown allocate nothing.
#![allow(unsafe_code, reason = "an allocator is an unsafe trait")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use blobio::plan::{Limits, Plan, Want, plan};
use blobio::queue::order::{Admit, Class, Order, Policy};

struct Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator as it came; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promises are those that are asked here.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are those that are asked here.
        unsafe { System.dealloc(start, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_warm_plan_allocates_nothing() {
    let limits = Limits::default();
    let mut out = Plan::new();
    let mut make = |seed: u64| {
        let wants = (0..1000_u32).map(|id| {
            let pos = u64::from(id) * 7919 * seed % (1 << 24);
            Want::new(id, pos, (id as usize % 50) * 1000).unwrap()
        });
        plan(wants, &limits, true, &mut out);
        assert!(out.totals().wants_merged > 0);
    };
    (1..50).for_each(&mut make);
    let before = COUNT.with(Cell::get);
    (1..50).for_each(&mut make);
    assert_eq!(COUNT.with(Cell::get) - before, 0);
}

#[test]
fn an_order_that_has_grown_allocates_nothing() {
    let mut order = Order::new(Policy::default()).unwrap();
    let mut fill_and_drain = |now: u64| {
        for value in 0..2000_u32 {
            let class = Class::ALL[value as usize % Class::COUNT];
            let deadline = value.is_multiple_of(3).then_some(now + u64::from(value));
            let key = order.push(value, class, 4096, deadline, now).unwrap();
            if value.is_multiple_of(5) {
                order.set_class(key, Class::High, now);
                order.set_deadline(key, Some(now));
            }
        }
        while order.pop(now, |_, _| Admit::Take).is_some() {}
    };
    fill_and_drain(0);
    let before = COUNT.with(Cell::get);
    fill_and_drain(1_000_000_000);
    assert_eq!(COUNT.with(Cell::get) - before, 0);
}
