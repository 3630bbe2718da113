//! What can be done, and on which runtime.

use std::net::TcpListener;
use std::sync::Arc;
use std::thread;

use clap::ValueEnum;

use crate::content::{Content, FILE_LEN, Loose, Span};
use crate::crowd::Crowd;
use crate::environment::{Cores, pin, ring_refused};
use crate::job::{Done, Job};
use crate::runtimes::{compio, glommio, kimojio, monoio, tokio, tokio_files, tokio_uring};
use crate::{Failure, Options, Outcome, http};

/// Tasks that are spawned before they are joined, and those that yield to each other.
pub(crate) const TASKS: u64 = 100;
/// Messages that fit between two cores in `stream`.
pub(crate) const WINDOW: usize = 256;
/// Files of the `lore` cases, and bytes of all of them.
const FILES: u64 = 64;
const FILES_LEN: u64 = 256 << 20;

/// What can be done. The numbers are those of the benches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum Case {
    /// 32 tasks that read 4 KiB at random from a cached 1 GiB file, on one core.
    ReadCached,
    /// The same past the page cache.
    ReadDirect,
    /// 32 tasks that read 128 KiB at random from the cached file, on all cores.
    #[value(name = "read_128k")]
    Read128k,
    /// The same past the page cache.
    #[value(name = "read_128k_direct")]
    Read128kDirect,
    /// Cached reads of 4 KiB from 64 files, 128 in flight, on all cores.
    #[value(name = "lore_4k")]
    Lore4k,
    /// Cached reads of 64 KiB from 64 files, 64 in flight, on all cores.
    #[value(name = "lore_64k")]
    Lore64k,
    /// Spawning 100 tasks that do nothing, and joining them.
    Spawn,
    /// 100 tasks that yield to each other.
    Yield,
    /// A message to another core and back, both asleep in between.
    CrossCore,
    /// Messages to another core, 256 in the window.
    Stream,
    /// 100,000 timers, set and taken out.
    TimersCancel,
    /// 100,000 timers, set and fired.
    TimersFire,
    /// Answers of 13 bytes over 64 kept connections.
    Http,
}

/// What it can be done on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum Peer {
    Glommio,
    Monoio,
    Compio,
    TokioUring,
    Kimojio,
    Tokio,
    TokioSpawnBlocking,
    TokioFs,
    HyperTokio,
}

/// How a runtime does a case.
#[derive(Clone, Copy, Debug)]
enum Work {
    Tasks(fn(&Job) -> Result<Done, Failure>),
    Read(fn(&Arc<Crowd>) -> Result<Done, Failure>),
    /// Serves as many connections of the listener as there are clients, until all are closed.
    Serve(fn(TcpListener) -> Outcome),
}

/// A case on a runtime.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) case: Case,
    pub(crate) peer: Peer,
    work: Work,
}

/// What became of a round.
#[derive(Debug)]
pub(crate) enum Round {
    Done(Done),
    /// This machine refuses what the runtime needs.
    Refused(String),
    /// This machine lacks what the case needs.
    Absent(String),
}

const fn tasks(case: Case, peer: Peer, work: fn(&Job) -> Result<Done, Failure>) -> Entry {
    Entry {
        case,
        peer,
        work: Work::Tasks(work),
    }
}

const fn read(case: Case, peer: Peer, work: fn(&Arc<Crowd>) -> Result<Done, Failure>) -> Entry {
    Entry {
        case,
        peer,
        work: Work::Read(work),
    }
}

const fn serve(peer: Peer, work: fn(TcpListener) -> Outcome) -> Entry {
    Entry {
        case: Case::Http,
        peer,
        work: Work::Serve(work),
    }
}

/// All there is: another core wakes a task of monoio in the one program, and the other has the rest.
pub(crate) const TABLE: &[Entry] = if cfg!(feature = "monoio-sync") {
    MONOIO_SYNC
} else {
    ALL
};

#[cfg(not(feature = "monoio-sync"))]
const MONOIO_SYNC: &[Entry] = &[];

#[cfg(feature = "monoio-sync")]
const MONOIO_SYNC: &[Entry] = &[
    tasks(Case::CrossCore, Peer::Monoio, monoio::cross_core),
    tasks(Case::Stream, Peer::Monoio, monoio::stream),
];

