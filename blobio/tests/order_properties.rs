//! The order against a naive model, and the bounds that it states.

mod plan_cases;

use blobio::queue::order::{Admit, Class, Key, Order, Policy, Popped, Reason, WEIGHT_MAX};
use proptest::prelude::*;
use proptest::sample::select;

fn classes() -> impl Strategy<Value = Class> {
    select(Class::ALL.to_vec())
}

fn policies() -> impl Strategy<Value = Policy> {
    let weight = || prop_oneof![1_u32..2000, 1_u32..10, Just(WEIGHT_MAX)];
    let weights = [weight(), weight(), weight(), weight()];
    let times = (0_u64..100, 0_u64..100);
    let urgent = (0_u64..40_000, 1_u32..10);
    (weights, weight(), times, urgent, 1_u64..5000).prop_map(
        |(
            weights,
            aged_weight,
            (age_after_ns, slack_ns),
            (urgent_burst, urgent_ratio),
            cost_min,
        )| {
            Policy {
                weights,
                aged_weight,
                age_after_ns,
                slack_ns,
                urgent_burst,
                urgent_ratio,
                cost_min,
                len_max: 1 << 20,
            }
        },
    )
}

#[derive(Clone, Debug)]
enum Step {
    Push(Class, u64, Option<u64>),
    /// Something that has waited so long and could not go.
    PushAgain(Class, u64, Option<u64>, u64),
    /// Pop while the marked classes are full.
    Pop([bool; Class::COUNT]),
    SetClass(prop::sample::Index, Class),
    SetDeadline(prop::sample::Index, Option<u64>),
    Remove(prop::sample::Index),
    RemoveIf(u32),
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    // From now, and so seldom far: most are near or missed when they are popped.
    let deadline = || prop::option::of(0_u64..300);
    let full = || prop::bool::weighted(0.15);
    let index = any::<prop::sample::Index>;
    let step = prop_oneof![
        8 => (classes(), 0_u64..10_000, deadline()).prop_map(|(class, bytes, deadline)| {
            Step::Push(class, bytes, deadline)
        }),
        2 => (classes(), 0_u64..10_000, deadline(), 0_u64..100).prop_map(
            |(class, bytes, deadline, waited)| Step::PushAgain(class, bytes, deadline, waited),
        ),
        6 => [full(), full(), full(), full()].prop_map(Step::Pop),
        1 => (index(), classes()).prop_map(|(index, class)| Step::SetClass(index, class)),
        3 => (index(), deadline()).prop_map(|(index, at)| Step::SetDeadline(index, at)),
        1 => index().prop_map(Step::Remove),
        1 => (2_u32..9).prop_map(Step::RemoveIf),
        2 => (0_u64..60).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 1..200)
}

/// A queued request as the model knows it. The model's list is in the order of the lines.
#[derive(Clone, Debug)]
struct Entry {
    key: Key,
    value: u32,
    class: Class,
    bytes: u64,
    queued_ns: u64,
    deadline_ns: Option<u64>,
    /// It came again, ahead of its line.
    again: bool,
}

struct Model {
    order: Order<u32>,
    policy: Policy,
    entries: Vec<Entry>,
    gone: Vec<Key>,
    now_ns: u64,
    debt: u64,
    values: u32,
}

impl Model {
    fn new(policy: Policy) -> Self {
        Self {
            order: Order::new(policy).unwrap(),
            policy,
            entries: Vec::new(),
            gone: Vec::new(),
            now_ns: 0,
            debt: 0,
            values: 0,
        }
    }

