//! The command line.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Parser, ValueEnum};

use crate::http::request::HeadLimits;

/// Most connections that may be allowed.
const CONNECTIONS_MAX: u64 = 60_000;

/// What the program exits with when it cannot start.
pub const EXIT_CANNOT_START: u8 = 2;

/// Serves game assets from folders, zip/pk3 archives and packs over HTTP/1.1.
///
/// What the roots hold is under /a/ by path; what packs hold is also under /cas/ by the BLAKE3 hash
/// of its content, for caches to keep for ever. Packs are trusted to hold what their hashes say:
/// `pack verify` checks it.
#[derive(Debug, Clone, PartialEq, Eq, Parser)]
#[command(name = "asset-server", version)]
pub struct Args {
    /// IP address and port to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080", value_parser = address)]
    pub listen: SocketAddr,

    /// Number of workers, each on a core of its own; not pinned when there are more than cores
    /// [default: one per core]
    #[arg(long, value_name = "N")]
    pub workers: Option<NonZeroUsize>,

    /// How I/O is done
    #[arg(long, value_enum, default_value_t = Backend::Auto)]
    pub backend: Backend,

    /// Most connections open at a time, over all workers, 60000 at most; more are answered 503.
    /// Lowered, with a line on standard error, where the hard limit on file descriptors is too low
    #[arg(long, value_name = "N", default_value = "10000",
          value_parser = clap::value_parser!(u64).range(1..=CONNECTIONS_MAX))]
    pub connections_max: u64,

    /// Most files of folders that each worker keeps open for the next request, 60000 at most; 0
    /// opens a file for each request. What is written to a file, or put in its place, is seen at
    /// once; that a folder above it was replaced, or a file put before it, within a second. What
    /// nobody asks for is closed within 20 seconds. Lowered, like the connections, where descriptors are few
    #[arg(long, value_name = "N", default_value = "1000",
          value_parser = clap::value_parser!(u32).range(0..=60_000))]
    pub open_files: u32,

    /// Most bytes of answers in memory at a time, over all workers: unpacked entries, kept or being
    /// sent, pages, and what is gathered before it is sent. Not in it: what each connection
    /// receives into, what entries are unpacked from, listings while they are made, catalogues of
    /// archives, and the kernel's buffers
    #[arg(long, value_name = "BYTES", default_value = "268435456")]
    pub in_flight_bytes_max: NonZeroU64,

    /// Longest request head in bytes
    #[arg(long, value_name = "BYTES", default_value = "16384",
          value_parser = clap::value_parser!(u32).range(256..=1_048_576))]
    pub head_bytes_max: u32,

    /// Seconds a client has to send a request head
    #[arg(long, value_name = "SECONDS", default_value = "10",
          value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub head_timeout: u32,

    /// Seconds a connection may be idle between requests, or a client may take nothing of an answer;
    /// on the whole it has to take 256 KiB in that time
    #[arg(long, value_name = "SECONDS", default_value = "60",
          value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub idle_timeout: u32,

    /// Seconds that answers under way have to finish when the server is told to stop
    #[arg(long, value_name = "SECONDS", default_value = "10",
          value_parser = clap::value_parser!(u32).range(0..=3600))]
    pub drain_timeout: u32,

    /// Folders, zip/pk3 archives and packs to serve; later ones shadow earlier ones. Without any, a demo
    /// pack is made and served
    #[arg(value_name = "ROOT")]
    pub roots: Vec<PathBuf>,
}

/// How I/O is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Backend {
    /// The best that this system allows: io_uring, or threads where that is refused
    Auto,
    /// io_uring, or not at all
    Uring,
    /// Threads for files, and epoll for sockets
    Threads,
}

/// Why there are no arguments to go on with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// Help or the version was asked for: print this to standard output, exit 0.
    Show(String),
    /// The arguments are wrong: print this line to standard error, exit [`EXIT_CANNOT_START`].
    Wrong(String),
}

