//! lore-io's published warm workloads on all cores: 256 MiB over 64 files, 4 KiB with 128 reads in
//! flight and 64 KiB with 64, through blobio's readers.
//!
//! The floor is a bare ring on each core, which keeps its share of the reads in flight.

use std::sync::Arc;

use crate::content::{Content, Loose, Span};
use crate::crowd::{Crowd, executor_on};
use crate::environment::{Cores, scheduler_of};
use crate::floors::ring_or_refused;
use crate::measure::{By, Contender, Target, interleave};
use crate::{Options, Outcome};

const FILES: u64 = 64;
const LEN: u64 = 256 << 20;
/// Length of a read, reads in flight on all cores together, and reads of each reader in a round.
const WORKLOADS: [(usize, u64, u64); 2] = [(4 << 10, 128, 4_000), (64 << 10, 64, 1_000)];
/// At least 0.93 of the floor's rate.
const TARGET: Target = Target {
    own: 1,
    against: &[0],
    by: By::Wall,
    at_most: 1.0 / 0.93,
};

pub(crate) fn run(options: &Options, cores: &Cores) -> Outcome {
    let content = Content::prepare(options.file.as_deref(), options.remove_file)?;
    println!(
        "file:      {}, scheduler {}",
        content.path.display(),
        scheduler_of(&content.path)?
    );
    let loose = Loose::make(&content.path, FILES, LEN)?;
    let all = cores.first(usize::MAX);
    let executor = executor_on(all)?;
    for (read_len, readers, reads) in WORKLOADS {
        let crowd = Crowd {
            paths: Arc::new(loose.paths.clone()),
            file_len: loose.file_len,
            direct: false,
            span: Span { len: LEN, read_len },
            readers,
            reads,
        };
        crowd.check_whole()?;
        let sum = crowd.expected();
        let contenders = vec![
            Contender::with(
                "floor: a bare ring on each core",
                ring_or_refused()?,
                |()| crowd.rings(all, sum),
            ),
            Contender::new("blobio on each core", || crowd.blobs(&executor, sum)),
            Contender::new("pread, a thread on each core", || {
                crowd.threads(all.len(), all, sum)
            }),
        ];
        let title = format!(
            "lore: {} KiB, {readers} in flight, {} cores",
            read_len >> 10,
            all.len()
        );
        let rounds = options.rounds;
        let figures = interleave(options, &title, "read", rounds, contenders, &[TARGET])?;
        let rates: Vec<String> = (0..3)
            .filter_map(|index| figures.median(By::Wall, index))
            .map(|ns| format!("{:.0} k/s", 1e6 / ns))
            .collect();
        println!("  {}", rates.join(", "));
    }
    Ok(())
}
