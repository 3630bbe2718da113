//! What a task and an idle worker take of memory.
//!
//! Bytes of a task are counted by the allocator, over 100,000 of them, with what it adds to each
//! block; the floor is the same futures in boxes, and what a task has more is what counts. What a worker takes is resident memory of the
//! process, as the kernel counts it. Neither changes from round to round.

use std::fs;
use std::future::{Future, pending};
use std::hint::black_box;
use std::time::Duration;

use corelane::{Config, Executor, Placement, Worker, spawn_local, yield_now};

use crate::environment::Cores;
use crate::floors::heap;
use crate::{Failure, Options, Outcome};

const TASKS: usize = 100_000;
/// Tasks before those that count, so that what grows once has grown.
const TASKS_BEFORE: usize = 1_000;
/// Most bytes of a task beside its future, without what the allocator adds to any block.
const TASK_BYTES_MAX: f64 = 64.0;
/// Bytes that are still in use when all tasks are gone, of what they took: what a pool keeps.
const KEPT_MAX: f64 = 0.01;
const WORKERS: usize = 16;
/// Most resident KiB of an idle worker.
const WORKER_KIB_MAX: f64 = 1024.0;
/// How long workers are given to come to rest.
const REST: Duration = Duration::from_millis(200);

pub(crate) fn run(options: &Options, cores: &Cores) -> Outcome {
    cores.pin()?;
    println!("\nmemory (bytes of a task beside its future, {TASKS} tasks)");
    let mut figures = Vec::new();
    if heap::in_use().is_some() {
        println!(
            "  {:<34} {:>10} {:>10} {:>10} {:>10}",
            "", "boxed", "task", "more", "at most"
        );
        tasks::<23>(&mut figures)?;
        tasks::<71>(&mut figures)?;
        tasks::<263>(&mut figures)?;
        tasks::<1031>(&mut figures)?;
    } else {
        println!("  not counted, as this C library does not say what is allocated");
    }
    idle_workers(&mut figures)?;
    options.journal.add_figures("memory", &figures);
    Ok(())
}

type Figures = Vec<(String, f64, &'static str)>;

/// A future that keeps `LEN` bytes while it waits, for ever. It has a byte more; the lengths are
/// such that the allocator rounds neither the box nor the task up.
async fn waiting<const LEN: usize>() {
    let kept = [1_u8; LEN];
    pending::<()>().await;
    black_box(&kept);
}

fn tasks<const LEN: usize>(figures: &mut Figures) -> Outcome {
    let future_len = size_of_val(&waiting::<LEN>());
    let boxed = beside(future_len, || {
        let mut all: Vec<_> = Vec::with_capacity(TASKS);
        counted(|| all.extend((0..TASKS).map(|_| Box::pin(waiting::<LEN>()))))
    })?;
    let task = beside(future_len, || spawned(waiting::<LEN>))?;
    let more = task - boxed;
    // What else is allocated meanwhile is less than half a byte each.
    let met = if more.round() <= TASK_BYTES_MAX {
        "met"
    } else {
        "missed"
    };
    let name = format!("a future of {future_len} bytes");
    println!("  {name:<34} {boxed:>10.1} {task:>10.1} {more:>10.1} {TASK_BYTES_MAX:>10} {met}");
    figures.push((format!("boxed, {name}"), boxed, "bytes"));
    figures.push((format!("task, {name}"), task, "bytes"));
    Ok(())
}

/// Bytes of one beside its future, of what `all` says they take together.
#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn beside(future_len: usize, all: impl FnOnce() -> Result<usize, Failure>) -> Result<f64, Failure> {
    Ok(all()? as f64 / TASKS as f64 - future_len as f64)
}

/// How many bytes `make` leaves allocated.
fn counted(make: impl FnOnce()) -> Result<usize, Failure> {
    let before = in_use()?;
    make();
    Ok(in_use()?.saturating_sub(before))
}

fn in_use() -> Result<usize, Failure> {
    heap::in_use().ok_or_else(|| "the allocator does not say".into())
}

/// Bytes of tasks that wait, each polled once. When their worker is gone, so are they.
fn spawned<F: Future<Output = ()> + 'static>(future: fn() -> F) -> Result<usize, Failure> {
    let before = in_use()?;
    let worker = Worker::new(Config::default())?;
    let taken = worker.block_on(async {
        spawn_all(TASKS_BEFORE, future).await;
        let before = in_use()?;
        spawn_all(TASKS, future).await;
        Ok::<_, Failure>(in_use()?.saturating_sub(before))
    })?;
    drop(worker);
    let kept = in_use()?.saturating_sub(before);
    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    let part = kept as f64 / taken as f64;
    if part > KEPT_MAX {
        return Err(format!("{kept} bytes of {taken} are left when the tasks are gone").into());
    }
    Ok(taken)
}

async fn spawn_all<F: Future<Output = ()> + 'static>(count: usize, future: fn() -> F) {
    let polls = corelane::stats().polls;
    for _ in 0..count {
        drop(spawn_local(future()));
    }
    // One poll each, beside those of this task.
    while corelane::stats().polls < polls + count as u64 {
        yield_now().await;
    }
    yield_now().await;
}

/// Resident memory of workers that wait, and have used no buffer of their pools.
fn idle_workers(figures: &mut Figures) -> Outcome {
    // What the first executor of a process makes is no worker's.
    let first = resting(1)?;
    let before = resident()?;
    let all = resting(WORKERS)?;
    let taken = resident()?.saturating_sub(before);
    drop((first, all));
    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    let each = taken as f64 / WORKERS as f64;
    let met = if each <= WORKER_KIB_MAX {
        "met"
    } else {
        "missed"
    };
    println!("\nmemory (resident KiB of an idle worker beside its pool, {WORKERS} workers)");
    println!(
        "  {:<34} {each:>10.1} {:>21} {WORKER_KIB_MAX:>10} {met}",
        "a worker", ""
    );
    figures.push(("idle worker".to_owned(), each, "KiB resident"));
    Ok(())
}

/// An executor whose workers have each run a task and now wait.
fn resting(workers: usize) -> Result<Executor, Failure> {
    let executor = Executor::builder()
        .placement(Placement::Unpinned(workers))
        .start()?;
    for task in executor.spawn_on_each(|worker| async move { worker })? {
        executor.block_on(task)?;
    }
    std::thread::sleep(REST);
    Ok(executor)
}

/// Resident KiB of this process.
fn resident() -> Result<u64, Failure> {
    let rollup = fs::read_to_string("/proc/self/smaps_rollup")?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Rss:"));
    let kib = line.and_then(|rest| rest.trim().strip_suffix(" kB"));
    Ok(kib.ok_or("smaps_rollup without Rss")?.trim().parse()?)
}
