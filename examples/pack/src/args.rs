//! The command line.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use blobio::pack::chunked::{BuildOptions, Compression, ContentHash};
use clap::{Parser, Subcommand, ValueEnum};

use crate::failure::Failure;
use crate::units;

const EXIT_CODES: &str = "\
Exit codes:
  0    done; also when whoever reads the output wants no more of it
  1    something cannot be read, written or found, or `verify` found a defect
  2    the command line is wrong
  130  stopped by SIGINT, 143 by SIGTERM

Lengths are in bytes, or with a suffix K, M or G in powers of 1024: 64K, 1M.";

/// Makes, lists, reads, checks and measures pack files.
///
/// A pack holds many files in one: found by path or by the BLAKE3 hash of their content, each
/// content once, cut into blocks that are compressed and checksummed one by one.
#[derive(Debug, Parser)]
#[command(name = "pack", version, after_help = EXIT_CODES)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Build(BuildArgs),
    Ls(ListArgs),
    Cat(CatArgs),
    Verify(VerifyArgs),
    Bench(BenchArgs),
}

/// Makes a pack of folders and zip archives.
///
/// An entry's path is the path below the folder, or the name in the archive. Folders are taken in
/// the order of the bytes of their paths and archives in their own, so the same inputs and options
/// give the same bytes, whatever the number of threads. Two inputs that give the same path are an
/// error.
///
/// A symbolic link to a file below the same folder is taken as that file. What cannot be an entry
/// is an error, or left out with --skip: other links, FIFOs, sockets and devices; names that are
/// not UTF-8, longer than 1024 bytes, or with an empty component, `.`, `..` or NUL in them;
/// encrypted and unsupported entries of archives. Folders themselves are not kept, so empty ones
/// are not in the pack.
///
/// The pack grows under a hidden name beside FILE and takes its place once it is complete and on
/// the disk. When building fails, or SIGINT or SIGTERM stops it, FILE is as it was before.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct BuildArgs {
    /// Folders and zip/pk3 archives
    #[arg(required = true, value_name = "DIR|ZIP")]
    pub(crate) inputs: Vec<PathBuf>,

    /// Where the pack goes; a file of that name is replaced
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: PathBuf,

    /// How blocks are compressed; those that hardly shrink are stored as they are
    #[arg(long, value_enum, default_value_t = CodecArg::Zstd)]
    pub(crate) codec: CodecArg,

    /// Level of zstd, 1 (fast) to 22 (small) [default: 9]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=22))]
    pub(crate) level: Option<i32>,

    /// Length of a block: 64K, 128K or 256K; what is read, checked and decompressed at a time
    #[arg(long, value_name = "LEN", default_value = "64K", value_parser = block_len)]
    pub(crate) block_len: u32,

    /// What contents are aligned to, a power of two up to 64K; 4K for direct reads and mapping
    #[arg(long, value_name = "LEN", default_value = "1", value_parser = align)]
    pub(crate) align: u32,

    /// Threads that compress [default: one per core]
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<NonZeroUsize>,

    /// Leave out what cannot be an entry, with a line on standard error for each
    #[arg(long)]
    pub(crate) skip: bool,

    /// Print nothing but errors
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// Lists the entries of a pack by path.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct ListArgs {
    /// The pack
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,

    /// Before each path, print the hash, the length, and `plain` where the content lies in the
    /// pack as it is, or `blocks` where it does not
    #[arg(short, long)]
    pub(crate) long: bool,

    /// End lines with NUL, and print control characters of paths as they are; otherwise they are
    /// escaped
    #[arg(short = '0', long)]
    pub(crate) null: bool,
}

/// Writes an entry, or a range of it, to standard output.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct CatArgs {
    /// The pack
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,

    /// The path of the entry
    #[arg(
        value_name = "PATH",
        required_unless_present = "hash",
        conflicts_with = "hash"
    )]
    pub(crate) path: Option<String>,

    /// The BLAKE3 hash of the content, 64 hexadecimal digits, instead of a path
    #[arg(long, value_name = "BLAKE3", value_parser = hash)]
    pub(crate) hash: Option<ContentHash>,

    /// Bytes to write, counted from 0, both ends included, as HTTP has it: A-B, A- or -N for the
    /// last N. One that begins past the end is an error
    #[arg(long, value_name = "A-B", allow_hyphen_values = true, value_parser = units::parse_range)]
    pub(crate) range: Option<units::Range>,
}

