//! `pack ls`

use std::fmt;
use std::io::{self, BufWriter, Write};
use std::ops::Bound;

use blobio::pack::chunked::Entry;

use crate::args::ListArgs;
use crate::failure::Failure;
use crate::open::open;

/// How many entries are looked at together.
const BATCH_COUNT: usize = 1024;

pub(crate) fn run(args: &ListArgs) -> Result<(), Failure> {
    let pack = open(&args.file)?;
    let mut out = BufWriter::new(io::stdout().lock());
    let mut last: Option<Entry> = None;
    loop {
        let start = last
            .as_ref()
            .map_or(Bound::Unbounded, |entry| Bound::Excluded(entry.path()));
        let entries = pack.list(start, BATCH_COUNT)?;
        for entry in &entries {
            write_line(&mut out, entry, args).map_err(|error| Failure::of_output(&error))?;
        }
        last = entries.into_iter().next_back();
        if last.is_none() {
            break;
        }
    }
    out.flush().map_err(|error| Failure::of_output(&error))
}

fn write_line(out: &mut impl Write, entry: &Entry, args: &ListArgs) -> io::Result<()> {
    if args.long {
        let how = match entry.content().plain_position() {
            Some(_) => "plain ",
            None => "blocks",
        };
        write!(out, "{} {:>12} {how} ", entry.hash(), entry.len())?;
    }
    if args.null {
        write!(out, "{}\0", entry.path())
    } else {
        writeln!(out, "{}", Escaped(entry.path()))
    }
}

/// Shows a path in one line, whatever is in it.
pub(crate) struct Escaped<'p>(pub(crate) &'p str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| {
            if c.is_control() {
                write!(f, "{}", c.escape_default())
            } else {
                write!(f, "{c}")
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Escaped;

    #[test]
    fn control_characters_are_escaped_and_nothing_else() {
        let shown = Escaped("a b/ü\"\\\n\u{1b}[31m\u{9b}").to_string();
        assert_eq!(shown, "a b/ü\"\\\\n\\u{1b}[31m\\u{9b}");
    }
}
