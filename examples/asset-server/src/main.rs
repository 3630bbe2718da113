//! An HTTP server for game assets: `asset-server [--listen ADDR] [--workers N] ROOT...`
#![forbid(unsafe_code)]

use std::env;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use asset_server::args::{Args, EXIT_CANNOT_START, Stop};
use asset_server::demo;

fn main() -> ExitCode {
    let args = match Args::from_command_line(env::args_os()) {
        Ok(args) => args,
        Err(Stop::Show(text)) => {
            // Nobody is left to tell if standard output is gone.
            let _ = io::stdout().write_all(text.as_bytes());
            return ExitCode::SUCCESS;
        }
        Err(Stop::Wrong(line)) => return cannot_start(&line),
    };
    match roots(args.roots) {
        Ok(roots) => {
            for root in roots {
                // As above.
                let _ = writeln!(io::stdout(), "root {}", root.display());
            }
            ExitCode::SUCCESS
        }
        Err(line) => cannot_start(&line),
    }
}

/// Returns the roots given, or the demo pack, and checks that each is there.
fn roots(mut roots: Vec<PathBuf>) -> Result<Vec<PathBuf>, String> {
    if roots.is_empty() {
        let folder = demo::cache_folder(env::var_os("XDG_CACHE_HOME"), env::var_os("HOME"))
            .ok_or("no folder for the demo pack: neither XDG_CACHE_HOME nor HOME is set")?;
        let pack = demo::ensure(&folder).map_err(|error| {
            format!("cannot make the demo pack in {}: {error}", folder.display())
        })?;
        roots.push(pack);
    }
    for root in &roots {
        root.metadata()
            .map_err(|error| format!("cannot serve {}: {error}", root.display()))?;
    }
    Ok(roots)
}

fn cannot_start(line: &str) -> ExitCode {
    // Nobody is left to tell if standard error is gone.
    let _ = writeln!(io::stderr(), "asset-server: {line}");
    ExitCode::from(EXIT_CANNOT_START)
}