    fn step(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Push(class, bytes, deadline) => self.push(class, bytes, deadline),
            Step::PushAgain(class, bytes, deadline, waited) => {
                self.push_again(class, bytes, deadline, waited);
            }
            Step::Pop(full) => self.pop(full)?,
            Step::SetClass(index, class) if !self.entries.is_empty() => {
                let at = index.index(self.entries.len());
                let Entry {
                    key, class: old, ..
                } = self.entries[at];
                prop_assert!(self.order.set_class(key, class, self.now_ns));
                if old != class {
                    let entry = self.entries.remove(at);
                    self.entries.push(Entry {
                        class,
                        queued_ns: self.now_ns,
                        again: false,
                        ..entry
                    });
                }
            }
            Step::SetDeadline(index, deadline) if !self.entries.is_empty() => {
                let entry = index.get_mut(&mut self.entries);
                entry.deadline_ns = deadline.map(|deadline| self.now_ns + deadline);
                prop_assert!(self.order.set_deadline(entry.key, entry.deadline_ns));
            }
            Step::Remove(index) if !self.entries.is_empty() => {
                let entry = self.entries.remove(index.index(self.entries.len()));
                prop_assert_eq!(self.order.remove(entry.key), Some(entry.value));
                self.gone.push(entry.key);
            }
            Step::RemoveIf(divisor) => self.remove_if(divisor)?,
            Step::Wait(ns) => self.now_ns += ns,
            Step::SetClass(..) | Step::SetDeadline(..) | Step::Remove(_) => {}
        }
        Ok(())
    }

    fn push(&mut self, class: Class, bytes: u64, deadline: Option<u64>) {
        let value = self.values;
        self.values += 1;
        let now_ns = self.now_ns;
        let deadline_ns = deadline.map(|deadline| now_ns + deadline);
        let pushed = self.order.push(value, class, bytes, deadline_ns, now_ns);
        self.entries.push(Entry {
            key: pushed.unwrap(),
            value,
            class,
            bytes,
            queued_ns: now_ns,
            deadline_ns,
            again: false,
        });
    }

    fn push_again(&mut self, class: Class, bytes: u64, deadline: Option<u64>, waited: u64) {
        let value = self.values;
        self.values += 1;
        let queued_ns = self.now_ns.saturating_sub(waited);
        let deadline_ns = deadline.map(|deadline| self.now_ns + deadline);
        let order = &mut self.order;
        let pushed = order.push_again(value, class, bytes, deadline_ns, queued_ns);
        let later = |entry: &Entry| entry.class == class && !entry.again;
        let at = self.entries.iter().position(later);
        let entry = Entry {
            key: pushed.unwrap(),
            value,
            class,
            bytes,
            queued_ns,
            deadline_ns,
            again: true,
        };
        self.entries.insert(at.unwrap_or(self.entries.len()), entry);
    }

    fn remove_if(&mut self, divisor: u32) -> Result<(), TestCaseError> {
        let mut removed = Vec::new();
        self.order.remove_if(
            |value| value.is_multiple_of(divisor),
            |key, value| removed.push((key, value)),
        );
        let unwanted = |entry: &mut Entry| entry.value.is_multiple_of(divisor);
        let mut expected: Vec<_> = self.entries.extract_if(.., unwanted).collect();
        expected.sort_by_key(|entry| entry.value);
        removed.sort_by_key(|(_, value)| *value);
        let expected = expected.iter().map(|entry| (entry.key, entry.value));
        prop_assert!(expected.eq(removed.iter().copied()));
        self.gone.extend(removed.iter().map(|(key, _)| *key));
        Ok(())
    }

    fn pop(&mut self, full: [bool; Class::COUNT]) -> Result<(), TestCaseError> {
        let mut asked = 0;
        let popped = self.order.pop(self.now_ns, |class, _| {
            asked += 1;
            match full[class.index()] {
                true => Admit::ClassFull,
                false => Admit::Take,
            }
        });
        prop_assert!(asked <= 8, "{asked} requests were asked about");
        let may_go = |entry: &&Entry| !full[entry.class.index()];
        let Some(popped) = popped else {
            prop_assert!(!self.entries.iter().any(|entry| may_go(&entry)));
            return Ok(());
        };
        let at = self
            .entries
            .iter()
            .position(|entry| entry.key == popped.key);
        let at = at.expect("what is popped was queued");
        let expected = self.expected(&popped, may_go);
        prop_assert_eq!(expected.map(|entry| entry.value), Some(popped.value));
        self.account(&popped);
        let entry = self.entries.remove(at);
        prop_assert_eq!((entry.value, entry.class), (popped.value, popped.class));
        prop_assert_eq!(
            (entry.bytes, entry.deadline_ns),
            (popped.bytes, popped.deadline_ns)
        );
        prop_assert_eq!(popped.waited_ns, self.now_ns - entry.queued_ns);
        self.gone.push(entry.key);
        Ok(())
    }

    /// What should have been popped for the reason that is given; `None` when the reason is wrong.
    fn expected(&self, popped: &Popped<u32>, may_go: impl Fn(&&Entry) -> bool) -> Option<&Entry> {
        let horizon_ns = self.now_ns + self.policy.slack_ns;
        let near = |entry: &&Entry| entry.deadline_ns.is_some_and(|at| at <= horizon_ns);
        // In order of arrival at the queue, which is that of the values.
        let urgent = self.entries.iter().filter(&may_go).filter(near);
        let urgent =
            urgent.min_by_key(|entry| (entry.deadline_ns, entry.class.index(), entry.value));
        let indebted = self.debt >= self.policy.urgent_burst;
        if let Some(urgent) = urgent.filter(|_| !indebted) {
            return (popped.reason == Reason::Deadline).then_some(urgent);
        }
        let heads = Class::ALL.map(|class| self.entries.iter().find(|entry| entry.class == class));
        let mut heads = heads.into_iter().flatten().filter(&may_go);
        match popped.reason {
            Reason::Deadline => urgent.filter(|_| heads.next().is_none()),
            Reason::Share => heads.find(|entry| entry.class == popped.class),
            Reason::Age => heads
                .filter(|entry| self.now_ns - entry.queued_ns >= self.policy.age_after_ns)
                .min_by_key(|entry| (entry.queued_ns, entry.value)),
        }
    }

    fn account(&mut self, popped: &Popped<u32>) {
        let cost = popped.bytes.max(self.policy.cost_min);
        match popped.reason {
            Reason::Deadline if self.debt >= self.policy.urgent_burst => {}
            Reason::Deadline => self.debt += cost,
            Reason::Share | Reason::Age => {
                let made_up = cost * u64::from(self.policy.urgent_ratio);
                self.debt = self.debt.saturating_sub(made_up);
            }
        }
    }

    fn check(&mut self) -> Result<(), TestCaseError> {
        prop_assert_eq!(self.order.len(), self.entries.len());
        prop_assert_eq!(self.order.is_empty(), self.entries.is_empty());
        for class in Class::ALL {
            let of_class = self.entries.iter().filter(|entry| entry.class == class);
            prop_assert_eq!(self.order.len_of(class), of_class.count());
        }
        for entry in &self.entries {
            prop_assert_eq!(self.order.get(entry.key), Some(&entry.value));
        }
        for &key in &self.gone {
            prop_assert_eq!(self.order.get(key), None);
            prop_assert!(!self.order.set_class(key, Class::High, 0));
            prop_assert!(!self.order.set_deadline(key, Some(0)));
            prop_assert_eq!(self.order.remove(key), None);
        }
        Ok(())
    }
}

