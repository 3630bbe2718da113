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
use crate::mounts::{Listing, Source};
use crate::page::NAMES_MAX;
use crate::path::RelPath;

/// Most names that are listed on the I/O core.
const ON_CORE_MAX: usize = 256;

/// Most links of one folder that are followed to see whether they lead to something.
const LINKS_MAX: usize = 256;

/// What a folder holds.
#[derive(Default)]
struct Items {
    /// Files by name, with their lengths, and folders.
    found: Vec<(Vec<u8>, Option<u64>)>,
    /// What may be either, by name.
    links: Vec<Vec<u8>>,
    /// There are more names.
    is_cut: bool,
}

/// What an entry of a folder is.
enum Looked {
    File(u64),
    Folder,
    Link,
}

/// Lists a folder of one mount, by its position; returns whether it is there. Of an archive it lists
/// at most `count_max` names, and of any mount at most [`NAMES_MAX`].
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
    let count_max = count_max.min(NAMES_MAX);
    match &worker.site.mounts.as_slice()[mount].source {
        Source::Archive(_, index) => {
            let (site, folder) = (Arc::clone(&worker.site), path.as_bytes().to_vec());
            let list = move |listing: &mut Listing| match &site.mounts.as_slice()[mount].source {
                Source::Archive(_, index) => {
                    index.list(&folder, count_max, PackEntry::len, listing)
                }
                Source::Folder(_) => false,
            };
            let added = add(listing, index.len().min(count_max), list).await;
            added.map_err(|error| failed(&error))
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

/// Adds up to `count` names to a listing, off the I/O core if they are many.
async fn add<T: Send + 'static>(
    listing: &mut Listing,
    count: usize,
    add: impl FnOnce(&mut Listing) -> T + Send + 'static,
) -> io::Result<T> {
    if listing.len() + count <= ON_CORE_MAX {
        return Ok(add(listing));
    }
    let mut taken = std::mem::take(listing);
    let (value, taken) = corelane::spawn_blocking(move || (add(&mut taken), taken)).await?;
    *listing = taken;
    Ok(value)
}

/// Makes something of a finished listing, off the I/O core if it is long.
pub(super) async fn consume<T: Send + 'static>(
    worker: &Rc<Worker>,
    listing: Listing,
    consume: impl FnOnce(Listing) -> T + Send + 'static,
) -> Result<T, Failure> {
    if listing.len() <= ON_CORE_MAX {
        return Ok(consume(listing));
    }
    let consumed = corelane::spawn_blocking(move || consume(listing)).await;
    consumed.map_err(|error| Failure::of(worker, &format_args!("cannot list: {error}")))
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
    let mut found = items.found;
    for name in items.links {
        let joined = [path.as_bytes(), b"/", &name].concat();
        let joined = joined.strip_prefix(b"/").unwrap_or(&joined);
        let Ok(target) = RelPath::from_name(joined) else {
            continue;
        };
        match lookup::open_beneath(dir, &target, libc::O_PATH).await {
            Ok(Some((_, metadata))) if metadata.is_file() => {
                found.push((name, Some(metadata.len())));
            }
            Ok(Some((_, metadata))) if metadata.is_dir() => found.push((name, None)),
            Ok(_) => {}
            Err(error) if lookup::is_denied(&error) => {}
            Err(error) => return Err(error),
        }
    }
    let count = found.len();
    let add_all = move |listing: &mut Listing| {
        for (name, len) in found {
            listing.add(&name, len);
        }
        if items.is_cut {
            listing.cut();
        }
    };
    add(listing, count, add_all).await?;
    Ok(true)
}

/// Reads an open folder, which may have been moved since, by its descriptor.
fn read_folder(folder: &OwnedFd) -> io::Result<Items> {
    let path = format!("/proc/self/fd/{}", folder.as_raw_fd());
    let mut items = Items::default();
    for (count, entry) in fs::read_dir(path)?.enumerate() {
        if count == NAMES_MAX {
            items.is_cut = true;
            break;
        }
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = servable_name(&name) else {
            continue;
        };
        match look_at(&entry) {
            Ok(Some(Looked::Link)) if items.links.len() < LINKS_MAX => items.links.push(name),
            Ok(Some(Looked::Link) | None) => {}
            Ok(Some(Looked::File(len))) => items.found.push((name, Some(len))),
            Ok(Some(Looked::Folder)) => items.found.push((name, None)),
            // It is gone already, or tells nothing of itself.
            Err(_) => {}
        }
    }
    Ok(items)
}

/// What an entry of a folder is; `None` for what is never served.
fn look_at(entry: &fs::DirEntry) -> io::Result<Option<Looked>> {
    let kind = entry.file_type()?;
    Ok(if kind.is_dir() {
        Some(Looked::Folder)
    } else if kind.is_symlink() {
        Some(Looked::Link)
    } else if kind.is_file() {
        Some(Looked::File(entry.metadata()?.len()))
    } else {
        None
    })
}

/// Returns a name if it can be asked for.
fn servable_name(name: &OsStr) -> Option<Vec<u8>> {
    let is_servable = RelPath::from_name(name.as_bytes()).is_ok_and(|path| !path.is_folder());
    is_servable.then(|| name.as_bytes().to_vec())
}