/// Checks a pack: every page, every block by its checksum, every content by its hash.
///
/// Each defect is a line on standard error that names the entry and the position.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct VerifyArgs {
    /// The pack
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,

    /// Print nothing but defects
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// Measures reads of random ranges, through the page cache as it is.
///
/// Positions are spread evenly over all bytes of the different contents. Each read checks and
/// decompresses the blocks that it touches; nothing is kept from one to the next.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct BenchArgs {
    /// The pack
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,

    /// Threads that read
    #[arg(long, value_name = "N", default_value = "1")]
    pub(crate) threads: NonZeroUsize,

    /// Length of a range; a content that is shorter is read whole
    #[arg(long, value_name = "LEN", default_value = "64K", value_parser = range_len)]
    pub(crate) len: usize,

    /// How long to read
    #[arg(long, value_name = "SECONDS", default_value = "5",
          value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub(crate) seconds: u32,

    /// Where the random numbers begin; the same ones choose the same ranges
    #[arg(long, value_name = "N", default_value = "1")]
    pub(crate) seed: u64,
}

/// How blocks are compressed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum CodecArg {
    /// Not at all: contents can be read, sent and mapped in place
    None,
    /// lz4: little gain at little cost
    Lz4,
    /// zstd
    Zstd,
}

impl BuildArgs {
    pub(crate) fn options(&self) -> Result<BuildOptions, Failure> {
        let compression = match (self.codec, self.level) {
            (CodecArg::Zstd, level) => Compression::Zstd(level.unwrap_or(BuildOptions::ZSTD_LEVEL)),
            (_, Some(_)) => return Err(Failure::Usage("--level is for --codec zstd".to_owned())),
            (CodecArg::Lz4, None) => Compression::Lz4,
            (CodecArg::None, None) => Compression::None,
        };
        let mut options = BuildOptions {
            compression,
            block_len: self.block_len,
            align: self.align,
            ..BuildOptions::default()
        };
        if let Some(threads) = self.threads {
            options.threads = threads;
        }
        Ok(options)
    }
}

fn block_len(text: &str) -> Result<u32, String> {
    match units::parse_len(text)? {
        len @ (0x1_0000 | 0x2_0000 | 0x4_0000) => Ok(u32::try_from(len).expect("one of the three")),
        _ => Err("it must be 64K, 128K or 256K".to_owned()),
    }
}

fn align(text: &str) -> Result<u32, String> {
    let len = u32::try_from(units::parse_len(text)?).unwrap_or(u32::MAX);
    if len.is_power_of_two() && len <= 64 << 10 {
        Ok(len)
    } else {
        Err("it must be a power of two, 64K at most".to_owned())
    }
}

fn range_len(text: &str) -> Result<usize, String> {
    match usize::try_from(units::parse_len(text)?) {
        Ok(len @ 1..=0x4000_0000) => Ok(len),
        _ => Err("it must be from 1 to 1G".to_owned()),
    }
}

fn hash(text: &str) -> Result<ContentHash, String> {
    text.parse()
        .map_err(|e: blobio::pack::chunked::ParseHashError| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::{Args, Command};
    use clap::{CommandFactory as _, Parser as _};

    #[test]
    fn the_definition_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn mistakes_name_the_argument() {
        let hash = format!("--hash {}", "g".repeat(64));
        for (line, named) in [
            ("", "Usage"),
            ("build", "--output"),
            ("build -o x", "DIR|ZIP"),
            ("build a -o x --codec gzip", "gzip"),
            ("build a -o x --level 23", "--level"),
            ("build a -o x --block-len 32K", "256K"),
            ("build a -o x --align 3", "power of two"),
            ("build a -o x --align 128K", "power of two"),
            ("build a -o x --threads 0", "--threads"),
            ("cat x", "PATH"),
            ("cat x p --hash 00", "--hash"),
            (&format!("cat x {hash}"), "64 hexadecimal"),
            ("cat x p --range 5", "--range"),
            ("cat x p --range 5-4", "--range"),
            ("bench x --len 0", "--len"),
            ("bench x --seconds 0", "--seconds"),
        ] {
            let words = ["pack"].into_iter().chain(line.split_whitespace());
            let said = Args::try_parse_from(words).unwrap_err();
            assert!(said.exit_code() == 2, "{line}");
            assert!(said.to_string().contains(named), "{line}: {said}");
        }
    }

    #[test]
    fn a_level_is_for_zstd() {
        let options = |line: &str| {
            let words = ["pack", "build", "a", "-o", "x"].into_iter();
            let args = Args::try_parse_from(words.chain(line.split_whitespace())).unwrap();
            let Command::Build(args) = args.command else {
                panic!("{line}")
            };
            args.options()
        };
        assert!(options("--codec zstd --level 3").is_ok());
        assert!(options("--codec lz4").is_ok());
        assert_eq!(options("--codec lz4 --level 3").unwrap_err().exit_code(), 2);
        assert_eq!(
            options("--codec none --level 3").unwrap_err().exit_code(),
            2
        );
    }
}