const ALL: &[Entry] = &[
    read(Case::ReadCached, Peer::Monoio, monoio::read),
    read(Case::ReadCached, Peer::Kimojio, kimojio::read),
    read(Case::ReadCached, Peer::TokioUring, tokio_uring::read),
    read(Case::ReadCached, Peer::Compio, compio::read),
    read(Case::ReadCached, Peer::Glommio, glommio::read),
    read(
        Case::ReadCached,
        Peer::TokioSpawnBlocking,
        tokio_files::read_by_spawn_blocking,
    ),
    read(Case::ReadCached, Peer::TokioFs, tokio_files::read_by_fs),
    read(Case::ReadDirect, Peer::Monoio, monoio::read),
    read(Case::ReadDirect, Peer::Kimojio, kimojio::read),
    read(Case::ReadDirect, Peer::TokioUring, tokio_uring::read),
    read(Case::ReadDirect, Peer::Compio, compio::read),
    read(Case::ReadDirect, Peer::Glommio, glommio::read),
    read(
        Case::ReadDirect,
        Peer::TokioSpawnBlocking,
        tokio_files::read_by_spawn_blocking,
    ),
    read(Case::Read128k, Peer::Monoio, monoio::read),
    read(Case::Read128k, Peer::Kimojio, kimojio::read),
    read(Case::Read128k, Peer::TokioUring, tokio_uring::read),
    read(Case::Read128k, Peer::Compio, compio::read),
    read(Case::Read128k, Peer::Glommio, glommio::read),
    read(
        Case::Read128k,
        Peer::TokioSpawnBlocking,
        tokio_files::read_by_spawn_blocking,
    ),
    read(Case::Read128k, Peer::TokioFs, tokio_files::read_by_fs),
    read(Case::Read128kDirect, Peer::Monoio, monoio::read),
    read(Case::Read128kDirect, Peer::Kimojio, kimojio::read),
    read(Case::Read128kDirect, Peer::TokioUring, tokio_uring::read),
    read(Case::Read128kDirect, Peer::Compio, compio::read),
    read(Case::Read128kDirect, Peer::Glommio, glommio::read),
    read(
        Case::Read128kDirect,
        Peer::TokioSpawnBlocking,
        tokio_files::read_by_spawn_blocking,
    ),
    read(Case::Lore4k, Peer::Monoio, monoio::read),
    read(Case::Lore4k, Peer::Kimojio, kimojio::read),
    read(Case::Lore4k, Peer::TokioUring, tokio_uring::read),
    read(Case::Lore4k, Peer::Compio, compio::read),
    read(Case::Lore4k, Peer::Glommio, glommio::read),
    read(
        Case::Lore4k,
        Peer::TokioSpawnBlocking,
        tokio_files::read_by_spawn_blocking,
    ),
    read(Case::Lore4k, Peer::TokioFs, tokio_files::read_by_fs),
    read(Case::Lore64k, Peer::Monoio, monoio::read),
    read(Case::Lore64k, Peer::Kimojio, kimojio::read),
    read(Case::Lore64k, Peer::TokioUring, tokio_uring::read),
    read(Case::Lore64k, Peer::Compio, compio::read),
    read(Case::Lore64k, Peer::Glommio, glommio::read),
    read(
        Case::Lore64k,
        Peer::TokioSpawnBlocking,
        tokio_files::read_by_spawn_blocking,
    ),
    read(Case::Lore64k, Peer::TokioFs, tokio_files::read_by_fs),
    tasks(Case::Spawn, Peer::Monoio, monoio::spawn),
    tasks(Case::Spawn, Peer::Glommio, glommio::spawn),
    tasks(Case::Spawn, Peer::Compio, compio::spawn),
    tasks(Case::Spawn, Peer::Kimojio, kimojio::spawn),
    tasks(Case::Spawn, Peer::TokioUring, tokio_uring::spawn),
    tasks(Case::Spawn, Peer::Tokio, tokio::spawn),
    tasks(Case::Yield, Peer::Kimojio, kimojio::yields),
    tasks(Case::Yield, Peer::Monoio, monoio::yields),
    tasks(Case::Yield, Peer::Glommio, glommio::yields),
    tasks(Case::Yield, Peer::Compio, compio::yields),
    tasks(Case::Yield, Peer::TokioUring, tokio_uring::yields),
    tasks(Case::Yield, Peer::Tokio, tokio::yields),
    tasks(Case::CrossCore, Peer::TokioUring, tokio_uring::cross_core),
    tasks(Case::CrossCore, Peer::Tokio, tokio::cross_core),
    tasks(Case::CrossCore, Peer::Compio, compio::cross_core),
    tasks(Case::CrossCore, Peer::Glommio, glommio::cross_core),
    tasks(Case::CrossCore, Peer::Kimojio, kimojio::cross_core),
    tasks(Case::Stream, Peer::Glommio, glommio::stream),
    tasks(Case::Stream, Peer::Tokio, tokio::stream),
    tasks(Case::Stream, Peer::Compio, compio::stream),
    tasks(Case::Stream, Peer::TokioUring, tokio_uring::stream),
    tasks(Case::TimersCancel, Peer::Tokio, tokio::timers_cancel),
    tasks(Case::TimersCancel, Peer::Monoio, monoio::timers_cancel),
    tasks(Case::TimersCancel, Peer::Compio, compio::timers_cancel),
    tasks(Case::TimersCancel, Peer::Glommio, glommio::timers_cancel),
    tasks(Case::TimersFire, Peer::Tokio, tokio::timers_fire),
    tasks(Case::TimersFire, Peer::Monoio, monoio::timers_fire),
    tasks(Case::TimersFire, Peer::Compio, compio::timers_fire),
    tasks(Case::TimersFire, Peer::Glommio, glommio::timers_fire),
    serve(Peer::Tokio, http::tokio::serve),
    serve(Peer::HyperTokio, http::hyper_tokio::serve),
    serve(Peer::Monoio, http::monoio::serve),
];

