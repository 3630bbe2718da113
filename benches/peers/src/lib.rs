//! Does the work of the benches' cases on other runtimes: one round of one case on one runtime.
//!
//! A process does one round, so that no runtime finds what another one left; rounds of all of them
//! are interleaved from outside, by `benches/compare`. What is read, in which order, and how it is
//! checked is the same code as in the benches.
#![forbid(unsafe_code)]

mod cases;
#[path = "../../src/client.rs"]
#[allow(dead_code, reason = "shared; the benches use all of it")]
mod client;
#[path = "../../src/content.rs"]
#[allow(dead_code, reason = "shared; the benches use all of it")]
mod content;
mod crowd;
mod environment;
mod http;
mod job;
mod measure;
mod runtimes;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use serde_json::{Value, json};

use cases::{Case, Entry, Peer};

/// Why something could not be measured.
type Failure = Box<dyn Error + Send + Sync>;

/// What a check answers.
type Outcome = Result<(), Failure>;

/// Does one round of a case on a runtime, and prints what it took as a line of JSON.
#[derive(Debug, Parser)]
#[command(name = "peers")]
struct Options {
    /// What to do.
    #[arg(value_enum, required_unless_present = "list")]
    case: Option<Case>,
    /// What to do it on.
    #[arg(value_enum, required_unless_present = "list")]
    peer: Option<Peer>,
    /// How often; by default as often as the benches do in a round.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    ops: Option<u64>,
    /// The file that is read, made where it is missing. By default one in the user's cache folder.
    #[arg(long)]
    file: Option<PathBuf>,
    /// The core to measure on; by default the last that this process may use.
    #[arg(long)]
    core: Option<usize>,
    /// Prints what there is, a line of JSON for each case on each runtime, and does nothing.
    #[arg(long)]
    list: bool,
}

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    let options = Options::parse();
    let (Some(case), Some(peer), false) = (options.case, options.peer, options.list) else {
        for entry in cases::TABLE {
            println!("{}", named(entry.case, entry.peer));
        }
        return ExitCode::SUCCESS;
    };
    let (line, code) = report(case, peer, &options);
    println!("{line}");
    code
}

fn named(case: Case, peer: Peer) -> Value {
    json!({ "case": case.name(), "peer": peer.name(), "version": peer.version() })
}

/// The line to print. That this machine refuses what a runtime needs is no failure of the round.
fn report(case: Case, peer: Peer, options: &Options) -> (Value, ExitCode) {
    let mut line = named(case, peer);
    let Some(entry) = Entry::find(case, peer) else {
        line["status"] = "absent".into();
        line["why"] = "this runtime does not have this case".into();
        return (line, ExitCode::SUCCESS);
    };
    match entry.run(options) {
        Ok(cases::Round::Done(done)) => {
            let (wall, cpu) = done.sample.ns_per_item();
            line["status"] = "measured".into();
            line["ops"] = done.sample.items.into();
            line["wall_ns"] = wall.into();
            line["cpu_ns"] = cpu.into();
            line["check"] = format!("{:#x}", done.check).into();
            (line, ExitCode::SUCCESS)
        }
        Ok(cases::Round::Refused(why)) => {
            line["status"] = "refused".into();
            line["why"] = why.into();
            (line, ExitCode::SUCCESS)
        }
        Ok(cases::Round::Absent(why)) => {
            line["status"] = "absent".into();
            line["why"] = why.into();
            (line, ExitCode::SUCCESS)
        }
        Err(error) => {
            line["status"] = "failed".into();
            line["why"] = error.to_string().into();
            (line, ExitCode::FAILURE)
        }
    }
}
