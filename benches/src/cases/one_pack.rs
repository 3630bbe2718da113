//! Ranges of 64 KiB of one large file, and the same of many smaller ones, from one core and from
//! all: whether a pack is slower than loose files because all reads meet in one file.

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use blobio::{NativeFileAsyncBlobRandomReader, RandomReadBlobAsync};
use corelane::{Executor, spawn_local};

use crate::content::{Content, FILE_LEN, Loose, is_content};
use crate::environment::{Cores, scheduler_of};
use crate::measure::{Contender, Sample, Timer, interleave};
use crate::{Failure, Options, Outcome};

const LEN: usize = 64 << 10;
/// Loose files that hold together what the large one holds.
const FILES: u64 = 64;
/// Tasks of each worker, and the reads of each task in a round.
const TASKS: u64 = 16;
const READS: u64 = 500;

pub(crate) fn run(options: &Options, cores: &Cores) -> Outcome {
    let content = Content::prepare(options.file.as_deref(), options.remove_file)?;
    println!(
        "file:      {}, scheduler {}",
        content.path.display(),
        scheduler_of(&content.path)?
    );
    let loose = Loose::make(&content.path, FILES, FILE_LEN)?;
    for workers in [1, cores.count()] {
        let executor = Executor::builder().workers(workers).start()?;
        let items = workers as u64 * TASKS * READS;
        let one = Arc::new(vec![content.path.clone()]);
        let many = Arc::new(loose.paths.clone());
        let contenders = vec![
            Contender::new("64 loose files", || read(&executor, &many, items)),
            Contender::new("one file", || read(&executor, &one, items)),
        ];
        let title = format!("one_pack: ranges of 64 KiB, cached, {workers} workers");
        interleave(options, &title, "read", options.rounds, contenders, &[])?;
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
