//! What the server is given to serve, and what must come back.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use asset_server::demo::{self, Asset as Packed};
use asset_server::path::encode;
use blobio::pack::chunked::{BuildOptions, Compression, PackBuilder};

use crate::rng::Rng;

/// What lies outside of what is served.
pub(crate) const SECRET: &[u8] = b"a secret that is not served";

/// The longest content that counts as small.
pub(crate) const SMALL_MAX: usize = 64 << 10;

/// How long the bombs are when they have gone off; stored they are a thousandth of that.
pub(crate) const BOMB_LEN: usize = 64 << 20;

/// Lengths around those at which the server goes another way, and how many there are of each.
const LENS: [(usize, usize); 9] = [
    (0, 1),
    (1, 1),
    (1_000, 20),
    (12_000, 20),
    (16_385, 4),
    (60_000, 10),
    (65_537, 4),
    (300_000, 4),
    (2_000_000, 1),
];

/// How many states the file has that is replaced.
const STATES: u8 = 26;

/// One thing that can be asked for.
pub(crate) struct Asset {
    pub(crate) path: String,
    pub(crate) bytes: Vec<u8>,
    /// As the first answer had it.
    pub(crate) etag: OnceLock<String>,
}

/// Everything that is served.
pub(crate) struct Assets {
    pub(crate) all: Vec<Asset>,
    /// Those up to [`SMALL_MAX`], by their numbers.
    pub(crate) small: Vec<usize>,
    pub(crate) roots: Vec<PathBuf>,
    replaced: PathBuf,
}

impl Assets {
    /// Makes the roots in a folder.
    pub(crate) fn make(folder: &Path) -> io::Result<Self> {
        fs::write(folder.join("secret"), SECRET)?;
        let mut all = Vec::new();
        let loose = folder.join("loose");
        make_folder(&loose, &mut all)?;
        let mut roots = vec![loose];
        for compression in [Compression::None, Compression::Lz4, Compression::Zstd(3)] {
            let root = folder.join(format!("{compression:?}.clpk"));
            make_pack(&root, compression, roots.len(), &mut all)?;
            roots.push(root);
        }
        roots.push(demo::ensure(folder)?);
        for Packed { name, bytes, .. } in demo::assets() {
            let mut path = "/a/".to_owned();
            encode(name.as_bytes(), &mut path);
            all.push(Asset::new(path, bytes));
        }
        let bombs = folder.join("bombs.zip");
        let zeros = Packed {
            name: "bomb.zip".to_owned(),
            bytes: vec![0; BOMB_LEN],
            is_deflated: true,
        };
        fs::write(&bombs, demo::archive([zeros])?)?;
        roots.push(bombs);
        let is_small = |asset: &Asset| asset.bytes.len() <= SMALL_MAX;
        let small = (0..all.len()).filter(|&number| is_small(&all[number]));
        Ok(Self {
            small: small.collect(),
            replaced: roots[0].join("replaced"),
            all,
            roots,
        })
    }

    /// Replaces a file, as `mv` does, until it is over.
    pub(crate) fn replace_again_and_again(&self, is_over: &AtomicBool) {
        for number in (0..STATES).cycle() {
            if is_over.load(Ordering::Relaxed) {
                return;
            }
            // The disk may be full: then the file stays as it is.
            let _ = replace(&self.replaced, number);
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Asset {
    fn new(path: String, bytes: Vec<u8>) -> Self {
        Self {
            path,
            bytes,
            etag: OnceLock::new(),
        }
    }
}

/// Returns whether these are the bytes of one of the replaced file's states, whole.
pub(crate) fn is_one_state(bytes: &[u8]) -> bool {
    let Some(&first) = bytes.first() else {
        return false;
    };
    let number = first.wrapping_sub(b'a');
    number < STATES && bytes.len() == state_len(number) && bytes.iter().all(|&byte| byte == first)
}

fn state_len(number: u8) -> usize {
    // Some are read behind the head, some are sent from the cache.
    [5_000, 15_000, 40_000, 200_000][usize::from(number % 4)]
}

fn replace(path: &Path, number: u8) -> io::Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, vec![b'a' + number; state_len(number)])?;
    fs::rename(&new, path)
}

fn make_folder(root: &Path, all: &mut Vec<Asset>) -> io::Result<()> {
    fs::create_dir_all(root.join("below"))?;
    for (name, bytes) in contents(0) {
        fs::write(root.join(&name), &bytes)?;
        all.push(Asset::new(format!("/a/{name}"), bytes));
    }
    replace(&root.join("replaced"), 0)?;
    // Longer than any socket holds, and on no disk.
    fs::File::create(root.join("huge"))?.set_len(1 << 30)?;
    symlink("../secret", root.join("link-up"))?;
    symlink("/dev/zero", root.join("link-device"))?;
    symlink("link-loop", root.join("link-loop"))?;
    let made = Command::new("mknod")
        .arg(root.join("pipe"))
        .arg("p")
        .status()?;
    if !made.success() {
        return Err(io::Error::other("mknod cannot make a pipe"));
    }
    Ok(())
}

fn make_pack(
    path: &Path,
    compression: Compression,
    number: usize,
    all: &mut Vec<Asset>,
) -> io::Result<()> {
    let options = BuildOptions {
        compression,
        ..BuildOptions::default()
    };
    let mut builder = PackBuilder::create(path, options).map_err(io::Error::other)?;
    for (name, bytes) in contents(number) {
        builder
            .add(&name, bytes.as_slice())
            .map_err(io::Error::other)?;
        all.push(Asset::new(format!("/a/{name}"), bytes));
    }
    builder.finish().map_err(io::Error::other)?;
    Ok(())
}

/// Contents that compress to about a half, with names that say where they are from.
fn contents(root: usize) -> impl Iterator<Item = (String, Vec<u8>)> {
    let lens = LENS.into_iter().flat_map(|(len, count)| vec![len; count]);
    lens.enumerate().map(move |(number, len)| {
        let mut rng = Rng::new((root * 1000 + number) as u64);
        let bytes = (0..len)
            .map(|_| b"0123456789abcdef"[rng.below(16)])
            .collect();
        (format!("{root}-{number}.bin"), bytes)
    })
}
