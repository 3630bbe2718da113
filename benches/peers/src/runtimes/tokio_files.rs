//! tokio's two ways to read files: `spawn_blocking` around the standard library's positional read,
//! and `tokio::fs`, which has a cursor. On one core with the runtime of one thread, on all cores
//! with the runtime of as many threads, as `#[tokio::main]` makes it.

use std::collections::HashMap;
use std::io::{Error, SeekFrom};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio::runtime::{Builder, Runtime};
use tokio::task::spawn_blocking;

use crate::Failure;
use crate::content::check_sum;
use crate::crowd::{Crowd, Share};
use crate::job::Done;

fn runtime(crowd: &Crowd) -> Result<Runtime, Failure> {
    let mut builder = if crowd.cores.len() == 1 {
        Builder::new_current_thread()
    } else {
        Builder::new_multi_thread()
    };
    Ok(builder.enable_all().build()?)
}

pub(crate) fn read_by_spawn_blocking(crowd: &Arc<Crowd>) -> Result<Done, Failure> {
    crowd.on_one_thread(|share, gate| {
        runtime(&share.crowd)?.block_on(async {
            let files: Vec<_> = share.crowd.open()?.into_iter().map(Arc::new).collect();
            let files = Arc::new(files);
            let work = async |reads| {
                let tasks = share.seeds.clone().map(|seed| {
                    let (files, share) = (Arc::clone(&files), share.clone());
                    tokio::spawn(async move { blocking_by(&files, &share, seed, reads).await })
                });
                sum_of(tasks.collect()).await
            };
            share.run(gate, work).await
        })
    })
}

async fn blocking_by(
    files: &[Arc<std::fs::File>],
    share: &Share,
    seed: u64,
    reads: u64,
) -> Result<u64, Failure> {
    let (mut buf, part) = share.aligned_buffer();
    let mut sum = 0_u64;
    for (file, pos) in share.places(seed, reads) {
        let (file, own) = (Arc::clone(&files[file]), part.clone());
        buf = spawn_blocking(move || {
            file.read_exact_at(&mut buf[own], pos)?;
            Ok::<_, Error>(buf)
        })
        .await??;
        sum = sum.wrapping_add(check_sum(&buf[part.clone()]));
    }
    Ok(sum)
}

pub(crate) fn read_by_fs(crowd: &Arc<Crowd>) -> Result<Done, Failure> {
    crowd.on_one_thread(|share, gate| {
        raise_files_max();
        runtime(&share.crowd)?.block_on(async {
            let opened = Opened::default();
            let work = async |reads| {
                let tasks = share.seeds.clone().map(|seed| {
                    let (share, opened) = (share.clone(), opened.clone());
                    tokio::spawn(async move {
                        let mut files = opened.take(&share, seed);
                        let sum = fs_by(&share, &mut files, seed, reads).await;
                        opened.put(seed, files);
                        sum
                    })
                });
                sum_of(tasks.collect()).await
            };
            share.run(gate, work).await
        })
    })
}

/// The files of each reader, which outlast the tasks: a file has one cursor, so each reader opens its
/// own when it reads from it first, which is while it warms up.
#[derive(Clone, Debug, Default)]
struct Opened(Arc<Mutex<HashMap<u64, Vec<Option<File>>>>>);

impl Opened {
    fn take(&self, share: &Share, seed: u64) -> Vec<Option<File>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let none = || share.crowd.paths.iter().map(|_| None).collect();
        all.remove(&seed).unwrap_or_else(none)
    }

    fn put(&self, seed: u64, files: Vec<Option<File>>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(seed, files);
    }
}

async fn fs_by(
    share: &Share,
    files: &mut [Option<File>],
    seed: u64,
    reads: u64,
) -> Result<u64, Failure> {
    let paths = &share.crowd.paths;
    let mut buf = share.buffer();
    let mut sum = 0_u64;
    for (number, pos) in share.places(seed, reads) {
        let file = match &mut files[number] {
            Some(file) => file,
            closed => closed.insert(File::open(&paths[number]).await?),
        };
        file.seek(SeekFrom::Start(pos)).await?;
        file.read_exact(&mut buf).await?;
        sum = sum.wrapping_add(check_sum(&buf));
    }
    Ok(sum)
}

async fn sum_of(tasks: Vec<tokio::task::JoinHandle<Result<u64, Failure>>>) -> Result<u64, Failure> {
    let mut sum = 0_u64;
    for task in tasks {
        sum = sum.wrapping_add(task.await??);
    }
    Ok(sum)
}

/// Lets the process open as many files as it may. Where that is too few, opening says so.
fn raise_files_max() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Unchanged if it is refused.
    let _ = setrlimit(Resource::Nofile, limit);
}