/// The bytes taken of each class, counted as the policy counts.
#[derive(Clone, Copy, Default)]
struct Taken([u64; Class::COUNT]);

impl Taken {
    /// How far two classes are from their shares, in bytes by weight, and how far they may be.
    fn apart(&self, since: &Self, policy: &Policy, cost_max: u64, pair: [Class; 2]) -> [f64; 2] {
        let [left, right] = pair.map(|class| {
            let weight = f64::from(policy.weights[class.index()]);
            let bytes = self.0[class.index()] - since.0[class.index()];
            [bytes as f64 / weight, cost_max as f64 / weight]
        });
        // Weights are rounded to 32 bits: a part in 65,536 of what was served.
        let rounding = (left[0] + right[0]) / f64::from(WEIGHT_MAX) + 1e-6;
        [(left[0] - right[0]).abs(), left[1] + right[1] + rounding]
    }
}

/// Keeps some classes backlogged and checks each pair after every pop.
fn check_shares(
    policy: Policy,
    waiting: &[Class],
    alone: usize,
    sizes: &[u64],
) -> Result<(), TestCaseError> {
    let mut order = Order::new(policy).unwrap();
    let mut sizes_left = sizes.iter().copied().cycle();
    let mut push = |order: &mut Order<()>, class| {
        let bytes = sizes_left.next().unwrap();
        order.push((), class, bytes, None, 0).unwrap();
    };
    // The first class is alone for a while, so that the others join late.
    (0..3).for_each(|_| push(&mut order, waiting[0]));
    let mut taken = Taken::default();
    let mut since = taken;
    for round in 0..400 {
        if round == alone {
            since = taken;
            for &class in &waiting[1..] {
                (0..3).for_each(|_| push(&mut order, class));
            }
        }
        let popped = order.pop(0, |_, _| Admit::Take).unwrap();
        taken.0[popped.class.index()] += popped.bytes.max(policy.cost_min);
        push(&mut order, popped.class);
        if round < alone {
            continue;
        }
        let cost_max = sizes.iter().copied().max().unwrap().max(policy.cost_min);
        for (index, &left) in waiting.iter().enumerate() {
            for &right in &waiting[index + 1..] {
                let [apart, most] = taken.apart(&since, &policy, cost_max, [left, right]);
                prop_assert!(apart <= most, "{left:?} and {right:?}: {apart} > {most}");
            }
        }
    }
    Ok(())
}

/// What an adversary queues after each pop.
#[derive(Clone, Debug)]
struct Rival {
    class: Class,
    bytes: u64,
    deadline_ns: Option<u64>,
}

