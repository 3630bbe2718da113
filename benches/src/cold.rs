//! Files that are not in the page cache, for certain.

use std::io;
use std::path::Path;

use corelane::buf::AlignedBuf;
use corelane::fs::{Advice, File, ReadMode};

use crate::Failure;

/// Reads that must find nothing before a file counts as cold.
const PROBES: u64 = 64;
/// How often a file is taken out of the cache before that counts as impossible.
const EVICTIONS_MAX: u32 = 20;

/// Takes a file out of the page cache, and sees to it that it is.
pub(crate) async fn evict(path: &Path) -> Result<(), Failure> {
    let file = File::open(path).await?;
    let file_len = file.statx().await?.len();
    file.advise(0, 0, Advice::Random).await?;
    for _ in 0..EVICTIONS_MAX {
        file.advise(0, 0, Advice::DontNeed).await?;
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
        if found == 0 {
            return Ok(());
        }
    }
    Err(format!("{} stays in the page cache", path.display()).into())
}
