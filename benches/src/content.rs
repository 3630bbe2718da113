//! The file that is read: each word says where it is, so that every read can be checked.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::Failure;

/// Bytes of the file.
pub(crate) const FILE_LEN: u64 = 1 << 30;
/// Bytes of one read.
pub(crate) const READ_LEN: usize = 4096;

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

/// What [`check_sum`] of the read at `at` must be.
pub(crate) fn expected_sum(at: u64) -> u64 {
    word_at(at).wrapping_add(word_at(at + READ_LEN as u64 - WORD_LEN).rotate_left(1))
}

/// The positions that one reader reads at, in order: those of one `seed` are always the same.
#[derive(Clone, Debug)]
pub(crate) struct Positions(u64);

impl Positions {
    pub(crate) fn new(seed: u64) -> Self {
        Self(word_at((seed + 1) * 8) | 1)
    }

    /// The next position, a multiple of the length of a read (xorshift64).
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 20) % (FILE_LEN / READ_LEN as u64) * READ_LEN as u64
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
        assert_eq!(check_sum(&bytes), expected_sum(4096));
        assert_ne!(check_sum(&bytes), expected_sum(8192));
    }

    #[test]
    fn positions_are_repeatable_aligned_and_inside() {
        let (mut one, mut two) = (Positions::new(3), Positions::new(3));
        for _ in 0..1000 {
            let at = one.next();
            assert_eq!(at, two.next());
            assert!(at % READ_LEN as u64 == 0 && at < FILE_LEN);
        }
    }
}
