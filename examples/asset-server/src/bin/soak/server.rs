//! The server's process.

use std::fs;
use std::io::{self, BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::assets::Assets;
use crate::message::Client;

/// The most bytes of answers that the server may have in memory.
pub(crate) const IN_FLIGHT_MAX: u64 = 64 << 20;

/// A folder that is gone with this.
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
}

impl Folder {
    pub(crate) fn make() -> io::Result<Self> {
        let name = format!("asset-server-soak-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path)?;
        Ok(Self { path })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Who looks finds it in the folder for what is temporary.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// A running server; killed on drop.
pub(crate) struct Server {
    child: Child,
    pub(crate) addr: SocketAddr,
    complaints: PathBuf,
}

/// What is seen of a process from outside.
#[derive(Clone, Copy, Default)]
pub(crate) struct Seen {
    pub(crate) resident: u64,
    pub(crate) descriptors: usize,
    /// In hundredths of a second.
    pub(crate) cpu_ticks: u64,
}

/// How the server ended.
pub(crate) struct End {
    pub(crate) is_success: bool,
    pub(crate) took: Duration,
    /// The last lines of standard error.
    pub(crate) complaints: Vec<String>,
    pub(crate) panics: usize,
}

impl Server {
    /// Starts it on as many workers as the current thread may run on cores.
    pub(crate) fn start(program: &Path, assets: &Assets, options: &str) -> io::Result<Self> {
        let complaints = assets.roots[0].with_file_name("complaints");
        let mut child = Command::new(program)
            .args(["--listen", "127.0.0.1:0"])
            .args(["--head-timeout", "3", "--idle-timeout", "5"])
            .arg(format!("--in-flight-bytes-max={IN_FLIGHT_MAX}"))
            .args(options.split_whitespace())
            .args(&assets.roots)
            .stdout(Stdio::piped())
            .stderr(fs::File::create(&complaints)?)
            .spawn()
            .map_err(|error| io::Error::other(format!("{}: {error}", program.display())))?;
        let stdout = child.stdout.take().expect("it is piped");
        let lines = BufReader::new(stdout).lines().take(2);
        let lines = lines.collect::<io::Result<Vec<_>>>()?;
        let addr = lines.first().and_then(|line| {
            let addr = line.strip_prefix("listening on http://")?;
            addr.parse().ok()
        });
        println!("{}", lines.join("; "));
        let Some(addr) = addr else {
            let said = fs::read_to_string(&complaints)?;
            return Err(io::Error::other(format!(
                "the server does not start: {said}"
            )));
        };
        Ok(Self {
            child,
            addr,
            complaints,
        })
    }

    /// Looks at the process.
    pub(crate) fn see(&self) -> io::Result<Seen> {
        see(&format!("/proc/{}", self.child.id()))
    }

    /// Waits until no connection is left but the one that asks; gives how many there were at last.
    pub(crate) fn connections_left(&self, patience: Duration) -> io::Result<u64> {
        let until = Instant::now() + patience;
        loop {
            let mut client = Client::connect(self.addr)?;
            let answer = client.get("/metrics", "")?;
            let text = String::from_utf8_lossy(&answer.body);
            let mut lines = text.lines();
            let line = lines.find_map(|line| line.strip_prefix("asset_server_connections_in_use "));
            let left = line.and_then(|value| value.parse::<u64>().ok());
            let left = left.ok_or_else(|| io::Error::other("no such metric"))?;
            if left <= 1 || Instant::now() > until {
                return Ok(left.saturating_sub(1));
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Ends it by a signal, and waits.
    pub(crate) fn stop(mut self) -> io::Result<End> {
        let began = Instant::now();
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a child has an id"), Signal::TERM)?;
        let status = self.child.wait()?;
        let said = fs::read_to_string(&self.complaints)?;
        let panics = said
            .lines()
            .filter(|line| line.contains("panicked"))
            .count();
        let mut complaints: Vec<_> = said.lines().rev().take(10).map(str::to_owned).collect();
        complaints.reverse();
        Ok(End {
            is_success: status.success(),
            took: began.elapsed(),
            complaints,
            panics,
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Looks at this process.
pub(crate) fn see_self() -> io::Result<Seen> {
    see("/proc/self")
}

fn see(process: &str) -> io::Result<Seen> {
    let unclear = || io::Error::other(format!("{process} does not say it"));
    let status = fs::read_to_string(format!("{process}/status"))?;
    let mut lines = status.lines();
    let resident = lines.find_map(|line| line.strip_prefix("VmRSS:"));
    let resident = resident.and_then(|value| value.split_whitespace().next()?.parse::<u64>().ok());
    let stat = fs::read_to_string(format!("{process}/stat"))?;
    // The name, in brackets, may hold anything.
    let (_, fields) = stat.rsplit_once(')').ok_or_else(unclear)?;
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: Option<u64> = ticks.map(|field| field.parse::<u64>().ok()).sum();
    Ok(Seen {
        resident: resident.ok_or_else(unclear)? * 1024,
        descriptors: fs::read_dir(format!("{process}/fd"))?.count(),
        cpu_ticks: ticks.ok_or_else(unclear)?,
    })
}
