//! An HTTP server for game assets: `asset-server [--listen ADDR] [--workers N] ROOT...`
#![forbid(unsafe_code)]

use std::env;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use asset_server::args::{Args, EXIT_CANNOT_START, Stop};
use asset_server::demo;
use asset_server::serve::Server;

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
    match serve(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(line) => cannot_start(&line),
    }
}

/// Serves until a signal says to stop; a second one cuts short what is under way.
fn serve(mut args: Args) -> Result<(), String> {
    args.roots = roots(args.roots)?;
    let mut server = Server::start(&args).map_err(|error| error.to_string())?;
    let [first, second] = server
        .signals()
        .map_err(|error| format!("cannot wait for signals: {error}"))?;
    let mut stdout = io::stdout();
    // Nobody is left to tell if standard output is gone.
    let _ = writeln!(stdout, "listening on http://{}", server.addr());
    let _ = writeln!(stdout, "{}", server.backend());
    let _ = stdout.flush();
    // It fails if the worker is gone that waits: then there is nothing to wait for either.
    let _ = server.block_on(first);
    server.stop(second);
    Ok(())
}

/// Returns the roots given, or the demo pack.
fn roots(mut roots: Vec<PathBuf>) -> Result<Vec<PathBuf>, String> {
    if roots.is_empty() {
        let folder = demo::cache_folder(env::var_os("XDG_CACHE_HOME"), env::var_os("HOME"))
            .ok_or("no folder for the demo pack: neither XDG_CACHE_HOME nor HOME is set")?;
        let pack = demo::ensure(&folder).map_err(|error| {
            format!("cannot make the demo pack in {}: {error}", folder.display())
        })?;
        roots.push(pack);
    }
    Ok(roots)
}

fn cannot_start(line: &str) -> ExitCode {
    // Nobody is left to tell if standard error is gone.
    let _ = writeln!(io::stderr(), "asset-server: {line}");
    ExitCode::from(EXIT_CANNOT_START)
}
