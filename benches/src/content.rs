//! The file that is read: each word says where it is, so that every read can be checked.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::{Failure, Outcome};

/// Bytes of the file.
pub(crate) const FILE_LEN: u64 = 1 << 30;
const WORD_LEN: u64 = 8;

/// A file that is there for the time of a measurement.
#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) path: PathBuf,
    remove: bool,
}

impl Content {
    /// Makes the file where it is missing, and brings it into the page cache.
    ///
    /// A file with other content is left alone, and an error.
    pub(crate) fn prepare(path: Option<&Path>, remove: bool) -> Result<Self, Failure> {
        let path = path.map_or_else(default_path, Path::to_owned);
        // Removed only once it is known to be one of these benches'.
        let mut content = Self {
            path,
            remove: false,
        };
        match fs::metadata(&content.path) {
            Ok(found) if found.len() == FILE_LEN => {}
            Ok(_) => {
                return Err(format!("{} has other content", content.path.display()).into());
            }
            Err(_) => content.write()?,
        }
        content.warm()?;
        content.remove = remove;
        Ok(content)
    }

    fn write(&self) -> Result<(), Failure> {
        println!("making {} ({} MiB)", self.path.display(), FILE_LEN >> 20);
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder)?;
        }
        // Under its name only when whole, so that a run cut short leaves no half of it.
        let part = self.path.with_extension("part");
        let mut out = BufWriter::with_capacity(1 << 20, File::create(&part)?);
        for at in (0..FILE_LEN).step_by(8) {
            out.write_all(&word_at(at).to_le_bytes())?;
        }
        // Written back now, not in the middle of a round.
        out.into_inner()?.sync_all()?;
        fs::rename(part, &self.path)?;
        Ok(())
    }

    /// Reads all of it, and checks every word.
    pub(crate) fn warm(&self) -> Result<(), Failure> {
        let file = File::open(&self.path)?;
        let mut chunk = vec![0; 1 << 20];
        for at in (0..FILE_LEN).step_by(1 << 20) {
            file.read_exact_at(&mut chunk, at)?;
            if !is_content(&chunk, at) {
                return Err(format!("{} has other content", self.path.display()).into());
            }
        }
        Ok(())
    }
}

impl Drop for Content {
    fn drop(&mut self) {
        if self.remove
            && let Err(error) = fs::remove_file(&self.path)
        {
            eprintln!("benches: {} is left: {error}", self.path.display());
        }
    }
}

fn default_path() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let folder = cache.or_else(home).unwrap_or_else(std::env::temp_dir);
    folder.join("corelane-benches").join("read_cached.bin")
}

/// The word at a position that is a multiple of eight (splitmix64 of the position).
fn word_at(at: u64) -> u64 {
    let mut word = (at / WORD_LEN).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// Says whether `bytes` is what the file holds from `at` on.
pub(crate) fn is_content(bytes: &[u8], at: u64) -> bool {
    bytes
        .chunks_exact(8)
        .zip((at..).step_by(8))
        .all(|(bytes, at)| bytes == word_at(at).to_le_bytes())
}

/// What is checked of a read while time is taken: its first and last word. A check of all bytes
/// would take longer than the read.
pub(crate) fn check_sum(bytes: &[u8]) -> u64 {
    let word = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
    word(&bytes[..8]).wrapping_add(word(&bytes[bytes.len() - 8..]).rotate_left(1))
}

/// What [`check_sum`] of the `len` bytes at `at` must be.
pub(crate) fn expected_sum(at: u64, len: usize) -> u64 {
    word_at(at).wrapping_add(word_at(at + len as u64 - WORD_LEN).rotate_left(1))
}

/// Which part of the content is read, and in which pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// Bytes from the beginning of the content on.
    pub(crate) len: u64,
    /// Bytes of one read.
    pub(crate) read_len: usize,
}

/// The positions that one reader reads at, in order: those of one `seed` are always the same.
#[derive(Clone, Debug)]
pub(crate) struct Positions {
    state: u64,
    read_len: u64,
    /// Places of a read, a power of two, less one.
    mask: u64,
}

impl Positions {
    pub(crate) fn new(seed: u64, span: Span) -> Self {
        let read_len = span.read_len as u64;
        let places = span.len / read_len;
        // A division would be a part of what a read costs.
        assert!(places.is_power_of_two(), "{places} places for a read");
        Self {
            state: word_at((seed + 1) * 8) | 1,
            read_len,
            mask: places - 1,
        }
    }

    /// The next position, a multiple of the length of a read (xorshift64).
    pub(crate) fn next(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        ((self.state >> 20) & self.mask) * self.read_len
    }

