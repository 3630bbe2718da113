//! The machine's cores, those this process may use, and where workers go.
//!
//! `sysfs` reads the kernel's text formats and `placement` decides; both are pure. This file reads
//! the files, `pin` acts on the calling thread.

pub(crate) mod pin;
pub(crate) mod placement;
mod sysfs;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::OnceLock;

use crate::sys::affinity;

/// A logical core as the kernel numbers them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Core {
    pub(crate) id: usize,
    pub(crate) package: usize,
    /// The lowest core that shares this one's last-level cache; names the cache.
    pub(crate) l3: usize,
    pub(crate) numa_node: usize,
    /// The logical cores of the same physical core, this one included, in ascending order.
    pub(crate) smt_siblings: Vec<usize>,
}

/// The cores of a machine, in ascending order of their ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Topology {
    pub(crate) cores: Vec<Core>,
}

/// What this process may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Allowed {
    /// The affinity mask of the process; the kernel keeps it within the cgroup's cpuset.
    pub(crate) cores: Vec<usize>,
    /// The CPU bandwidth limit of the process's cgroups in whole cores, rounded up.
    pub(crate) quota: Option<usize>,
}

/// The machine and the process's share of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Machine {
    pub(crate) topology: Topology,
    pub(crate) allowed: Allowed,
}

/// Returns the machine as it was at the first call, which must come before any pinning: a pinned
/// thread passes its narrow mask on to the threads that it starts.
///
/// # Errors
///
/// Returns the error of `sched_getaffinity(2)`; it is not remembered.
pub(crate) fn machine() -> io::Result<&'static Machine> {
    static MACHINE: OnceLock<Machine> = OnceLock::new();
    if let Some(machine) = MACHINE.get() {
        return Ok(machine);
    }
    let cores = affinity::process_cores()?;
    let topology = Topology::read(Path::new("/sys"), &cores);
    let cgroup = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let quota = cgroup_quota(Path::new("/sys/fs/cgroup"), &cgroup);
    let machine = Machine {
        topology,
        allowed: Allowed { cores, quota },
    };
    Ok(MACHINE.get_or_init(|| machine))
}

impl Topology {
    /// Reads the topology of `cores` from a sysfs mounted at `root`.
    ///
    /// Never fails: containers hide parts of sysfs, and what is missing only makes the placement
    /// plainer (one package, one node, no siblings, one cache per package).
    pub(crate) fn read(root: &Path, cores: &[usize]) -> Self {
        let nodes = numa_nodes(root);
        let cpu_root = root.join("devices/system/cpu");
        let read = |id: usize| {
            let directory = cpu_root.join(format!("cpu{id}"));
            let package = read_number(&directory.join("topology/physical_package_id"));
            let siblings = read_list(&directory.join("topology/thread_siblings_list"));
            Core {
                id,
                package: package.unwrap_or(0),
                l3: l3_cache(&directory)
                    .or_else(|| package_first(&directory))
                    .or_else(|| cores.iter().copied().min())
                    .unwrap_or(id),
                numa_node: nodes.get(&id).copied().unwrap_or(0),
                smt_siblings: siblings
                    .filter(|list| list.contains(&id))
                    .unwrap_or(vec![id]),
            }
        };
        let mut cores: Vec<Core> = cores.iter().copied().map(read).collect();
        cores.sort_unstable_by_key(|core| core.id);
        Self { cores }
    }
}

/// Returns the lowest core that shares the level 3 cache of the core whose directory this is.
fn l3_cache(cpu_directory: &Path) -> Option<usize> {
    const INDEX_COUNT: usize = 10;
    (0..INDEX_COUNT)
        .map(|index| cpu_directory.join(format!("cache/index{index}")))
        .find(|cache| read_number(&cache.join("level")) == Some(3))
        .and_then(|cache| read_list(&cache.join("shared_cpu_list"))?.first().copied())
}

/// Returns the lowest core of the package of the core whose directory this is.
fn package_first(cpu_directory: &Path) -> Option<usize> {
    read_list(&cpu_directory.join("topology/core_siblings_list"))?
        .first()
        .copied()
}

/// Maps cores to their NUMA nodes.
fn numa_nodes(root: &Path) -> BTreeMap<usize, usize> {
    let node_root = root.join("devices/system/node");
    let online = read_list(&node_root.join("online")).unwrap_or_default();
    let cores_of = |node: usize| {
        let cores = read_list(&node_root.join(format!("node{node}/cpulist"))).unwrap_or_default();
        cores.into_iter().map(move |core| (core, node))
    };
    online.into_iter().flat_map(cores_of).collect()
}

/// Returns the tightest CPU limit on the way from the process's cgroup to the root, in cores.
///
/// Looks at the unified hierarchy and at the `cpu` controller of v1. Without a cgroup namespace
/// the path is the host's and does not exist here; then the root alone answers.
fn cgroup_quota(root: &Path, proc_self_cgroup: &str) -> Option<usize> {
    let paths = sysfs::parse_cgroup_paths(proc_self_cgroup);
    let unified = paths.unified.into_iter().flat_map(|path| {
        let mounts = [root.to_path_buf(), root.join("unified")];
        mounts.map(|mount| tightest(&mount, path, unified_quota))
    });
    let v1 = paths.cpu.into_iter().flat_map(|path| {
        let mounts = [root.join("cpu"), root.join("cpu,cpuacct")];
        mounts.map(|mount| tightest(&mount, path, v1_quota))
    });
    unified.chain(v1).flatten().min()
}

fn tightest(mount: &Path, path: &str, quota: fn(&Path) -> Option<usize>) -> Option<usize> {
    Path::new(path.trim_start_matches('/'))
        .ancestors()
        .filter_map(|ancestor| quota(&mount.join(ancestor)))
        .min()
}

fn unified_quota(directory: &Path) -> Option<usize> {
    sysfs::parse_cpu_max(&fs::read_to_string(directory.join("cpu.max")).ok()?)
}

fn v1_quota(directory: &Path) -> Option<usize> {
    let quota = fs::read_to_string(directory.join("cpu.cfs_quota_us")).ok()?;
    let period = fs::read_to_string(directory.join("cpu.cfs_period_us")).ok()?;
    sysfs::cores_of_quota(&quota, &period)
}

fn read_number(path: &Path) -> Option<usize> {
    sysfs::parse_number(&fs::read_to_string(path).ok()?)
}

fn read_list(path: &Path) -> Option<Vec<usize>> {
    sysfs::parse_cpu_list(&fs::read_to_string(path).ok()?)
}
