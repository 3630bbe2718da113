//! Ranges of 64 KiB of one large file, and the same of many smaller ones, from one core and from
//! all: whether a pack is slower than loose files because all reads meet in one file.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use blobio::{NativeFileAsyncBlobRandomReader, RandomReadBlobAsync};
use corelane::{Config, Executor, Worker, spawn_local};

use crate::cold::evict;
use crate::content::{Content, FILE_LEN, Loose, is_content};
use crate::environment::{Cores, scheduler_of};
use crate::measure::{Contender, Sample, Timer, interleave};
use crate::{Failure, Options, Outcome};

const LEN: usize = 64 << 10;
/// Loose files that hold together what the large one holds.
const FILES: u64 = 64;
/// Tasks of each worker, and the reads of each task in a round: so many that it does not show in the
/// time of a read that 64 files take longer to open than one.
const TASKS: u64 = 16;
const READS: u64 = 4_000;

/// How the pages of the files came into the cache, which decides how large they are.
#[derive(Clone, Copy, Debug)]
enum Pages {
    Written,
    ReadBack,
}

impl fmt::Display for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Written => "as written",
            Self::ReadBack => "read back",
        })
    }
}

pub(crate) fn run(options: &Options, cores: &Cores) -> Outcome {
    let content = Content::prepare(options.file.as_deref(), options.remove_file)?;
    println!(
        "file:      {}, scheduler {}",
        content.path.display(),
        scheduler_of(&content.path)?
    );
    // Written in the same way, one after the other.
    let many = Loose::make(&content.path, FILES, FILE_LEN)?;
    let one = Loose::make(&content.path, 1, FILE_LEN)?;
    let paths = [&many, &one].map(|loose| Arc::new(loose.paths.clone()));
    for pages in [Pages::Written, Pages::ReadBack] {
        if let Pages::ReadBack = pages {
            read_back(paths.iter().flat_map(|paths| &**paths))?;
        }
        for workers in [1, cores.count()] {
            let executor = Executor::builder().workers(workers).start()?;
            let items = workers as u64 * TASKS * READS;
            let contenders = vec![
                Contender::new("64 loose files", || read(&executor, &paths[0], items)),
                Contender::new("one file", || read(&executor, &paths[1], items)),
            ];
            let title = format!("one_pack: 64 KiB, cached, {pages}, {workers} workers");
            interleave(options, &title, "read", options.rounds, contenders, &[])?;
        }
    }
    Ok(())
}

/// Takes files out of the page cache, and reads them in order.
fn read_back<'a>(paths: impl IntoIterator<Item = &'a PathBuf>) -> Outcome {
    let worker = Worker::new(Config::default())?;
    let mut chunk = vec![0; 1 << 20];
    for path in paths {
        worker.block_on(evict(path))?;
        let mut file = File::open(path)?;
        while file.read(&mut chunk)? > 0 {}
    }
    Ok(())
}

/// Lets the tasks of every worker read ranges all over the files.
fn read(executor: &Executor, paths: &Arc<Vec<PathBuf>>, items: u64) -> Result<Sample, Failure> {
    let timer = Timer::start();
    let workers: Vec<_> = (0..executor.workers())
        .map(|worker| {
            let paths = Arc::clone(paths);
            executor.spawn_on(worker, move || read_on_worker(paths, worker as u64))
        })
        .collect::<Result<_, _>>()?;
    for worker in workers {
        executor.block_on(worker)?.map_err(Failure::from)?;
    }
    Ok(timer.stop(items))
}

async fn read_on_worker(paths: Arc<Vec<PathBuf>>, worker: u64) -> Result<(), String> {
    let mut blobs = Vec::new();
    for path in &*paths {
        let blob = NativeFileAsyncBlobRandomReader::open(path).await;
        blobs.push(blob.map_err(|error| format!("{}: {error}", path.display()))?);
    }
    let blobs = Rc::new(blobs);
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| spawn_local(read_ranges(Rc::clone(&blobs), worker * TASKS + task)))
        .collect();
    for task in tasks {
        task.await.map_err(|error| error.to_string())??;
    }
    Ok(())
}

async fn read_ranges(
    blobs: Rc<Vec<NativeFileAsyncBlobRandomReader>>,
    seed: u64,
) -> Result<(), String> {
    let file_len = FILE_LEN / blobs.len() as u64;
    let places = FILE_LEN / LEN as u64;
    let mut buf = Vec::new();
    for number in 0..READS {
        let at = (seed * READS + number) * 7_919 % places * LEN as u64;
        let blob = &blobs[usize::try_from(at / file_len).expect("a file's number")];
        let (got, back) = blob.read_owned_async(at % file_len, LEN, buf).await;
        buf = back;
        let last = LEN - 8;
        if got.ok() != Some(LEN) || !is_content(&buf[last..], at + last as u64) {
            return Err(format!("the read at {at} is wrong"));
        }
    }
    Ok(())
}
