//! `pack build`

mod gather;
mod stop;
mod zipped;

use std::fs::File;
use std::io::{self, Read, Write as _};

use blobio::pack::chunked::{PackBuilder, PackError, Summary};

use crate::args::BuildArgs;
use crate::failure::Failure;
use crate::meter::Meter;
use crate::units::Len;
use gather::{Gathered, Input, Item, Origin};
use stop::Stop;

/// How many lines of one kind are printed before the rest is only counted.
const LINES_MAX: usize = 20;

pub(crate) fn run(args: &BuildArgs) -> Result<(), Failure> {
    let options = args.options()?;
    let stop = Stop::on_signals()?;
    let gathered = gather::gather(&args.inputs, &args.output, &stop)?;
    refuse(&gathered, args)?;
    let Gathered { inputs, items, .. } = gathered;
    let total = items.iter().map(|item| item.len).sum();
    let meter = Meter::begin("packed", total, args.quiet);
    let mut builder = PackBuilder::create(&args.output, options)?;
    let mut shown = meter.clone();
    builder.on_progress(move |progress| shown.show(progress.content_len, progress.entries));
    // Whatever ends this early drops the builder, which removes what it has written.
    let summary = add_all(&mut builder, &inputs, &items, &stop)
        .and_then(|()| stop.check())
        .and_then(|()| Ok(builder.finish()?));
    meter.end();
    let summary = summary.map_err(|failure| stop.reason().unwrap_or(failure))?;
    if args.quiet {
        return Ok(());
    }
    writeln!(io::stdout(), "{}", told(args, &summary)).map_err(|error| Failure::of_output(&error))
}

fn told(args: &BuildArgs, summary: &Summary) -> String {
    let (entries, contents) = (summary.entries, summary.contents);
    let (from, to) = (Len(summary.entries_len), Len(summary.file_len));
    let file = args.output.display();
    format!("{file}: {entries} entries, {contents} contents, {from} in {to}")
}

/// Ends with what was gathered twice, or what cannot be an entry unless that is to be left out.
fn refuse(gathered: &Gathered, args: &BuildArgs) -> Result<(), Failure> {
    let twice = gathered.twice();
    if !twice.is_empty() {
        say_some(twice.iter(), twice.len());
        return Err(Failure::Said);
    }
    let unfit = &gathered.unfit;
    if unfit.is_empty() {
        return Ok(());
    }
    let verb = if args.skip {
        "left out"
    } else {
        "cannot be an entry:"
    };
    let lines = unfit.iter().map(|unfit| format!("{verb} {unfit}"));
    if args.skip {
        // All of them: nothing else says what is missing.
        lines.for_each(|line| say(&line));
        return Ok(());
    }
    say_some(lines, unfit.len());
    say(&"nothing was written; --skip leaves out what cannot be an entry");
    Err(Failure::Said)
}

fn say_some(lines: impl Iterator<Item = impl std::fmt::Display>, count: usize) {
    lines.take(LINES_MAX).for_each(|line| say(&line));
    if count > LINES_MAX {
        say(&format!("and {} more", count - LINES_MAX));
    }
}

fn say(line: &dyn std::fmt::Display) {
    // Nobody is left to tell if standard error is gone.
    let _ = writeln!(io::stderr(), "pack: {line}");
}

fn add_all(
    builder: &mut PackBuilder,
    inputs: &[Input],
    items: &[Item],
    stop: &Stop,
) -> Result<(), Failure> {
    for item in items {
        stop.check()?;
        add(builder, inputs, item, stop)?;
    }
    Ok(())
}

fn add(
    builder: &mut PackBuilder,
    inputs: &[Input],
    item: &Item,
    stop: &Stop,
) -> Result<(), Failure> {
    let content: Box<dyn Read> = match (&item.origin, &inputs[item.input]) {
        (Origin::File(path), _) => {
            let file = File::open(path);
            Box::new(file.map_err(|error| cannot_read(&path.display(), &error))?)
        }
        (Origin::Zipped(entry), Input::Archive(archive)) => zipped::open(archive, entry)?,
        (Origin::Zipped(_), Input::Folder) => unreachable!("folders have no archived entries"),
    };
    let mut source = Source {
        content,
        stop,
        failed: None,
    };
    let added = builder.add(&item.path, &mut source);
    match (added, source.failed) {
        (Ok(()), _) => Ok(()),
        // The reader says it best: it knows the file and not just the entry.
        (Err(_), Some(error)) => Err(cannot_read(&item.origin_shown(inputs), &error)),
        (Err(error), None) => Err(cannot_write(error)),
    }
}

fn cannot_read(what: &dyn std::fmt::Display, error: &io::Error) -> Failure {
    Failure::Failed(format!("cannot read {what}: {error}"))
}

fn cannot_write(error: PackError) -> Failure {
    Failure::failed(&error)
}

/// The content of an entry, until a signal comes.
struct Source<'s> {
    content: Box<dyn Read + 's>,
    stop: &'s Stop,
    /// Why reading failed.
    failed: Option<io::Error>,
}

impl Read for Source<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.stop.signal().is_some() {
            return Err(io::Error::other("stopped by a signal"));
        }
        self.content.read(buf).inspect_err(|error| {
            if error.kind() != io::ErrorKind::Interrupted {
                let again = io::Error::new(error.kind(), error.to_string());
                self.failed = Some(again);
            }
        })
    }
}