    /// The sum of the checks of `reads` reads by each of `readers`.
    pub(crate) fn expected(readers: u64, reads: u64, span: Span) -> u64 {
        let mut sum = 0_u64;
        for seed in 0..readers {
            let mut positions = Self::new(seed, span);
            for _ in 0..reads {
                sum = sum.wrapping_add(expected_sum(positions.next(), span.read_len));
            }
        }
        sum
    }
}

/// Says what is wrong where the checks of all reads do not sum up to what they must.
pub(crate) fn check(expected: u64, got: u64) -> Outcome {
    if expected == got {
        return Ok(());
    }
    Err(format!("the reads sum up to {got:#x} instead of {expected:#x}").into())
}

/// The content from its beginning on, in files of equal length.
#[derive(Debug)]
pub(crate) struct Corpus {
    files: Vec<File>,
    file_len: u64,
}

impl Corpus {
    /// Opens the files, past the page cache where `direct` says so.
    pub(crate) fn open(paths: &[PathBuf], file_len: u64, direct: bool) -> Result<Self, Failure> {
        let flags = if direct { libc::O_DIRECT } else { 0 };
        let open = |path: &PathBuf| {
            let file = OpenOptions::new().read(true).custom_flags(flags).open(path);
            file.map_err(|error| Failure::from(format!("{}: {error}", path.display())))
        };
        Ok(Self {
            files: paths.iter().map(open).collect::<Result<_, _>>()?,
            file_len,
        })
    }

    /// The number of the file that the content's byte `at` is in, and where in it.
    pub(crate) fn place(&self, at: u64) -> (usize, u64) {
        let file = usize::try_from(at / self.file_len).expect("the number of a file");
        (file, at % self.file_len)
    }

    /// A file by its number.
    pub(crate) fn file(&self, number: usize) -> &File {
        &self.files[number]
    }

    /// All of them, in order.
    pub(crate) fn descriptors(&self) -> Vec<RawFd> {
        self.files.iter().map(AsRawFd::as_raw_fd).collect()
    }

    /// Reads what the content has from `at` on.
    pub(crate) fn read_exact_at(&self, buf: &mut [u8], at: u64) -> io::Result<()> {
        let (number, pos) = self.place(at);
        self.file(number).read_exact_at(buf, pos)
    }
}

/// Bytes of one write, of which the length of a file is a multiple or which are one.
const CHUNK_LEN: u64 = 16 << 20;

/// Files that hold the content together, from its beginning on; removed afterwards.
#[derive(Debug)]
pub(crate) struct Loose {
    _folder: TempDir,
    pub(crate) paths: Vec<PathBuf>,
    pub(crate) file_len: u64,
}

impl Loose {
    /// Makes `files` files beside the content, for `len` bytes of it.
    pub(crate) fn make(whole: &Path, files: u64, len: u64) -> Result<Self, Failure> {
        let beside = whole.parent().ok_or("the content is in no folder")?;
        let folder = tempfile::Builder::new()
            .prefix("loose")
            .tempdir_in(beside)?;
        let whole = File::open(whole)?;
        let file_len = len / files;
        let mut chunk = vec![0; usize::try_from(file_len.min(CHUNK_LEN))?];
        let mut paths = Vec::new();
        for number in 0..files {
            let path = folder.path().join(format!("{number:02}.bin"));
            let mut file = File::create(&path)?;
            for at in (0..file_len).step_by(chunk.len()) {
                whole.read_exact_at(&mut chunk, number * file_len + at)?;
                file.write_all(&chunk)?;
            }
            // Written back now, not in the middle of a round.
            file.sync_all()?;
            paths.push(path);
        }
        Ok(Self {
            _folder: folder,
            paths,
            file_len,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_from_another_place_is_noticed() {
        let bytes: Vec<u8> = (4096..8192)
            .step_by(8)
            .flat_map(|at| word_at(at).to_le_bytes())
            .collect();
        assert!(is_content(&bytes, 4096) && !is_content(&bytes, 0));
        assert_eq!(check_sum(&bytes), expected_sum(4096, 4096));
        assert_ne!(check_sum(&bytes), expected_sum(8192, 4096));
    }

    #[test]
    fn positions_are_repeatable_aligned_and_inside() {
        let span = Span {
            len: 256 << 20,
            read_len: 64 << 10,
        };
        let (mut one, mut two) = (Positions::new(3, span), Positions::new(3, span));
        for _ in 0..1000 {
            let at = one.next();
            assert_eq!(at, two.next());
            assert!(at % (64 << 10) == 0 && at < span.len);
        }
    }
}
