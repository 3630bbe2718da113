//! The pack that is served when no root is given: procedural textures, meshes and sounds.
//!
//! Its contents are computed with integers from a fixed seed, so that every machine makes the same
//! bytes.

mod content;
mod mesh;
mod rng;
mod sound;
mod texture;
mod zip;

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

pub use content::{Asset, assets};

/// The name of the pack; the number counts changes of its contents.
pub const FILE_NAME: &str = "demo-1.zip";

/// Returns where the pack lies, from the values of `XDG_CACHE_HOME` and `HOME`: in a folder of the
/// project below the user's cache. As the XDG specification has it, a relative path counts as unset.
pub fn cache_folder(xdg_cache_home: Option<OsString>, home: Option<OsString>) -> Option<PathBuf> {
    let absolute = |value: Option<OsString>| value.map(PathBuf::from).filter(|p| p.is_absolute());
    absolute(xdg_cache_home)
        .or_else(|| absolute(home).map(|home| home.join(".cache")))
        .map(|cache| cache.join("corelane"))
}

/// Returns the path of the pack in `folder`, having made it if it is not there.
///
/// It appears under its name only when it is complete; two servers that start at once each make
/// it, and the same bytes replace the same bytes.
///
/// # Errors
/// Whatever making the folder or writing the file gives.
pub fn ensure(folder: &Path) -> io::Result<PathBuf> {
    let path = folder.join(FILE_NAME);
    if path.is_file() {
        return Ok(path);
    }
    fs::create_dir_all(folder)?;
    let temporary = folder.join(format!(".{FILE_NAME}.{}", std::process::id()));
    let written = write_synced(&temporary).and_then(|()| fs::rename(&temporary, &path));
    if written.is_err() {
        // Best effort: the error that matters is the first one.
        let _ = fs::remove_file(&temporary);
    }
    written.map(|()| path)
}

/// Makes the pack in memory.
///
/// # Errors
/// None is expected: [`io::Error`] is what the compressor's interface has.
pub fn pack() -> io::Result<Vec<u8>> {
    archive(assets())
}

/// Makes a zip archive in memory.
///
/// # Errors
/// [`io::ErrorKind::InvalidInput`], or a like one, when it would be longer than 4 GiB.
pub fn archive(assets: impl IntoIterator<Item = Asset>) -> io::Result<Vec<u8>> {
    let mut writer = zip::Writer::default();
    for asset in assets {
        writer.add(&asset.name, &asset.bytes, asset.is_deflated)?;
    }
    writer.finish()
}

fn write_synced(path: &Path) -> io::Result<()> {
    let bytes = pack()?;
    let mut file = fs::File::create(path)?;
    file.write_all(&bytes)?;
    file.sync_all()
}