impl Case {
    /// As it is called on the command line.
    pub(crate) fn name(self) -> String {
        name_of(&self)
    }

    /// Operations of a round, when nothing else is asked for.
    fn ops(self) -> u64 {
        match self {
            Self::ReadCached | Self::Lore64k => 64_000,
            Self::ReadDirect => 16_000,
            Self::Read128k | Self::Read128kDirect => 32_000,
            Self::Lore4k => 512_000,
            Self::Spawn => 200_000,
            Self::Yield => 500_000,
            Self::CrossCore => 5_000,
            Self::Stream => 500_000,
            Self::TimersCancel | Self::TimersFire => 100_000,
            Self::Http => 60_000,
        }
    }

    /// Readers, and bytes of a read; on all cores or on one; past the page cache or not.
    fn reads(self) -> Option<(u64, usize, bool, bool)> {
        Some(match self {
            Self::ReadCached => (32, 4 << 10, false, false),
            Self::ReadDirect => (32, 4 << 10, false, true),
            Self::Read128k => (32, 128 << 10, true, false),
            Self::Read128kDirect => (32, 128 << 10, true, true),
            Self::Lore4k => (128, 4 << 10, true, false),
            Self::Lore64k => (64, 64 << 10, true, false),
            _ => return None,
        })
    }

    /// What a round of tasks must give as its check.
    fn expected(self, ops: u64) -> u64 {
        match self {
            Self::Spawn => ops / TASKS * (0..TASKS).sum::<u64>(),
            Self::CrossCore => (1..=ops).sum(),
            Self::Stream => (0..ops).sum(),
            _ => ops,
        }
    }
}

impl Peer {
    pub(crate) fn name(self) -> String {
        name_of(&self)
    }

    /// The version that was built, which the manifest pins.
    pub(crate) fn version(self) -> &'static str {
        let package = match self {
            Self::Glommio => "glommio",
            Self::Monoio => "monoio",
            Self::Compio => "compio",
            Self::TokioUring => "tokio-uring",
            Self::Kimojio => "kimojio",
            Self::Tokio | Self::TokioSpawnBlocking | Self::TokioFs => "tokio",
            Self::HyperTokio => "hyper",
        };
        pinned(package).unwrap_or("unknown")
    }

    /// How much less it is asked to do than others, as it is that much slower.
    fn share(self) -> u64 {
        match self {
            Self::TokioSpawnBlocking | Self::TokioFs => 4,
            _ => 1,
        }
    }

    fn needs_ring(self) -> bool {
        match self {
            Self::Glommio | Self::Monoio | Self::Compio | Self::TokioUring | Self::Kimojio => true,
            Self::Tokio | Self::TokioSpawnBlocking | Self::TokioFs | Self::HyperTokio => false,
        }
    }
}

