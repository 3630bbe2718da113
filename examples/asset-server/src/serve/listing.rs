//! Lists folders, off the I/O core.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::rc::Rc;
use std::sync::Arc;

use super::catalogue::PackEntry;
use super::lookup;
use super::mounting::FolderRoot;
use super::source::Failure;
use super::worker::Worker;
use crate::mounts::{ArchiveIndex, Listing, Source};
use crate::path::RelPath;

/// Most names of one folder that are listed.
const NAMES_MAX: usize = 100_000;

/// Most names of an archive that are listed on the I/O core.
const ON_CORE_MAX: usize = 256;

/// Most links of one folder that are followed to see whether they lead to something.
const LINKS_MAX: usize = 256;

/// What a folder holds under a name.
enum Item {
    File(u64),
    Folder,
    Link,
}

/// Lists a folder of one mount, by its position; returns whether it is there. Of an archive it lists
/// at most `count_max` names.
pub(super) async fn list(
    worker: &Rc<Worker>,
    mount: usize,
    path: &RelPath,
    count_max: usize,
    listing: &mut Listing,
) -> Result<bool, Failure> {
    let failed = |error: &dyn std::fmt::Display| {
        let name = path.as_bytes().escape_ascii();
        Failure::of(worker, &format_args!("cannot list {name}: {error}"))
    };
    match &worker.site.mounts.as_slice()[mount].source {
        Source::Archive(_, index) if index.len().min(count_max) <= ON_CORE_MAX => {
            Ok(list_entries(index, path.as_bytes(), count_max, listing))
        }
        Source::Archive(..) => {
            let (site, folder) = (Arc::clone(&worker.site), path.as_bytes().to_vec());
            let mut taken = std::mem::take(listing);
            let list = move || {
                let exists = match &site.mounts.as_slice()[mount].source {
                    Source::Archive(_, index) => {
                        list_entries(index, &folder, count_max, &mut taken)
                    }
                    Source::Folder(_) => false,
                };
                (exists, taken)
            };
            let listed = corelane::spawn_blocking(list).await;
            let (exists, listed) = listed.map_err(|error| failed(&error))?;
            *listing = listed;
            Ok(exists)
        }
        Source::Folder(root) => {
            let listed = list_folder(worker, root, path, listing).await;
            listed.map_err(|error| {
                failed(&error);
                lookup::kind_of(&error)
            })
        }
    }
}

fn list_entries(
    index: &ArchiveIndex<PackEntry>,
    folder: &[u8],
    count_max: usize,
    listing: &mut Listing,
) -> bool {
    index.list(folder, count_max, PackEntry::len, listing)
}

async fn list_folder(
    worker: &Rc<Worker>,
    root: &FolderRoot,
    path: &RelPath,
    listing: &mut Listing,
) -> io::Result<bool> {
    let dir = &worker.folders[root.index];
    let folder = match lookup::open_beneath(dir, path, libc::O_DIRECTORY).await {
        Ok(Some((folder, _))) => folder,
        Ok(None) => return Ok(false),
        Err(error) if lookup::is_denied(&error) => return Ok(false),
        Err(error) => return Err(error),
    };
    let folder = folder.as_fd().try_clone_to_owned()?;
    let items = corelane::spawn_blocking(move || read_folder(&folder)).await??;
    let mut links_left = LINKS_MAX;
    for (name, item) in items {
        match item {
            Item::File(len) => listing.add(&name, Some(len)),
            Item::Folder => listing.add(&name, None),
            Item::Link if links_left > 0 => {
                links_left -= 1;
                let joined = [path.as_bytes(), b"/", &name].concat();
                let joined = joined.strip_prefix(b"/").unwrap_or(&joined);
                let Ok(target) = RelPath::from_name(joined) else {
                    continue;
                };
                match lookup::open_beneath(dir, &target, libc::O_PATH).await {
                    Ok(Some((_, metadata))) if metadata.is_file() => {
                        listing.add(&name, Some(metadata.len()));
                    }
                    Ok(Some((_, metadata))) if metadata.is_dir() => listing.add(&name, None),
                    Ok(_) => {}
                    Err(error) if lookup::is_denied(&error) => {}
                    Err(error) => return Err(error),
                }
            }
            Item::Link => {}
        }
    }
    Ok(true)
}

/// Reads an open folder, which may have been moved since, by its descriptor.
fn read_folder(folder: &OwnedFd) -> io::Result<Vec<(Vec<u8>, Item)>> {
    let path = format!("/proc/self/fd/{}", folder.as_raw_fd());
    let mut items = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = servable_name(&name) else {
            continue;
        };
        let kind = entry.file_type()?;
        let item = if kind.is_dir() {
            Item::Folder
        } else if kind.is_symlink() {
            Item::Link
        } else if kind.is_file() {
            match entry.metadata() {
                Ok(metadata) => Item::File(metadata.len()),
                // It is gone already.
                Err(_) => continue,
            }
        } else {
            continue;
        };
        items.push((name, item));
        if items.len() == NAMES_MAX {
            break;
        }
    }
    Ok(items)
}

/// Returns a name if it can be asked for.
fn servable_name(name: &OsStr) -> Option<Vec<u8>> {
    let is_servable = RelPath::from_name(name.as_bytes()).is_ok_and(|path| !path.is_folder());
    is_servable.then(|| name.as_bytes().to_vec())
}
