//! The cores, and whether there is an `io_uring` here.

use std::io::ErrorKind;

use core_affinity::CoreId;
use io_uring::IoUring;

use crate::Failure;

/// The cores of this process, read before anything was pinned.
#[derive(Debug)]
pub(crate) struct Cores {
    all: Vec<CoreId>,
    measured: CoreId,
}

impl Cores {
    /// Reads them; `wanted` is the one to measure on, by default the last, as in the benches.
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

    /// The one to measure on.
    pub(crate) fn measured(&self) -> CoreId {
        self.measured
    }

    /// All of them.
    pub(crate) fn all(&self) -> &[CoreId] {
        &self.all
    }

    /// The measured core and another one, where there are two.
    pub(crate) fn pair(&self) -> Option<[CoreId; 2]> {
        let other = self.all.iter().find(|core| core.id != self.measured.id)?;
        Some([self.measured, *other])
    }
}

/// Pins the calling thread, and with it those that it starts.
pub(crate) fn pin(core: CoreId) -> Result<(), Failure> {
    if core_affinity::set_for_current(core) {
        Ok(())
    } else {
        Err(format!("this thread cannot be pinned to core {}", core.id).into())
    }
}

/// Says why this machine refuses an `io_uring`, if it does.
pub(crate) fn ring_refused() -> Result<Option<String>, Failure> {
    match IoUring::new(8) {
        Ok(_) => Ok(None),
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::PermissionDenied | ErrorKind::Unsupported
            ) =>
        {
            Ok(Some(format!("io_uring is refused: {error}")))
        }
        Err(error) => Err(format!("io_uring: {error}").into()),
    }
}