impl Entry {
    /// A case on a runtime, where there is that.
    pub(crate) fn find(case: Case, peer: Peer) -> Option<&'static Self> {
        TABLE.iter().find(|it| it.case == case && it.peer == peer)
    }

    /// Does a round and checks it.
    pub(crate) fn run(&self, options: &Options) -> Result<Round, Failure> {
        if self.peer.needs_ring()
            && let Some(why) = ring_refused()?
        {
            return Ok(Round::Refused(why));
        }
        let cores = Cores::of_process(options.core)?;
        let pair = match (self.case, cores.pair()) {
            (Case::CrossCore | Case::Stream | Case::Http, None) => {
                return Ok(Round::Absent(
                    "this process may use one core only".to_owned(),
                ));
            }
            (_, None) => [cores.measured(); 2],
            (_, Some(pair)) => pair,
        };
        let ops = options.ops.unwrap_or(self.case.ops() / self.peer.share());
        // A runtime that panics, as some do where a system call fails, is a failed round.
        let done = thread::scope(|scope| {
            let round = scope.spawn(|| match self.work {
                Work::Read(work) => self.read(work, options, &cores, ops),
                Work::Tasks(work) => self.tasks(work, pair, ops),
                Work::Serve(work) => http::round(pair, ops, work),
            });
            round
                .join()
                .unwrap_or_else(|_| Err("the runtime panicked".into()))
        });
        Ok(Round::Done(done?))
    }

    fn tasks(
        &self,
        work: fn(&Job) -> Result<Done, Failure>,
        cores: [core_affinity::CoreId; 2],
        ops: u64,
    ) -> Result<Done, Failure> {
        let ops = match self.case {
            Case::Spawn | Case::Yield => ops.next_multiple_of(TASKS),
            _ => ops,
        };
        if !matches!(self.case, Case::CrossCore | Case::Stream) {
            pin(cores[0])?;
        }
        let done = work(&Job {
            warm_up: (ops / 4).next_multiple_of(TASKS),
            ops,
            cores,
        })?;
        check(done, self.case.expected(ops))
    }

    fn read(
        &self,
        work: fn(&Arc<Crowd>) -> Result<Done, Failure>,
        options: &Options,
        cores: &Cores,
        ops: u64,
    ) -> Result<Done, Failure> {
        let reads = self.case.reads().ok_or("not a case that reads")?;
        let (readers, read_len, on_all, direct) = reads;
        let content = Content::prepare(options.file.as_deref(), false)?;
        let loose = match self.case {
            Case::Lore4k | Case::Lore64k => Some(Loose::make(&content.path, FILES, FILES_LEN)?),
            _ => None,
        };
        let (paths, file_len, len) = match &loose {
            Some(loose) => (loose.paths.clone(), loose.file_len, FILES_LEN),
            None => (vec![content.path.clone()], FILE_LEN, FILE_LEN),
        };
        let reads = ops.div_ceil(readers);
        let measured = [cores.measured()];
        let crowd = Arc::new(Crowd {
            paths,
            file_len,
            direct,
            span: Span { len, read_len },
            readers,
            warm_up: reads.div_ceil(4),
            reads,
            cores: if on_all { cores.all() } else { &measured }.to_vec(),
        });
        let expected = crowd.expected();
        check(work(&crowd)?, expected)
    }
}

fn check(done: Done, expected: u64) -> Result<Done, Failure> {
    if done.check == expected {
        return Ok(done);
    }
    Err(format!("the check gives {:#x} instead of {expected:#x}", done.check).into())
}

fn name_of(value: &impl ValueEnum) -> String {
    let value = value.to_possible_value().expect("no value is skipped");
    value.get_name().to_owned()
}

/// The version in the line of the manifest that pins a package.
fn pinned(package: &str) -> Option<&'static str> {
    include_str!("../Cargo.toml").lines().find_map(|line| {
        let (name, rest) = line.split_once(" = ")?;
        let version = rest.split_once("\"=")?.1.split_once('"')?.0;
        (name == package).then_some(version)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_peer_is_pinned_to_an_exact_version() {
        for peer in Peer::value_variants() {
            let version = peer.version();
            assert_eq!(version.split('.').count(), 3, "{peer:?}: {version}");
        }
    }

    #[test]
    fn no_case_is_on_a_runtime_twice() {
        for (index, entry) in ALL.iter().enumerate() {
            let same = |other: &&Entry| other.case == entry.case && other.peer == entry.peer;
            assert_eq!(ALL.iter().position(|other| same(&other)), Some(index));
        }
    }

    #[test]
    fn a_wrong_check_is_an_error() {
        let sample = crate::measure::Timer::start().stop(1);
        let done = Done { sample, check: 1 };
        assert!(check(done, 1).is_ok());
        assert!(check(done, 2).is_err());
    }
}
