//! The files that both servers have.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

use blobio::pack::chunked::{BuildOptions, Compression, PackBuilder};
use tempfile::TempDir;

use crate::Failure;
use crate::client::Asked;

/// Files of each length.
const FILES: usize = 16;
const LENS: [usize; 3] = [4 << 10, 64 << 10, 1 << 20];
/// The file that ranges are taken from; ours has it in a pack.
const LARGE: &str = "large.bin";
const LARGE_LEN: usize = 64 << 20;
/// Ranges that are asked for, in turn.
const RANGES: usize = 64;

/// A folder with `root`, which nginx serves, and `large.clpk`.
#[derive(Debug)]
pub(super) struct Files {
    folder: TempDir,
}

impl Files {
    /// Cuts them out of the content, in a folder beside it.
    pub(super) fn make(content: &Path) -> Result<Self, Failure> {
        let beside = content.parent().ok_or("the content is in no folder")?;
        let files = Self {
            folder: tempfile::Builder::new()
                .prefix("server")
                .tempdir_in(beside)?,
        };
        // nginx's worker may be another user.
        fs::set_permissions(files.folder(), fs::Permissions::from_mode(0o755))?;
        fs::create_dir(files.root())?;
        let content = File::open(content)?;
        let mut at = 0;
        for len in LENS {
            for number in 0..FILES {
                let mut bytes = vec![0; len];
                content.read_exact_at(&mut bytes, at)?;
                at += len as u64;
                fs::write(files.root().join(name(len, number)), bytes)?;
            }
        }
        let mut large = vec![0; LARGE_LEN];
        content.read_exact_at(&mut large, at)?;
        fs::write(files.root().join(LARGE), &large)?;
        let options = BuildOptions {
            compression: Compression::None,
            ..BuildOptions::default()
        };
        let mut pack = PackBuilder::create(files.pack(), options)?;
        pack.add(LARGE, &large[..])?;
        pack.finish()?;
        Ok(files)
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn root(&self) -> PathBuf {
        self.folder().join("root")
    }

    pub(super) fn pack(&self) -> PathBuf {
        self.folder().join("large.clpk")
    }

    /// Requests for all files of a length.
    pub(super) fn whole(&self, len: usize) -> Result<Vec<Asked>, Failure> {
        let ask = |number| {
            let name = name(len, number);
            let body = fs::read(self.root().join(&name))?;
            Ok(Asked::get(&format!("/{name}"), None, body))
        };
        (0..FILES).map(ask).collect()
    }

    /// Requests for ranges of the large file, none of which begins where a block does.
    pub(super) fn ranges(&self, len: usize) -> Result<Vec<Asked>, Failure> {
        let large = fs::read(self.root().join(LARGE))?;
        let path = format!("/{LARGE}");
        let ask = |number: usize| {
            let begin = (number * 7_919 * 8_191) % (LARGE_LEN - len);
            let range = begin as u64..(begin + len) as u64;
            let body = large[begin..begin + len].to_vec();
            Asked::get(&path, Some(range), body)
        };
        Ok((0..RANGES).map(ask).collect())
    }
}

fn name(len: usize, number: usize) -> String {
    format!("{}k-{number:02}.bin", len >> 10)
}
