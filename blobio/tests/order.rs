//! What goes first, case by case.

use blobio::queue::order::{Admit, Class, Full, Key, Order, Policy, PolicyError, Reason};
use blobio::queue::order::{Popped, WEIGHT_MAX};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const MS: u64 = 1_000_000;

fn order() -> Order<u32> {
    Order::new(Policy::default()).unwrap()
}

fn push(order: &mut Order<u32>, value: u32, class: Class, deadline_ns: Option<u64>) -> Key {
    order.push(value, class, 4 * KIB, deadline_ns, 0).unwrap()
}

fn pop(order: &mut Order<u32>, now_ns: u64) -> Option<Popped<u32>> {
    order.pop(now_ns, |_, _| Admit::Take)
}

fn drain(order: &mut Order<u32>, now_ns: u64) -> Vec<u32> {
    std::iter::from_fn(|| pop(order, now_ns))
        .map(|popped| popped.value)
        .collect()
}

#[test]
fn first_come_first_served_within_a_class() {
    let mut order = order();
    for value in 0..100 {
        push(&mut order, value, Class::Normal, None);
    }
    assert_eq!(order.len(), 100);
    assert!(drain(&mut order, 0).into_iter().eq(0..100));
    assert!(order.is_empty());
}

#[test]
fn what_comes_again_goes_before_what_came_later() {
    let mut order = order();
    for value in 2..5 {
        push(&mut order, value, Class::Normal, None);
    }
    for value in 0..2 {
        let pushed = order.push_again(value, Class::Normal, 4096, None, 0);
        pushed.unwrap();
    }
    assert_eq!(drain(&mut order, 0), [0, 1, 2, 3, 4]);
}

#[test]
fn neighbouring_classes_are_ten_times_apart() {
    let mut order = order();
    for class in Class::ALL {
        for _ in 0..4000 {
            push(&mut order, 0, class, None);
        }
    }
    let mut taken = [0; Class::COUNT];
    for _ in 0..1111 * 3 {
        taken[pop(&mut order, 0).unwrap().class.index()] += 1;
    }
    assert_eq!(taken, [3000, 300, 30, 3]);
}

#[test]
fn what_comes_to_an_empty_class_does_not_wait_for_a_backlog() {
    let mut order = order();
    for _ in 0..100 {
        order.push(0, Class::Low, MIB, None, 0).unwrap();
    }
    for _ in 0..50 {
        assert_eq!(pop(&mut order, 0).unwrap().class, Class::Low);
    }
    push(&mut order, 1, Class::High, None);
    push(&mut order, 2, Class::Normal, None);
    let next = [pop(&mut order, 0), pop(&mut order, 0)];
    assert_eq!(next.map(|popped| popped.unwrap().value), [1, 2]);
}

#[test]
fn a_class_that_was_idle_has_saved_up_nothing() {
    let mut order = order();
    for _ in 0..5000 {
        push(&mut order, 0, Class::High, None);
    }
    for _ in 0..2000 {
        pop(&mut order, 0).unwrap();
    }
    for _ in 0..100 {
        push(&mut order, 1, Class::Normal, None);
    }
    let normal = (0..110).filter(|_| pop(&mut order, 0).unwrap().class == Class::Normal);
    assert_eq!(normal.count(), 10);
}

#[test]
fn a_class_that_requests_move_to_has_saved_up_nothing() {
    let mut order = order();
    for _ in 0..5000 {
        push(&mut order, 0, Class::High, None);
    }
    for _ in 0..2000 {
        pop(&mut order, 0).unwrap();
    }
    let keys: Vec<_> = (0..100)
        .map(|_| push(&mut order, 1, Class::High, None))
        .collect();
    for key in keys {
        order.set_class(key, Class::Normal, 0);
    }
    let normal: u32 = (0..110).map(|_| pop(&mut order, 0).unwrap().value).sum();
    assert_eq!(normal, 10);
}