impl Args {
    /// Reads a command line, program name included.
    ///
    /// # Errors
    /// [`Stop`], which is not always a failure.
    pub fn from_command_line(
        line: impl IntoIterator<Item = impl Into<OsString> + Clone>,
    ) -> Result<Self, Stop> {
        Self::try_parse_from(line).map_err(|error| match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Stop::Show(error.to_string()),
            _ => Stop::Wrong(one_line(&error.to_string())),
        })
    }

    /// Returns the limits on a request head.
    ///
    /// # Panics
    /// Never on a machine whose pointers have 32 bits or more.
    pub fn head_limits(&self) -> HeadLimits {
        let head_len_max = usize::try_from(self.head_bytes_max).expect("32 bits fit");
        let target_len_max = HeadLimits::default().target_len_max.min(head_len_max);
        HeadLimits {
            head_len_max,
            target_len_max,
        }
    }

    /// Returns how many files each worker keeps open.
    ///
    /// # Panics
    /// Never on a machine whose pointers have 32 bits or more.
    pub fn open_files(&self) -> usize {
        usize::try_from(self.open_files).expect("32 bits fit")
    }

    /// Returns how long a client may take to send a head.
    pub fn head_timeout(&self) -> Duration {
        Duration::from_secs(self.head_timeout.into())
    }

    /// Returns how long a connection may be idle.
    pub fn idle_timeout(&self) -> Duration {
        Duration::from_secs(self.idle_timeout.into())
    }

    /// Returns how long answers under way may take to finish at the end.
    pub fn drain_timeout(&self) -> Duration {
        Duration::from_secs(self.drain_timeout.into())
    }
}

fn address(given: &str) -> Result<SocketAddr, &'static str> {
    given
        .parse()
        .map_err(|_| "it must be an IP address and a port, such as 127.0.0.1:8080 or [::1]:8080")
}

/// Keeps what clap says of the mistake, and leaves out the usage.
fn one_line(message: &str) -> String {
    let said: Vec<_> = message
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"))
        .filter(|line| !line.is_empty())
        .collect();
    let line = said.join(" ");
    line.strip_prefix("error: ").unwrap_or(&line).to_owned()
}

#[cfg(test)]
mod tests {
    use super::{Args, Backend, Stop};

    fn parse(line: &str) -> Result<Args, Stop> {
        Args::from_command_line(["asset-server"].into_iter().chain(line.split_whitespace()))
    }

    #[test]
    fn defaults_and_given_values() {
        let args = parse("").unwrap();
        assert_eq!(args.listen.to_string(), "127.0.0.1:8080");
        assert_eq!((args.workers, args.backend), (None, Backend::Auto));
        assert!(args.roots.is_empty());
        assert_eq!(
            args.head_limits(),
            crate::http::request::HeadLimits::default()
        );

        let line = "--listen [::1]:0 --workers 3 --backend uring --head-bytes-max 512 a b.pk3";
        let args = parse(line).unwrap();
        assert_eq!(args.listen.to_string(), "[::1]:0");
        assert_eq!(args.workers.unwrap().get(), 3);
        assert_eq!(args.backend, Backend::Uring);
        assert_eq!(args.head_limits().target_len_max, 512);
        assert_eq!(args.roots.len(), 2);
    }

    #[test]
    fn mistakes_give_one_line_that_names_them() {
        for (line, named) in [
            ("--listen nowhere", "--listen"),
            ("--listen 8080", "such as 127.0.0.1:8080"),
            ("--connections-max 60001", "1..=60000"),
            ("--workers 0", "--workers"),
            ("--workers many", "many"),
            ("--backend epoll", "uring"),
            ("--head-bytes-max 1", "--head-bytes-max"),
            ("--connections-max 0", "--connections-max"),
            ("--open-files 60001", "0..=60000"),
            ("--bogus", "--bogus"),
            ("--listen", "--listen"),
        ] {
            let Err(Stop::Wrong(said)) = parse(line) else {
                panic!("{line} was taken")
            };
            assert!(
                said.contains(named) && !said.contains('\n'),
                "{line}: {said}"
            );
            assert!(
                !said.contains("Usage") && !said.starts_with("error"),
                "{line}: {said}"
            );
        }
    }

    #[test]
    fn help_and_version_are_no_mistakes() {
        for (line, shown) in [("--help", "ROOT"), ("--version", "asset-server")] {
            let Err(Stop::Show(text)) = parse(line) else {
                panic!("{line}")
            };
            assert!(text.contains(shown), "{text}");
        }
    }
}
