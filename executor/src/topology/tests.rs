use std::fs;
use std::path::Path;

use core_affinity::CoreId;
use proptest::{collection, prop_assert, prop_assert_eq, proptest};

use super::placement::{Placement, PlacementError, complement, place};
use super::{Allowed, Core, Topology, cgroup_quota, machine};

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// Two packages of two physical cores with two threads each, numbered as Linux does: 0-3 are the
/// first threads, 4-7 their siblings. One cache and one node per package.
fn two_sockets() -> Topology {
    let core = |id: usize| {
        let (physical, package) = (id % 4, id % 4 / 2);
        Core {
            id,
            package,
            l3: package * 2,
            numa_node: package,
            smt_siblings: vec![physical, physical + 4],
        }
    };
    Topology {
        cores: (0..8).map(core).collect(),
    }
}

fn allowed(cores: &[usize]) -> Allowed {
    Allowed {
        cores: cores.to_vec(),
        quota: None,
    }
}

fn ids(placed: Result<Vec<Option<CoreId>>, PlacementError>) -> Vec<usize> {
    placed
        .unwrap()
        .into_iter()
        .map(|core| core.unwrap().id)
        .collect()
}

#[test]
fn reads_a_machine_from_its_files() {
    let root = tempfile::tempdir().unwrap();
    for core in two_sockets().cores {
        let cpu = format!("devices/system/cpu/cpu{}", core.id);
        let [first, second] = core.smt_siblings[..] else {
            panic!("two threads")
        };
        let cache = core.l3;
        write(
            root.path(),
            &format!("{cpu}/topology/physical_package_id"),
            &core.package.to_string(),
        );
        write(
            root.path(),
            &format!("{cpu}/topology/thread_siblings_list"),
            &format!("{first},{second}\n"),
        );
        write(root.path(), &format!("{cpu}/cache/index2/level"), "2\n");
        write(root.path(), &format!("{cpu}/cache/index3/level"), "3\n");
        let shared = format!("{cache}-{},{}-{}\n", cache + 1, cache + 4, cache + 5);
        write(
            root.path(),
            &format!("{cpu}/cache/index3/shared_cpu_list"),
            &shared,
        );
    }
    write(root.path(), "devices/system/node/online", "0-1\n");
    write(
        root.path(),
        "devices/system/node/node0/cpulist",
        "0-1,4-5\n",
    );
    write(
        root.path(),
        "devices/system/node/node1/cpulist",
        "2-3,6-7\n",
    );
    let cores: Vec<usize> = (0..8).collect();
    assert_eq!(Topology::read(root.path(), &cores), two_sockets());
}

#[test]
fn a_bare_sysfs_gives_plain_cores() {
    let root = tempfile::tempdir().unwrap();
    let read = Topology::read(root.path(), &[3, 1]);
    let core = |id| Core {
        id,
        package: 0,
        l3: 1,
        numa_node: 0,
        smt_siblings: vec![id],
    };
    assert_eq!(read.cores, [core(1), core(3)]);
}

#[test]
fn the_tightest_cgroup_limit_counts() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "a/cpu.max", "250000 100000\n");
    write(root.path(), "a/b/cpu.max", "max 100000\n");
    assert_eq!(cgroup_quota(root.path(), "0::/a/b\n"), Some(3));
    assert_eq!(cgroup_quota(root.path(), "0::/elsewhere\n"), None);
    write(root.path(), "cpu,cpuacct/c/cpu.cfs_quota_us", "100000\n");
    write(root.path(), "cpu,cpuacct/c/cpu.cfs_period_us", "100000\n");
    assert_eq!(
        cgroup_quota(root.path(), "2:cpu,cpuacct:/c\n0::/a/b\n"),
        Some(1)
    );
}

#[test]
fn this_machine_allows_what_its_mask_says() {
    let machine = machine().unwrap();
    assert!(!machine.allowed.cores.is_empty());
    let ids: Vec<usize> = machine.topology.cores.iter().map(|core| core.id).collect();
    assert_eq!(ids, machine.allowed.cores);
    assert!(machine.allowed.quota.is_none_or(|quota| quota >= 1));
}