#[test]
fn nobody_is_behind_after_an_idle_time() {
    let mut order = order();
    order.push(0, Class::Low, 100 * MIB, None, 0).unwrap();
    pop(&mut order, 0).unwrap();
    for _ in 0..100 {
        push(&mut order, 0, Class::High, None);
    }
    push(&mut order, 1, Class::Low, None);
    let next = [pop(&mut order, 0), pop(&mut order, 0)];
    assert_eq!(next.map(|popped| popped.unwrap().value), [0, 1]);
}

#[test]
fn a_near_deadline_goes_first_the_earliest_of_all() {
    let mut order = order();
    push(&mut order, 0, Class::Realtime, None);
    push(&mut order, 1, Class::Low, Some(14 * MS));
    push(&mut order, 2, Class::Normal, Some(12 * MS));
    push(&mut order, 3, Class::Low, Some(12 * MS));
    push(&mut order, 4, Class::Low, Some(12 * MS));
    push(&mut order, 5, Class::Low, Some(15 * MS + 1));
    let popped: Vec<_> = std::iter::from_fn(|| pop(&mut order, 10 * MS)).collect();
    let values: Vec<_> = popped.iter().map(|popped| popped.value).collect();
    assert_eq!(values, [2, 3, 4, 1, 0, 5]);
    assert_eq!(popped[3].reason, Reason::Deadline);
    assert_eq!(popped[3].deadline_ns, Some(14 * MS));
    assert_eq!(
        popped[5].reason,
        Reason::Share,
        "15 ms + 1 is beyond the slack"
    );
    assert_eq!(popped[5].waited_ns, 10 * MS);
}

#[test]
fn a_flood_of_deadlines_leaves_an_eighth_to_others() {
    let mut order = order();
    for _ in 0..1000 {
        order.push(0, Class::Low, MIB, Some(0), 0).unwrap();
        order.push(1, Class::High, MIB, None, 0).unwrap();
    }
    let mut values = (0..8 + 80).map(|_| pop(&mut order, 0).unwrap().value);
    assert_eq!(
        values.by_ref().take(8).sum::<u32>(),
        0,
        "the burst is 8 MiB"
    );
    assert_eq!(values.sum::<u32>(), 10);
}

#[test]
fn a_class_pays_for_its_deadlines_up_to_the_burst() {
    let policy = Policy {
        weights: [1; Class::COUNT],
        ..Policy::default()
    };
    let mut order = Order::new(policy).unwrap();
    for round in 0..100 {
        let deadline_ns = (round < 50).then_some(0);
        order.push(0, Class::High, MIB, deadline_ns, 0).unwrap();
        order.push(1, Class::Normal, MIB, None, 0).unwrap();
    }
    let values = std::iter::from_fn(|| pop(&mut order, 0)).skip_while(|popped| {
        popped.deadline_ns.is_some() || popped.reason == Reason::Deadline || popped.value == 1
    });
    let after: Vec<_> = values.map(|popped| popped.value).collect();
    // The deadlines of High took 42 MiB more than its share; 8 MiB were held against it.
    assert!(after.len() > 130, "{} were left", after.len());
    assert_eq!(after[..4], [0, 1, 0, 1]);
}

#[test]
fn a_deadline_can_come_nearer_go_away_and_be_put_off() {
    let mut order = order();
    let deadlines = [10, 20, 30, 40, 50, 60, 70];
    let keys: Vec<_> = (0..)
        .zip(deadlines)
        .map(|(value, deadline_ns)| push(&mut order, value, Class::Low, Some(deadline_ns)))
        .collect();
    assert!(order.set_deadline(keys[0], Some(65)));
    assert!(order.set_deadline(keys[5], Some(25)));
    assert!(order.set_deadline(keys[1], None));
    assert_eq!(order.remove(keys[3]), Some(3));
    let late = push(&mut order, 7, Class::Low, None);
    assert!(order.set_deadline(late, Some(45)));
    assert_eq!(drain(&mut order, 0), [5, 2, 7, 4, 0, 6, 1]);
}

