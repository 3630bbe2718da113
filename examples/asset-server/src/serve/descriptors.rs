//! File descriptors: what the process may have, and how many connections that is enough for.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What a connection needs at a time: its socket, and the file it is sent.
const PER_CONNECTION: u64 = 2;

/// What the process has open beside its workers: standard streams, pools, signals.
const PROCESS: u64 = 32;

/// What a worker has open beside its mounts and its connections: rings, wake-ups, the listener.
const PER_WORKER: u64 = 16;

/// Raises this process's limit as far as it may by itself, and returns what it is then.
pub(super) fn raise_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return limit.current.unwrap_or(u64::MAX);
    }
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => raised.current.unwrap_or(u64::MAX),
        // Some systems cap it below the hard limit: what there is goes on.
        Err(_) => limit.current.unwrap_or(u64::MAX),
    }
}

/// Returns how many connections a number of descriptors is enough for, beside `refusing` ones and
/// `mounts` on each worker: everything is reserved at the start, so that a client beyond the limit
/// can still be accepted and told so.
pub(super) fn connections(descriptors: u64, workers: u64, mounts: u64, refusing: u64) -> u64 {
    let reserved = PROCESS + workers * (PER_WORKER + mounts + refusing);
    descriptors.saturating_sub(reserved) / PER_CONNECTION
}

#[cfg(test)]
mod tests {
    use super::connections;

    #[test]
    fn what_is_not_for_connections_is_reserved() {
        assert_eq!(connections(1024, 2, 1, 64), (1024 - 32 - 2 * 81) / 2);
        assert_eq!(connections(100, 2, 1, 64), 0);
        assert!(connections(u64::MAX, 64, 10, 64) > 60_000);
    }
}
