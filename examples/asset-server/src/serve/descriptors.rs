//! File descriptors: what the process may have, and how many connections that is enough for.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What a connection needs at a time: its socket, and the file it is sent.
const PER_CONNECTION: u64 = 2;

/// What the process has open beside its workers: standard streams, pools, signals.
const PROCESS: u64 = 32;

/// What a worker has open beside its mounts and its connections: rings, wake-ups, the listener.
const PER_WORKER: u64 = 16;

/// The part of the descriptors that files kept open may have though connections could use it.
const FILES_SHARE: u64 = 8;

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

/// Returns how many connections, and how many files that each worker keeps open, a number of
/// descriptors is enough for, at most those that are `wanted`; `None` if not for one connection.
/// Connections go first, but for a share of the files.
///
/// Beside them each worker has `others`. Everything is reserved at the start, so that a client
/// beyond the limit can still be accepted and told so.
pub(super) fn share(
    descriptors: u64,
    workers: u64,
    others: u64,
    (connections, open_files): (u64, u32),
) -> Option<(u64, u32)> {
    let left = descriptors.saturating_sub(PROCESS + workers * (PER_WORKER + others));
    let share_of_files = u64::from(open_files).min(left / FILES_SHARE / workers);
    let connections = connections.min((left - share_of_files * workers) / PER_CONNECTION);
    let each = (left - connections * PER_CONNECTION) / workers;
    let open_files = u32::try_from(each).unwrap_or(u32::MAX).min(open_files);
    (connections > 0).then_some((connections, open_files))
}

#[cfg(test)]
mod tests {
    use super::share;

    #[test]
    fn what_is_not_for_connections_is_reserved() {
        let left = 1024 - 32 - 2 * 81;
        assert_eq!(share(1024, 2, 65, (10_000, 0)), Some((left / 2, 0)));
        assert_eq!(share(1024, 2, 65, (10_000, 9)), Some((left / 2 - 9, 9)));
        assert_eq!(share(100, 2, 65, (10_000, 9)), None);
        assert_eq!(share(u64::MAX, 64, 74, (60_000, 9)), Some((60_000, 9)));
    }

    #[test]
    fn files_are_kept_open_with_their_share_and_what_connections_leave() {
        let of = |left: u64| share(32 + 2 * 81 + left, 2, 65, (90, 50));
        assert_eq!(of(400), Some((90, 50)));
        assert_eq!(of(200), Some((88, 12)));
        assert_eq!(of(210), Some((90, 15)));
        assert_eq!(of(2), Some((1, 0)));
        assert_eq!(of(1), None);
    }
}