#[test]
fn deadlines_are_not_held_back_for_what_may_not_go() {
    let mut order = order();
    order.push(0, Class::Low, 2 * MIB, None, 0).unwrap();
    for value in 1..=100 {
        let deadline_ns = Some(100 - u64::from(value));
        order.push(value, Class::Low, MIB, deadline_ns, 0).unwrap();
    }
    // The line of Low cannot move, so its deadlines go on when the burst is over.
    let popped = std::iter::from_fn(|| {
        order.pop(0, |_, bytes| match bytes {
            MIB => Admit::Take,
            _ => Admit::ClassFull,
        })
    });
    let values: Vec<_> = popped.map(|popped| popped.value).collect();
    assert!(values.into_iter().eq((1..=100).rev()));
    // Nor are they to be made up for: one turn, and deadlines go ahead again.
    order.push(101, Class::High, 2 * MIB, None, 0).unwrap();
    order.push(102, Class::Low, MIB, Some(0), 0).unwrap();
    assert_eq!(drain(&mut order, 0), [101, 102, 0]);
}

fn only(wanted: Class, class: Class) -> Admit {
    if class == wanted {
        Admit::Take
    } else {
        Admit::ClassFull
    }
}

#[test]
fn a_full_class_holds_up_nobody_and_saves_up_nothing() {
    let mut order = order();
    for _ in 0..1000 {
        push(&mut order, 0, Class::High, None);
        push(&mut order, 1, Class::Normal, None);
    }
    for _ in 0..500 {
        let popped = order.pop(0, |class, _| only(Class::Normal, class));
        assert_eq!(popped.unwrap().value, 1);
    }
    let normal: u32 = (0..110).map(|_| pop(&mut order, 0).unwrap().value).sum();
    assert!((9..=11).contains(&normal), "{normal} of 110");
    assert_eq!(order.pop(0, |_, _| Admit::ClassFull), None);
}

#[test]
fn nothing_overtakes_what_waits_for_room() {
    let mut order = order();
    order.push(0, Class::High, 100 * MIB, None, 0).unwrap();
    push(&mut order, 1, Class::Low, None);
    let room = |room: u64| {
        move |_: Class, bytes: u64| match bytes <= room {
            true => Admit::Take,
            false => Admit::Full,
        }
    };
    assert_eq!(order.pop(0, room(MIB)), None);
    assert_eq!(order.pop(0, room(100 * MIB)).unwrap().value, 0);
    assert_eq!(order.pop(0, room(MIB)).unwrap().value, 1);
}

#[test]
fn what_has_waited_long_has_a_share_of_its_own() {
    // At 1 to 65,536, one request of Low has to wait for 256 MiB; with aging, for much less.
    let ahead_of_low = |age_after_ns| {
        let policy = Policy {
            weights: [WEIGHT_MAX, 1, 1, 1],
            aged_weight: WEIGHT_MAX / 8,
            age_after_ns,
            ..Policy::default()
        };
        let mut order = Order::new(policy).unwrap();
        for now in 0..2 {
            order.push(now, Class::Low, 4 * KIB, None, 0).unwrap();
        }
        let mut ahead = 0;
        for now_ns in 0.. {
            order
                .push(9, Class::Realtime, 4 * KIB, None, now_ns)
                .unwrap();
            let popped = pop(&mut order, now_ns).unwrap();
            if popped.value == 1 {
                return (ahead, popped.reason, policy);
            }
            ahead += popped.bytes;
        }
        unreachable!("it goes at some time")
    };
    let (ahead, reason, policy) = ahead_of_low(100);
    let since = 100 * 4 * KIB;
    assert!(
        u128::from(ahead - since) <= policy.ahead_max(8 * KIB, 4 * KIB),
        "{ahead}"
    );
    assert_eq!(reason, Reason::Age);
    let (without, reason, _) = ahead_of_low(u64::MAX);
    assert_eq!(reason, Reason::Share);
    assert!(without > 100 * ahead, "{without} against {ahead}");
}