#[test]
fn physical_cores_come_first_and_caches_take_turns() {
    let topology = two_sockets();
    let all = allowed(&[0, 1, 2, 3, 4, 5, 6, 7]);
    let one_per_core = |count| ids(place(&Placement::OnePerCore, count, &topology, &all));
    assert_eq!(one_per_core(Some(2)), [0, 2]);
    assert_eq!(one_per_core(Some(4)), [0, 1, 2, 3]);
    assert_eq!(one_per_core(Some(5)), [0, 1, 4, 2, 3]);
    assert_eq!(one_per_core(None), [0, 1, 4, 5, 2, 3, 6, 7]);
}

#[test]
fn a_sibling_alone_counts_as_a_physical_core() {
    // Core 4 is the sibling of 0, which may not be used; 5 is the sibling of 1, which may.
    let placed = place(
        &Placement::OnePerCore,
        Some(2),
        &two_sockets(),
        &allowed(&[1, 4, 5]),
    );
    assert_eq!(ids(placed), [1, 4]);
}

#[test]
fn the_quota_limits_the_default_but_not_a_number_asked_for() {
    let limited = Allowed {
        cores: vec![0, 1, 2],
        quota: Some(2),
    };
    let placed = |count| {
        ids(place(
            &Placement::OnePerCore,
            count,
            &two_sockets(),
            &limited,
        ))
    };
    assert_eq!(placed(None).len(), 2);
    assert_eq!(placed(Some(3)).len(), 3);
}

#[test]
fn chosen_cores_keep_their_order() {
    let cores = Placement::Cores(vec![5, 0]);
    let placed = place(&cores, None, &two_sockets(), &allowed(&[0, 5, 6]));
    assert_eq!(ids(placed.clone()), [5, 0]);
    assert_eq!(complement(&allowed(&[0, 5, 6]), &placed.unwrap()), [6]);
    assert_eq!(
        place(
            &Placement::Unpinned(2),
            None,
            &two_sockets(),
            &allowed(&[0])
        ),
        Ok(vec![None; 2])
    );
}

#[test]
fn errors_say_what_is_wrong() {
    let may = allowed(&[0, 1, 2, 5]);
    let message = |placement, count| {
        place(&placement, count, &two_sockets(), &may)
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        message(Placement::Cores(vec![0, 7]), None),
        "this process may not use core 7; it may use 0-2,5"
    );
    assert_eq!(
        message(Placement::Cores(vec![0, 0]), None),
        "core 0 is in the placement twice"
    );
    let none = "the placement has no workers; ask for at least one";
    assert_eq!(message(Placement::Cores(vec![]), None), none);
    assert_eq!(message(Placement::Unpinned(0), None), none);
    assert_eq!(message(Placement::OnePerCore, Some(0)), none);
    assert_eq!(
        message(Placement::OnePerCore, Some(5)),
        "5 pinned workers do not fit on the 4 cores this process may use (0-2,5); ask for fewer, \
         or leave them unpinned"
    );
    assert_eq!(
        message(Placement::Unpinned(3), Some(2)),
        "2 workers were asked for, but the placement has 3"
    );
}

proptest! {
    #[test]
    fn one_per_core_uses_each_allowed_core_once(
        cores in collection::btree_set(0..8_usize, 1..8),
        count in 1..9_usize,
    ) {
        let may = allowed(&cores.iter().copied().collect::<Vec<_>>());
        let placed = place(&Placement::OnePerCore, Some(count), &two_sockets(), &may);
        if count > cores.len() {
            prop_assert!(placed.is_err());
        } else {
            let placed = ids(placed);
            let distinct: std::collections::BTreeSet<_> = placed.iter().copied().collect();
            prop_assert_eq!(distinct.len(), count);
            prop_assert!(distinct.is_subset(&cores));
            let physical = |ids: &std::collections::BTreeSet<usize>| {
                ids.iter().map(|id| id % 4).collect::<std::collections::BTreeSet<_>>().len()
            };
            prop_assert_eq!(physical(&distinct), count.min(physical(&cores)));
        }
    }
}
