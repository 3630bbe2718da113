//! Finds what a path names.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::rc::Rc;

use blobio::pack::chunked::ContentHash;
use corelane::fs::{Dir, File, Metadata, OpenOptions};

use super::catalogue::{Item, PackEntry};
use super::inflate;
use super::mounting::{PackRoot, seconds};
use super::open_files::{self, OpenFile};
use super::source::{Failure, Found, Source};
use super::worker::Worker;
use crate::etag::{ETag, FileIdentity};
use crate::mime;
use crate::mounts::{self, Candidate};
use crate::path::RelPath;
use crate::plan::{Ranges, Resource};

/// What is found by its hash is never another content: caches may keep it for ever.
const FOR_EVER: Option<&str> = Some("public, max-age=31536000, immutable");

/// How often a path is resolved anew because something was renamed meanwhile.
const RESOLVE_TRIES: usize = 8;

/// Finds the file that a path names; `None` if there is none.
pub(super) async fn find<'s>(
    worker: &'s Rc<Worker>,
    path: &RelPath,
) -> Result<Option<Found<'s>>, Failure> {
    for candidate in worker.site.mounts.candidates(path) {
        match candidate {
            Candidate::Folder(root) => {
                let found = find_file(worker, root.index, path).await;
                match found {
                    Ok(Some(found)) => return Ok(Some(found)),
                    Ok(None) => {}
                    Err(error) if is_denied(&error) => return Ok(None),
                    Err(error) => return Err(failure(worker, path, &error)),
                }
            }
            Candidate::Entry(pack, entry) => {
                // Asked before anything is answered: the entity tags are the catalogue's.
                let content_type = mime::content_type(path.file_name());
                return match pack.is_unchanged(worker).await {
                    true => Ok(Some(entry_found(worker, pack, entry, content_type))),
                    false => Err(Failure::Overloaded),
                };
            }
        }
    }
    Ok(None)
}

/// Finds the content of a hash, in any pack; `None` if there is none.
pub(super) async fn find_content<'s>(
    worker: &'s Rc<Worker>,
    hash: &ContentHash,
) -> Result<Option<Found<'s>>, Failure> {
    let Some((mount, entry)) = worker.site.contents.get(hash) else {
        return Ok(None);
    };
    let mounts::Source::Archive(pack, _) = &worker.site.mounts.as_slice()[*mount].source else {
        return Ok(None);
    };
    if !pack.is_unchanged(worker).await {
        return Err(Failure::Overloaded);
    }
    let mut found = entry_found(worker, pack, entry, "application/octet-stream");
    found.resource.cache_control = FOR_EVER;
    // When the pack was made says nothing of the content.
    found.resource.last_modified = None;
    Ok(Some(found))
}

/// Opens a file below a folder, whatever it is, without waiting for one (a pipe) and without
/// leaving the folder. `None` if there is nothing that could be served.
pub(super) async fn open_beneath(
    dir: &Dir,
    path: &RelPath,
    flags: i32,
) -> io::Result<Option<(File, Metadata)>> {
    let path = match path.as_bytes() {
        b"" => Path::new("."),
        bytes => Path::new(OsStr::from_bytes(bytes)),
    };
    // To look at something takes no flags; to read it must not wait for it.
    let waits_not = match flags & libc::O_PATH {
        0 => libc::O_NONBLOCK | libc::O_NOCTTY,
        _ => 0,
    };
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(flags | waits_not);
    for _ in 0..RESOLVE_TRIES {
        match options.open_beneath(dir, path).await {
            Ok(file) => {
                let metadata = file.statx().await?;
                return Ok(Some((file, metadata)));
            }
            Err(error) if is_raced(&error) => {}
            Err(error) if is_absent(&error) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    // It may be there: whoever asks again finds out.
    Err(io::Error::from_raw_os_error(libc::EAGAIN))
}

async fn find_file(
    worker: &Rc<Worker>,
    folder: usize,
    path: &RelPath,
) -> io::Result<Option<Found<'static>>> {
    let open = open_file(&worker.folders[folder], path);
    let found = open_files::get(worker, folder, path.as_bytes(), open).await?;
    Ok(found.map(|open| Found {
        resource: open.resource,
        source: Source::File(open.file),
    }))
}

async fn open_file(dir: &Dir, path: &RelPath) -> io::Result<Option<OpenFile>> {
    let Some((file, metadata)) = open_beneath(dir, path, 0).await? else {
        return Ok(None);
    };
    if !metadata.is_file() {
        return Ok(None);
    }
    let (major, minor) = metadata.dev();
    let identity = FileIdentity {
        dev: u64::from(major) << 32 | u64::from(minor),
        ino: metadata.ino(),
        size: metadata.len(),
        mtime_ns: metadata.mtime_ns(),
        ctime_ns: metadata.ctime_ns(),
    };
    let resource = Resource {
        len: metadata.len(),
        content_type: mime::content_type(path.file_name()),
        etag: Some(ETag::of_file(&identity)),
        last_modified: seconds(metadata.mtime_ns()),
        ranges: Ranges::Many,
        cache_control: None,
    };
    Ok(Some(OpenFile {
        file: file.into(),
        identity,
        resource,
    }))
}

fn entry_found<'s>(
    worker: &Worker,
    pack: &'s PackRoot,
    entry: &'s PackEntry,
    content_type: &'static str,
) -> Found<'s> {
    let ranges = match &entry.item {
        Item::Zipped(zipped) if inflate::is_streamed(worker, &zipped.entry) => Ranges::One,
        Item::Zipped(_) | Item::Packed(_) => Ranges::Many,
    };
    Found {
        resource: Resource {
            len: entry.len(),
            content_type,
            etag: Some(entry.etag),
            last_modified: pack.modified,
            ranges,
            cache_control: None,
        },
        source: Source::Entry(pack, entry),
    }
}

/// What is not there, so that an earlier mount may have it. `EXDEV` and `ELOOP` are links that lead
/// out or nowhere: they name nothing in this mount, and shadow nothing.
fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::ENOENT
                | libc::ENOTDIR
                | libc::ELOOP
                | libc::EXDEV
                | libc::ENAMETOOLONG
                | libc::ENXIO
                | libc::ENODEV
                | libc::EINVAL
        )
    )
}

/// What may not be read is not there, as far as anybody is told, but it shadows: permissions that
/// were taken away must not bring back what an earlier mount has under that name.
pub(super) fn is_denied(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied
}

/// Something was renamed while a `..` was resolved, a signal came, or somebody has a lease on the
/// file and is being told to give it up.
fn is_raced(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EINTR))
}

fn failure(worker: &Worker, path: &RelPath, error: &io::Error) -> Failure {
    let name = path.as_bytes().escape_ascii();
    worker.complain(&format!("cannot open {name}: {error}"));
    kind_of(error)
}

/// Tells what may pass from what will not.
pub(super) fn kind_of(error: &io::Error) -> Failure {
    match error.raw_os_error() {
        Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::EAGAIN) => Failure::Overloaded,
        _ => Failure::Broken,
    }
}