#[test]
fn a_request_ages_to_the_nanosecond() {
    let age_after_ns = Policy::default().age_after_ns;
    for (now_ns, reason) in [
        (age_after_ns, Reason::Age),
        (age_after_ns - 1, Reason::Share),
    ] {
        let mut order = order();
        push(&mut order, 0, Class::Low, None);
        push(&mut order, 1, Class::Low, None);
        let low = [pop(&mut order, now_ns - 1), pop(&mut order, now_ns)];
        let [first, second] = low.map(|popped| popped.unwrap().reason);
        assert_eq!((first, second), (Reason::Share, reason));
    }
}

#[test]
fn the_aged_have_saved_up_nothing_while_there_were_none() {
    let mut order = order();
    for _ in 0..20_000 {
        push(&mut order, 0, Class::High, None);
        pop(&mut order, 0).unwrap();
        push(&mut order, 0, Class::High, None);
    }
    let now_ns = Policy::default().age_after_ns;
    for _ in 0..200 {
        order
            .push(0, Class::Realtime, 4 * KIB, None, now_ns)
            .unwrap();
    }
    let popped = (0..100).map(|_| pop(&mut order, now_ns).unwrap());
    let aged = popped.filter(|popped| popped.reason == Reason::Age).count();
    assert!((5..=9).contains(&aged), "{aged} of 100, for 74 of 1,174");
}

#[test]
fn a_request_moves_behind_its_new_class_and_waits_anew() {
    let mut order = order();
    let moved = push(&mut order, 0, Class::Low, Some(u64::MAX));
    push(&mut order, 1, Class::High, None);
    assert!(order.set_class(moved, Class::High, 7 * MS));
    assert_eq!(pop(&mut order, 8 * MS).unwrap().value, 1);
    let popped = pop(&mut order, 8 * MS).unwrap();
    assert_eq!((popped.key, popped.class), (moved, Class::High));
    assert_eq!(popped.waited_ns, MS);
    assert_eq!(
        popped.deadline_ns,
        Some(u64::MAX),
        "the deadline moves with it"
    );
    assert!(!order.set_class(moved, Class::Low, 0), "it has left");
}

#[test]
fn a_request_that_gets_the_class_it_has_keeps_its_place() {
    let mut order = order();
    let first = push(&mut order, 0, Class::High, None);
    push(&mut order, 1, Class::High, None);
    assert!(order.set_class(first, Class::High, 9 * MS));
    assert_eq!(pop(&mut order, 9 * MS).unwrap().waited_ns, 9 * MS);
    assert_eq!(drain(&mut order, 9 * MS), [1]);
}

#[test]
fn a_key_never_finds_the_next_user_of_its_slot() {
    let mut order = order();
    let old = push(&mut order, 0, Class::Low, None);
    assert_eq!(order.get(old), Some(&0));
    assert_eq!(order.remove(old), Some(0));
    let new = push(&mut order, 1, Class::Low, None);
    assert_ne!(old, new);
    assert_eq!(order.get(old), None);
    assert_eq!(order.remove(old), None);
    assert!(!order.set_deadline(old, Some(0)) && !order.set_class(old, Class::High, 0));
    assert_eq!(order.get(new), Some(&1));
    assert!(!order.release_memory(), "something is queued");
    assert_eq!(order.remove(new), Some(1));
    assert!(order.release_memory());
    assert_eq!(order.memory_len(), 0);
    assert_eq!(order.get(new), None, "its slot is gone");
    push(&mut order, 2, Class::Low, Some(0));
    assert_eq!(order.get(new), None);
}

