//! Shows how far something is: a bar on a terminal, a line now and then elsewhere.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::units::Len;

/// How often a line is printed where there is no terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// Shows how many of some bytes are done, on standard error. Clones show the same.
#[derive(Clone, Debug)]
pub(crate) enum Meter {
    Bar(ProgressBar),
    Lines {
        what: &'static str,
        total: u64,
        last: Instant,
    },
    Silent,
}

impl Meter {
    /// Begins; `what` says what is being done, as in "packed".
    pub(crate) fn begin(what: &'static str, total: u64, is_quiet: bool) -> Self {
        if is_quiet {
            return Self::Silent;
        }
        if !io::stderr().is_terminal() {
            return Self::Lines {
                what,
                total,
                last: Instant::now(),
            };
        }
        let template = "{msg} {bar:30} {binary_bytes} of {binary_total_bytes}, \
                        {binary_bytes_per_sec}, {eta} left";
        // A template that is wrong shows in the first run of whoever changes it.
        let style = ProgressStyle::with_template(template);
        let bar = ProgressBar::new(total);
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_message(what);
        Self::Bar(bar)
    }

    /// Shows that `done` bytes and `entries` are done.
    pub(crate) fn show(&mut self, done: u64, entries: u64) {
        match self {
            Self::Bar(bar) => bar.set_position(done),
            Self::Lines { what, total, last } if last.elapsed() >= LINE_INTERVAL => {
                *last = Instant::now();
                let (done, total) = (Len(done), Len(*total));
                let line = format!("pack: {what} {done} of {total}, {entries} entries");
                // Nobody is left to tell if standard error is gone.
                let _ = writeln!(io::stderr(), "{line}");
            }
            Self::Lines { .. } | Self::Silent => {}
        }
    }

    /// Prints a line on standard error, without getting into the bar.
    pub(crate) fn say(&self, line: &str) {
        // Nobody is left to tell if standard error is gone.
        let say = || drop(writeln!(io::stderr(), "pack: {line}"));
        match self {
            Self::Bar(bar) => bar.suspend(say),
            Self::Lines { .. } | Self::Silent => say(),
        }
    }

    /// Takes the bar away.
    pub(crate) fn end(self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}
