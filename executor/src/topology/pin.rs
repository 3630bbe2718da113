//! Pins the calling thread to one core.

use std::io;

use core_affinity::CoreId;

use crate::sys::{affinity, last_error};

/// `core_affinity` indexes a mask of this many bits and panics past it.
const CORE_COUNT_MAX: usize = 1_024;

/// Pins the calling thread to `core` and checks that the kernel did so.
///
/// # Errors
///
/// Names the core when the kernel refuses it (offline, or outside the cpuset), or when the mask
/// read back is another one.
pub(crate) fn pin_thread(core: CoreId) -> io::Result<()> {
    let refused =
        |why: &str| io::Error::other(format!("cannot pin the thread to core {}: {why}", core.id));
    if core.id >= CORE_COUNT_MAX {
        return Err(refused("cores from 1024 on are not supported"));
    }
    if !core_affinity::set_for_current(core) {
        let error = last_error();
        return Err(refused(&error.to_string()));
    }
    let cores = affinity::thread_cores()?;
    if cores != [core.id] {
        return Err(refused(&format!("it may now run on {cores:?}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use core_affinity::CoreId;

    use super::pin_thread;
    use crate::sys::affinity;

    #[test]
    fn pins_the_calling_thread_alone() {
        let before = affinity::process_cores().unwrap();
        let core = *before.last().unwrap();
        let pinned = std::thread::spawn(move || {
            pin_thread(CoreId { id: core }).unwrap();
            affinity::thread_cores().unwrap()
        });
        assert_eq!(pinned.join().unwrap(), [core]);
        assert_eq!(affinity::process_cores().unwrap(), before);
    }

    #[test]
    fn a_core_that_does_not_exist_is_named() {
        for id in [1_023, 1_024, usize::MAX] {
            let error = pin_thread(CoreId { id }).unwrap_err();
            assert!(
                error.to_string().contains(&format!("core {id}:")),
                "{error}"
            );
        }
    }
}
