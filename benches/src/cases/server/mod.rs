//! The asset server against nginx with sendfile and a cache of open files, one worker each, on the
//! same core: what an answer costs the server's processes.
//!
//! Files of 4 KiB, 64 KiB and 1 MiB, and ranges of 64 KiB, which nginx takes out of a plain file and
//! ours out of a pack. The client has the other core, and is the same for both.

mod files;
mod process;

use std::net::SocketAddr;
use std::path::PathBuf;

use core_affinity::CoreId;

use crate::client::{Asked, Load};
use crate::content::Content;
use crate::environment::Cores;
use crate::measure::{By, Contender, Target, interleave};
use crate::{Failure, Options, Outcome};

use files::Files;
use process::Process;

/// What is asked for, by how many connections, how often, and what it may cost.
struct Setting {
    name: &'static str,
    asked: Vec<Asked>,
    connections: usize,
    requests: u64,
    cpu_max: f64,
}

pub(crate) fn run(options: &Options, cores: &Cores) -> Outcome {
    let skip = |why: &str| {
        println!("\nserver: skipped, as {why}");
        Ok(())
    };
    let Some([measured, other]) = cores.pair() else {
        return skip("this process may use one core only");
    };
    let ours = match &options.asset_server {
        Some(path) => path.clone(),
        None => beside_this_program()?,
    };
    if !ours.is_file() {
        return skip(&format!(
            "there is no {} (cargo build --release -p asset-server)",
            ours.display()
        ));
    }
    let Some(nginx) = process::nginx() else {
        return skip("there is no nginx here (Debian has it as nginx-light)");
    };
    let content = Content::prepare(options.file.as_deref(), options.remove_file)?;
    let files = Files::make(&content.path)?;
    let nginx = Process::nginx(&nginx, &files, measured)?;
    let ours = Process::asset_server(&ours, &files, measured)?;
    for setting in settings(&files)? {
        compare(options, &setting, [&nginx, &ours], other)?;
    }
    Ok(())
}

fn compare(
    options: &Options,
    setting: &Setting,
    [nginx, ours]: [&Process; 2],
    client: CoreId,
) -> Outcome {
    let load = |addr: SocketAddr| Load {
        addr,
        core: client,
        connections: setting.connections,
        warm_up: setting.requests / 20,
        requests: setting.requests,
        asked: &setting.asked,
    };
    let asked_of_ours: Vec<Asked> = setting.asked.iter().map(one_folder_down).collect();
    let contenders = vec![
        Contender::new("floor: nginx", || {
            load(nginx.addr).run(|| nginx.time_on_cores())
        }),
        Contender::new("asset-server", || {
            let load = Load {
                asked: &asked_of_ours,
                ..load(ours.addr)
            };
            load.run(|| ours.time_on_cores())
        }),
    ];
    let target = |by, at_most| Target {
        own: 1,
        against: &[0],
        by,
        at_most,
    };
    let targets = [target(By::Cpu, setting.cpu_max), target(By::Wall, 1.0)];
    let title = format!("server: {}", setting.name);
    let rounds = options.rounds;
    interleave(options, &title, "answer", rounds, contenders, &targets).map(drop)
}

fn beside_this_program() -> Result<PathBuf, std::io::Error> {
    Ok(std::env::current_exe()?.with_file_name("asset-server"))
}

/// Our server has the same files in a folder of its own.
fn one_folder_down(asked: &Asked) -> Asked {
    let head = asked.head.strip_prefix(b"GET ").unwrap_or(&asked.head);
    Asked {
        head: [b"GET /a", head].concat(),
        ..asked.clone()
    }
}

fn settings(files: &Files) -> Result<Vec<Setting>, Failure> {
    Ok(vec![
        Setting {
            name: "files of 4 KiB",
            asked: files.whole(4 << 10)?,
            connections: 64,
            requests: 40_000,
            cpu_max: 0.65,
        },
        Setting {
            name: "files of 64 KiB",
            asked: files.whole(64 << 10)?,
            connections: 64,
            requests: 20_000,
            cpu_max: 0.75,
        },
        Setting {
            name: "files of 1 MiB",
            asked: files.whole(1 << 20)?,
            connections: 32,
            requests: 2_000,
            cpu_max: 0.95,
        },
        Setting {
            name: "ranges of 64 KiB, ours out of a pack",
            asked: files.ranges(64 << 10)?,
            connections: 64,
            requests: 20_000,
            cpu_max: 0.8,
        },
    ])
}