fn rivals() -> impl Strategy<Value = Vec<Rival>> {
    let deadline = prop_oneof![Just(None), Just(Some(0)), (0_u64..1000).prop_map(Some)];
    let rival = (classes(), 0_u64..10_000, deadline);
    let rival = rival.prop_map(|(class, bytes, deadline_ns)| Rival {
        class,
        bytes,
        deadline_ns,
    });
    prop::collection::vec(rival, 1..12)
}

/// Counts what is taken before a request that has aged, while rivals keep coming.
fn bytes_ahead(policy: Policy, victim: Class, before: &[Rival], rivals: &[Rival]) -> (u64, u128) {
    let mut order = Order::new(policy).unwrap();
    let push = |order: &mut Order<bool>, rival: &Rival, now_ns| {
        let Rival {
            class,
            bytes,
            deadline_ns,
        } = *rival;
        order
            .push(false, class, bytes, deadline_ns, now_ns)
            .unwrap();
    };
    let cost = |bytes: u64| bytes.max(policy.cost_min);
    before.iter().for_each(|rival| push(&mut order, rival, 0));
    order.push(true, victim, 4096, None, 0).unwrap();
    let older = before.iter().map(|rival| cost(rival.bytes)).sum::<u64>() + cost(4096);
    let all = before.iter().chain(rivals).map(|rival| cost(rival.bytes));
    let largest = all.max().unwrap().max(cost(4096));
    let bound = policy.ahead_max(older, largest);
    let mut ahead = 0;
    for (now_ns, rival) in (policy.age_after_ns..).zip(rivals.iter().cycle()) {
        // Two for each that goes, so that every line stays full.
        push(&mut order, rival, now_ns);
        push(&mut order, rival, now_ns);
        let popped = order.pop(now_ns, |_, _| Admit::Take).unwrap();
        if popped.value || u128::from(ahead) > bound {
            break;
        }
        ahead += cost(popped.bytes);
    }
    (ahead, bound)
}

proptest! {
    #![proptest_config(plan_cases::config())]

    #[test]
    fn each_step_is_what_a_list_would_do(policy in policies(), steps in steps()) {
        let mut model = Model::new(policy);
        for step in steps {
            model.step(step)?;
        }
        model.check()?;
    }

    #[test]
    fn what_waits_shares_by_weight(
        policy in policies(),
        (waiting, alone) in (Just(Class::ALL.to_vec()).prop_shuffle(), 0_usize..50),
        count in 2..=Class::COUNT,
        sizes in prop::collection::vec(0_u64..20_000, 1..40),
    ) {
        let policy = Policy { age_after_ns: u64::MAX, ..policy };
        check_shares(policy, &waiting[..count], alone, &sizes)?;
    }

    #[test]
    fn what_has_aged_goes_within_the_bound(
        policy in policies(),
        victim in classes(),
        before in prop::collection::vec(rivals(), 0..3),
        rivals in rivals(),
    ) {
        // A weight of a few parts in 65,536 has a true bound, which takes too long to reach.
        let aged_weight = policy.aged_weight.max(policy.weights.iter().sum::<u32>() / 64);
        let policy = Policy { aged_weight: aged_weight.min(WEIGHT_MAX), ..policy };
        let before = before.concat();
        let (ahead, bound) = bytes_ahead(policy, victim, &before, &rivals);
        prop_assert!(u128::from(ahead) <= bound, "{ahead} went ahead, {bound} may");
    }

    #[test]
    fn deadlines_leave_others_their_part(
        policy in policies(),
        urgent in prop::collection::vec(0_u64..10_000, 1..9),
        others in prop::collection::vec(0_u64..10_000, 1..9),
        pops in 1_usize..300,
    ) {
        let mut order = Order::new(policy).unwrap();
        let cost = |bytes: u64| bytes.max(policy.cost_min);
        let (mut ahead, mut by_turns) = (0, 0);
        let largest = urgent.iter().map(|&bytes| cost(bytes)).max().unwrap();
        let mut sizes = urgent.iter().cycle().zip(others.iter().cycle());
        for _ in 0..pops {
            let (&urgent, &other) = sizes.next().unwrap();
            order.push((), Class::Low, urgent, Some(0), 0).unwrap();
            order.push((), Class::High, other, None, 0).unwrap();
            let popped = order.pop(0, |_, _| Admit::Take).unwrap();
            match popped.reason {
                Reason::Deadline => ahead += cost(popped.bytes),
                Reason::Share | Reason::Age => by_turns += cost(popped.bytes),
            }
            let most = policy.urgent_burst + largest + by_turns * u64::from(policy.urgent_ratio);
            prop_assert!(ahead <= most, "{ahead} went ahead, {most} may");
        }
    }
}