#[test]
fn requests_of_no_bytes_are_not_free() {
    let mut order = order();
    for _ in 0..1000 {
        order.push(0, Class::High, 0, None, 0).unwrap();
        order.push(1, Class::Normal, 4 * KIB, None, 0).unwrap();
    }
    let normal: u32 = (0..110).map(|_| pop(&mut order, 0).unwrap().value).sum();
    assert_eq!(normal, 10);
}

#[test]
fn the_largest_numbers_do_no_harm() {
    let mut order = order();
    for value in 0..200 {
        let class = Class::ALL[value as usize % Class::COUNT];
        order
            .push(value, class, u64::MAX, Some(u64::MAX), u64::MAX)
            .unwrap();
    }
    assert_eq!(drain(&mut order, u64::MAX).len(), 200);
    push(&mut order, 0, Class::Low, None);
    assert_eq!(
        order.push(1, Class::Low, 1, None, u64::MAX).map(|_| ()),
        Ok(())
    );
    assert_eq!(
        drain(&mut order, 0),
        [0, 1],
        "a clock that goes back is no harm either"
    );
}

#[test]
fn a_full_order_gives_the_request_back() {
    let policy = Policy {
        len_max: 2,
        ..Policy::default()
    };
    let mut order = Order::new(policy).unwrap();
    order.push('a', Class::Low, 1, None, 0).unwrap();
    let key = order.push('b', Class::Low, 1, None, 0).unwrap();
    assert_eq!(order.push('c', Class::High, 1, None, 0), Err(Full('c')));
    order.remove(key);
    assert!(order.push('c', Class::High, 1, None, 0).is_ok());
}

#[test]
fn a_policy_that_would_stop_something_is_refused() {
    let refused = |policy: Policy| Order::<u32>::new(policy).map(|_| ()).unwrap_err();
    let good = Policy::default();
    let weights = [1000, 100, 0, 1];
    let error = refused(Policy { weights, ..good });
    assert_eq!(error, PolicyError::Weight(0));
    assert_eq!(error.to_string(), "a weight of 0: it is 1 to 65536");
    let aged_weight = WEIGHT_MAX + 1;
    assert_eq!(
        refused(Policy {
            aged_weight,
            ..good
        }),
        PolicyError::Weight(aged_weight)
    );
    assert_eq!(
        refused(Policy {
            urgent_ratio: 0,
            ..good
        }),
        PolicyError::UrgentRatio
    );
    assert_eq!(
        refused(Policy {
            cost_min: 0,
            ..good
        }),
        PolicyError::CostMin
    );
    assert_eq!(refused(Policy { len_max: 0, ..good }), PolicyError::LenMax);
}

#[test]
fn a_million_requests_take_what_the_records_say() {
    const COUNT: u32 = 1_000_000;
    const RECORD_LEN: usize = Order::<u32>::RECORD_LEN;
    const DEADLINE_LEN: usize = Order::<u32>::DEADLINE_LEN;
    const { assert!(RECORD_LEN <= 48 && DEADLINE_LEN <= 16) };
    let mut order = order();
    for value in 0..COUNT {
        let class = Class::ALL[value as usize % Class::COUNT];
        let deadline_ns = u64::from(value.wrapping_mul(0x9e37_79b9));
        let deadline_ns = value.is_multiple_of(10).then_some(deadline_ns);
        push(&mut order, value, class, deadline_ns);
    }
    let records = COUNT as usize * RECORD_LEN + COUNT as usize / 10 * DEADLINE_LEN;
    let held = order.memory_len();
    assert!(
        (records..=2 * records + 64 * DEADLINE_LEN).contains(&held),
        "{held}"
    );
    let mut left = 0;
    order.remove_if(|value| value % 20 != 0, |_, _| left += 1);
    assert_eq!((left, order.len()), (950_000, 50_000));
    assert_eq!(drain(&mut order, u64::MAX).len(), 50_000);
}
