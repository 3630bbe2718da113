//! How large a pool is, and when to help it. Pure.

use std::num::NonZeroUsize;

/// The most threads that [`PoolConfig::beside`] asks for.
const THREADS_MAX: usize = 8;

/// The size of a [`DecodePool`](super::DecodePool) and the place of its threads.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PoolConfig {
    /// The number of threads. With none, jobs are done by those who help and by those who wait.
    pub threads: usize,
    /// The most jobs of each class that are queued; more wait until their turn to queue.
    pub queue_max: NonZeroUsize,
    /// The numbers of the cores that the threads may run on; if empty, where their maker may.
    pub cores: Vec<usize>,
    /// How many of these have no I/O worker. A worker that would otherwise idle, and waits for a
    /// job, does jobs of the pool while as many or all threads are busy ([`should_help`]).
    pub spare_cores: usize,
}

/// How busy a pool is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct PoolLoad {
    /// Jobs that are queued.
    pub queued: usize,
    /// Jobs that wait until they may queue.
    pub waiting: usize,
    /// Jobs that are being done, by helpers as well.
    pub running: usize,
    /// Threads of the pool.
    pub threads: usize,
}

impl PoolConfig {
    /// The default for [`queue_max`](Self::queue_max).
    pub const QUEUE_MAX: NonZeroUsize = NonZeroUsize::new(256).expect("not 0");

    /// Makes a configuration for `threads` threads, on any core.
    #[must_use]
    pub fn new(threads: usize) -> Self {
        Self {
            threads,
            queue_max: Self::QUEUE_MAX,
            cores: Vec::new(),
            spare_cores: threads,
        }
    }

    /// Makes a configuration for a machine on which `workers` are the cores with I/O workers, of
    /// the `usable` ones: a thread, at most 8, on each of the others, or one thread on any if
    /// there are no others.
    #[must_use]
    pub fn beside(workers: &[usize], usable: &[usize]) -> Self {
        let spare = usable.iter().filter(|core| !workers.contains(core));
        let spare: Vec<usize> = spare.copied().collect();
        let cores = if spare.is_empty() {
            usable.to_vec()
        } else {
            spare.clone()
        };
        Self {
            cores,
            spare_cores: spare.len(),
            ..Self::new(spare.len().clamp(1, THREADS_MAX))
        }
    }

    /// Sets [`queue_max`](Self::queue_max).
    #[must_use]
    pub fn queue_max(mut self, jobs: NonZeroUsize) -> Self {
        self.queue_max = jobs;
        self
    }
}

/// Says whether an I/O core that would otherwise idle should do a job of the pool: when jobs are
/// queued that no thread of the pool can begin, because all are busy or, with `spare_cores` cores
/// besides those of the workers, would not get a core before this one idles.
#[must_use]
pub fn should_help(load: PoolLoad, spare_cores: usize) -> bool {
    load.queued > 0 && load.running >= load.threads.min(spare_cores)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_go_where_no_worker_is() {
        let config = PoolConfig::beside(&[0, 2], &[0, 1, 2, 3]);
        assert_eq!((config.threads, config.cores), (2, vec![1, 3]));
        let config = PoolConfig::beside(&[0, 1], &[0, 1]);
        assert_eq!((config.threads, config.cores), (1, vec![0, 1]));
        assert_eq!(PoolConfig::beside(&[], &[]).threads, 1);
    }

    #[test]
    fn a_core_helps_where_threads_cannot() {
        let load = |queued, running, threads| PoolLoad {
            queued,
            waiting: 0,
            running,
            threads,
        };
        assert!(!should_help(load(0, 2, 2), 0), "nothing to do");
        assert!(!should_help(load(1, 1, 2), 2), "a thread is free");
        assert!(should_help(load(1, 2, 2), 2), "all are busy");
        assert!(should_help(load(1, 0, 1), 0), "there is no core for it");
        assert!(should_help(load(1, 0, 0), 4), "there are no threads");
    }
}
