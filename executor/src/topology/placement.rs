//! Which worker goes on which core. Pure: a model in, core ids out.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use core_affinity::CoreId;

use super::{Allowed, Core, Topology};

/// Says where the workers of an executor run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Placement {
    /// One worker on each core that the process may use, at most as many as its cgroup's CPU
    /// quota pays for; physical cores before their SMT siblings, spread over the last-level
    /// caches.
    #[default]
    OnePerCore,
    /// One worker on each of these cores, in this order.
    Cores(Vec<usize>),
    /// This many workers, left to the kernel's scheduler.
    Unpinned(usize),
}

/// Why a [`Placement`] cannot be carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PlacementError {
    /// No worker was asked for.
    NoWorkers,
    /// A core that the process may not use.
    NotAllowed {
        /// The core asked for.
        core: usize,
        /// The cores that may be used.
        allowed: Vec<usize>,
    },
    /// A core that was asked for twice.
    Duplicate {
        /// The core asked for.
        core: usize,
    },
    /// More pinned workers than cores.
    TooMany {
        /// The number of workers asked for.
        requested: usize,
        /// The cores that may be used.
        allowed: Vec<usize>,
    },
    /// A number of workers that contradicts the placement.
    Mismatch {
        /// The number of workers asked for.
        requested: usize,
        /// The number of workers that the placement says.
        placed: usize,
    },
}

/// Returns a core for each worker; `None` leaves the worker unpinned.
///
/// `requested` is a number of workers asked for beside the placement. An explicit number may go
/// past the CPU quota, which limits the default only.
pub(crate) fn place(
    placement: &Placement,
    requested: Option<usize>,
    topology: &Topology,
    allowed: &Allowed,
) -> Result<Vec<Option<CoreId>>, PlacementError> {
    if requested == Some(0) {
        return Err(PlacementError::NoWorkers);
    }
    let cores = match placement {
        Placement::OnePerCore => one_per_core(requested, topology, allowed)?,
        Placement::Cores(cores) => {
            check_cores(cores, allowed)?;
            cores.iter().copied().map(some_core).collect()
        }
        Placement::Unpinned(count) => vec![None; *count],
    };
    match requested {
        _ if cores.is_empty() => Err(PlacementError::NoWorkers),
        Some(requested) if requested != cores.len() => Err(PlacementError::Mismatch {
            requested,
            placed: cores.len(),
        }),
        _ => Ok(cores),
    }
}

/// Returns the cores that the process may use and no worker is pinned to.
pub(crate) fn complement(allowed: &Allowed, workers: &[Option<CoreId>]) -> Vec<usize> {
    let taken: HashSet<usize> = workers.iter().flatten().map(|core| core.id).collect();
    allowed
        .cores
        .iter()
        .copied()
        .filter(|core| !taken.contains(core))
        .collect()
}

fn one_per_core(
    requested: Option<usize>,
    topology: &Topology,
    allowed: &Allowed,
) -> Result<Vec<Option<CoreId>>, PlacementError> {
    let mut order = preference(topology, allowed);
    let limit = allowed.quota.unwrap_or(usize::MAX);
    let count = requested.unwrap_or(order.len().min(limit));
    if count > order.len() {
        let allowed = allowed.cores.clone();
        return Err(PlacementError::TooMany {
            requested: count,
            allowed,
        });
    }
    order.truncate(count);
    // Neighbouring workers share a cache.
    order.sort_unstable_by_key(|core| (core.numa_node, core.package, core.l3, core.id));
    Ok(order.iter().map(|core| some_core(core.id)).collect())
}

/// The allowed cores, best first: all first siblings, then all second ones; within those, one of
/// each cache in turn.
fn preference<'a>(topology: &'a Topology, allowed: &Allowed) -> Vec<&'a Core> {
    let usable: HashSet<usize> = allowed.cores.iter().copied().collect();
    let mut taken_of_cache = BTreeMap::new();
    let mut ranked: Vec<_> = topology
        .cores
        .iter()
        .filter(|core| usable.contains(&core.id))
        .map(|core| {
            let before = |sibling: &&usize| **sibling < core.id && usable.contains(*sibling);
            let sibling_rank = core.smt_siblings.iter().filter(before).count();
            let turn = taken_of_cache
                .entry((sibling_rank, core.l3))
                .or_insert(0_usize);
            *turn += 1;
            (sibling_rank, *turn, core)
        })
        .collect();
    ranked.sort_by_key(|(sibling_rank, turn, core)| (*sibling_rank, *turn, core.id));
    ranked.into_iter().map(|(_, _, core)| core).collect()
}

fn check_cores(cores: &[usize], allowed: &Allowed) -> Result<(), PlacementError> {
    let mut seen = HashSet::new();
    for &core in cores {
        if !allowed.cores.contains(&core) {
            let allowed = allowed.cores.clone();
            return Err(PlacementError::NotAllowed { core, allowed });
        }
        if !seen.insert(core) {
            return Err(PlacementError::Duplicate { core });
        }
    }
    Ok(())
}

fn some_core(id: usize) -> Option<CoreId> {
    Some(CoreId { id })
}

impl fmt::Display for PlacementError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoWorkers => f.write_str("the placement has no workers; ask for at least one"),
            Self::NotAllowed { core, allowed } => {
                write!(
                    f,
                    "this process may not use core {core}; it may use {}",
                    List(allowed)
                )
            }
            Self::Duplicate { core } => write!(f, "core {core} is in the placement twice"),
            Self::TooMany { requested, allowed } => write!(
                f,
                "{requested} pinned workers do not fit on the {} cores this process may use ({}); \
                 ask for fewer, or leave them unpinned",
                allowed.len(),
                List(allowed)
            ),
            Self::Mismatch { requested, placed } => {
                write!(
                    f,
                    "{requested} workers were asked for, but the placement has {placed}"
                )
            }
        }
    }
}

impl std::error::Error for PlacementError {}

/// Writes ascending core numbers as the kernel does: `0-3,8`.
struct List<'a>(&'a [usize]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, run) in self
            .0
            .chunk_by(|left, right| left + 1 == *right)
            .enumerate()
        {
            let comma = if index == 0 { "" } else { "," };
            match run {
                [first, .., last] => write!(f, "{comma}{first}-{last}")?,
                _ => write!(f, "{comma}{}", run[0])?,
            }
        }
        Ok(())
    }
}
