//! Files that are not in the page cache, for certain.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use corelane::buf::AlignedBuf;
use corelane::fs::{Advice, File, ReadMode};
use corelane::time::sleep;

use crate::Failure;
use crate::floors::page_cache::cached_pages;

/// Reads that must find nothing before a file counts as cold, where the kernel does not count its pages.
const PROBES: u64 = 64;
/// How often a file is taken out of the cache before that counts as impossible.
const EVICTIONS_MAX: u32 = 200;
const PAUSE: Duration = Duration::from_millis(1);

/// Takes a file out of the page cache, and sees to it that it is.
pub(crate) async fn evict(path: &Path) -> Result<(), Failure> {
    let file = File::open(path).await?;
    file.advise(0, 0, Advice::Random).await?;
    for _ in 0..EVICTIONS_MAX {
        file.advise(0, 0, Advice::DontNeed).await?;
        let found = match cached_pages(file.as_fd())? {
            Some(pages) => pages,
            None => probe(&file).await?,
        };
        if found == 0 {
            return Ok(());
        }
        // What is being read ahead cannot be dropped yet.
        sleep(PAUSE).await;
    }
    Err(format!("{} stays in the page cache", path.display()).into())
}

/// Counts reads that need not wait. A disk that is quick to answer makes some of them succeed.
async fn probe(file: &File) -> Result<u64, Failure> {
    let file_len = file.statx().await?.len();
    let mut found = 0;
    for probe in 0..PROBES {
        let pos = probe * (file_len / PROBES);
        let buf = AlignedBuf::new(4096, 4096);
        match file.read_at_with(buf, pos, ReadMode::NoWait).await {
            (Ok(_), _) => found += 1,
            (Err(error), _) if error.kind() == io::ErrorKind::WouldBlock => {}
            (Err(error), _) => return Err(error.into()),
        }
    }
    // The probes had their pages read.
    file.advise(0, 0, Advice::DontNeed).await?;
    Ok(found)
}
