//! `pack verify`

use std::io::{self, Write as _};
use std::ops::Bound;

use crate::args::VerifyArgs;
use crate::failure::Failure;
use crate::meter::Meter;
use crate::open::{FilePack, open};
use crate::units::Len;

/// How many contents are looked at together.
const BATCH_COUNT: usize = 1024;

pub(crate) fn run(args: &VerifyArgs) -> Result<(), Failure> {
    let pack = open(&args.file)?;
    let meter = Meter::begin("checked", content_len(&pack), args.quiet);
    let mut shown = meter.clone();
    let verified = pack.verify(
        |error| meter.say(&format!("{error}")),
        |verified| shown.show(verified.contents_len, verified.entries),
    );
    meter.end();
    if verified.errors > 0 {
        let (name, count) = (pack.name(), verified.errors);
        let noun = if count == 1 { "defect" } else { "defects" };
        return Err(Failure::Failed(format!("{name}: {count} {noun}")));
    }
    if args.quiet {
        return Ok(());
    }
    let (entries, contents) = (verified.entries, verified.contents);
    let len = Len(verified.contents_len);
    let line = format!(
        "{}: no defect in {entries} entries, {contents} contents, {len}",
        pack.name()
    );
    writeln!(io::stdout(), "{line}").map_err(|error| Failure::of_output(&error))
}

/// Adds up the contents that can be listed; what is wrong with the others is found later.
fn content_len(pack: &FilePack) -> u64 {
    let mut len: u64 = 0;
    let mut last = None;
    loop {
        let start = last.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let batch = pack.list_contents(start, BATCH_COUNT).unwrap_or_default();
        let Some(content) = batch.last() else {
            return len;
        };
        last = Some(content.hash());
        len = batch
            .iter()
            .fold(len, |len, content| len.saturating_add(content.len()));
    }
}
