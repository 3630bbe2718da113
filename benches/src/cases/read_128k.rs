//! 32 tasks that each read 128 KiB 1,000 times at random from one file, on all cores, cached and
//! past the page cache (tokio-rs/tokio#8367).
//!
//! There are two floors, and the better one counts: 32 threads in pread, and a bare ring on each
//! core.

use std::sync::Arc;

use crate::content::{Content, FILE_LEN, Span};
use crate::crowd::{Crowd, executor_on};
use crate::environment::{Cores, scheduler_of};
use crate::floors::ring_or_refused;
use crate::measure::{By, Contender, Target, interleave};
use crate::{Options, Outcome};

const READ_LEN: usize = 128 << 10;
/// Tasks, and threads of the floor that has a thread for each.
const READERS: usize = 32;
/// Reads of each reader in a round.
const READS: u64 = 1_000;
/// At least 0.97 of the rate of the better floor.
const TARGET: Target = Target {
    own: 2,
    against: &[0, 1],
    by: By::Wall,
    at_most: 1.0 / 0.97,
};

pub(crate) fn run(options: &Options, cores: &Cores) -> Outcome {
    let content = Content::prepare(options.file.as_deref(), options.remove_file)?;
    println!(
        "file:      {}, scheduler {}",
        content.path.display(),
        scheduler_of(&content.path)?
    );
    let all = cores.first(usize::MAX);
    let executor = executor_on(all)?;
    for direct in [false, true] {
        let crowd = Crowd {
            paths: Arc::new(vec![content.path.clone()]),
            file_len: FILE_LEN,
            direct,
            span: Span {
                len: FILE_LEN,
                read_len: READ_LEN,
            },
            readers: READERS as u64,
            reads: READS,
        };
        let state = if direct { "direct" } else { "cached" };
        if let Err(error) = crowd.check_whole() {
            if !direct {
                return Err(error);
            }
            println!("\nread_128k, {state}: skipped, as there is no direct I/O here: {error}");
            continue;
        }
        let sum = crowd.expected();
        let contenders = vec![
            Contender::new("floor: pread, 32 threads", || {
                crowd.threads(READERS, all, sum)
            }),
            Contender::with(
                "floor: a bare ring on each core",
                ring_or_refused()?,
                |()| crowd.rings(all, sum),
            ),
            Contender::new("blobio, 32 tasks", || crowd.blobs(&executor, sum)),
        ];
        let title = format!("read_128k: {state}, {} cores", all.len());
        let rounds = options.rounds;
        interleave(options, &title, "read", rounds, contenders, &[TARGET])?;
    }
    Ok(())
}
