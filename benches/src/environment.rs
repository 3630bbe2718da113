//! What a figure belongs to: kernel, processor, cores, ring, device.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use core_affinity::CoreId;

use crate::Failure;

/// The cores of this process, read before anything was pinned.
#[derive(Debug)]
pub(crate) struct Cores {
    all: Vec<CoreId>,
    measured: CoreId,
}

impl Cores {
    /// Reads them; `wanted` is the one to measure on.
    pub(crate) fn of_process(wanted: Option<usize>) -> Result<Self, Failure> {
        let all = core_affinity::get_core_ids().filter(|cores| !cores.is_empty());
        let all = all.ok_or("the cores of this process cannot be read")?;
        let measured = match wanted {
            None => *all.last().expect("at least one core"),
            Some(id) => *all
                .iter()
                .find(|core| core.id == id)
                .ok_or_else(|| format!("core {id} is not one that this process may use"))?,
        };
        Ok(Self { all, measured })
    }

    /// Pins the calling thread to the core that is measured on.
    pub(crate) fn pin(&self) -> Result<(), Failure> {
        pin(self.measured)
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.all.len()
    }

    /// All of them, by number.
    pub(crate) fn all(&self) -> Vec<usize> {
        self.all.iter().map(|core| core.id).collect()
    }

    /// The first `count` of them, or all.
    pub(crate) fn first(&self, count: usize) -> &[CoreId] {
        &self.all[..count.min(self.all.len())]
    }

    /// The one to measure on.
    pub(crate) fn measured(&self) -> usize {
        self.measured.id
    }

    /// The measured core and another one, where there are two.
    pub(crate) fn pair(&self) -> Option<[CoreId; 2]> {
        let other = self.all.iter().find(|core| core.id != self.measured.id)?;
        Some([self.measured, *other])
    }
}

/// Pins the calling thread.
pub(crate) fn pin(core: CoreId) -> Result<(), Failure> {
    if core_affinity::set_for_current(core) {
        Ok(())
    } else {
        Err(format!("this thread cannot be pinned to core {}", core.id).into())
    }
}

/// What all cases share, by name.
pub(crate) fn describe(cores: &Cores) -> Vec<(&'static str, String)> {
    let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let backend = match corelane::Worker::new(corelane::Config::default()) {
        Ok(worker) => worker
            .backend()
            .map_or_else(|| "none".to_owned(), |backend| backend.to_string()),
        Err(error) => error.to_string(),
    };
    let load = text("/proc/loadavg");
    let mut lines = vec![
        (
            "kernel",
            text("/proc/sys/kernel/osrelease").trim().to_owned(),
        ),
        (
            "processor",
            processor().unwrap_or_else(|| "unknown".to_owned()),
        ),
        (
            "cores",
            format!("{}, measured on {}", cores.all.len(), cores.measured.id),
        ),
        ("backend", backend),
        (
            "load",
            load.split(' ').take(3).collect::<Vec<_>>().join(" "),
        ),
    ];
    if cfg!(debug_assertions) {
        let warning = "built without optimisation: these figures mean nothing";
        lines.push(("warning", warning.to_owned()));
    }
    lines
}

fn processor() -> Option<String> {
    let info = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = info.lines().find(|line| line.starts_with("model name"))?;
    line.split_once(':').map(|(_, name)| name.trim().to_owned())
}

/// Names the scheduler of the block device that `path` is on; where there is none, says so.
pub(crate) fn scheduler_of(path: &Path) -> io::Result<String> {
    let dev = fs::metadata(path)?.dev();
    let device = format!("/sys/dev/block/{}:{}", libc::major(dev), libc::minor(dev));
    // A partition has its queue one folder up.
    let queues = [
        format!("{device}/queue/scheduler"),
        format!("{device}/../queue/scheduler"),
    ];
    let schedulers = queues
        .iter()
        .find_map(|queue| fs::read_to_string(queue).ok());
    Ok(schedulers.map_or_else(|| "no block device".to_owned(), |all| all.trim().to_owned()))
}
