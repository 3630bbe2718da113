//! A server that runs beside this program, and what it takes of the cores.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use core_affinity::CoreId;
use rustix::process::{Pid, Signal, kill_process};

use super::files::Files;
use crate::Failure;
use crate::environment::pin;

/// How long a server may take to start, and to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// A server, ended when it is dropped.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    pub(super) addr: SocketAddr,
}

/// Where nginx is, if it is here.
pub(super) fn nginx() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // It is not in the path of users on some systems.
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin")])
        .map(|folder| folder.join("nginx"))
        .find(|program| program.is_file())
}

impl Process {
    /// Starts nginx with one worker on `core`.
    pub(super) fn nginx(program: &Path, files: &Files, core: CoreId) -> Result<Self, Failure> {
        // A port that was free a moment ago, as nginx does not say which it has.
        let addr = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let configuration = files.folder().join("nginx.conf");
        fs::write(&configuration, nginx_conf(files, addr))?;
        let log = files.folder().join("nginx.log");
        let mut command = Command::new(program);
        command.arg("-p").arg(files.folder());
        command.arg("-e").arg(&log).arg("-c").arg(&configuration);
        let mut server = Self {
            child: start_on(core, &mut command)?,
            addr,
        };
        let start = Instant::now();
        while TcpStream::connect(addr).is_err() {
            if server.child.try_wait()?.is_some() || start.elapsed() > PATIENCE {
                let said = fs::read_to_string(&log).unwrap_or_default();
                return Err(format!("nginx does not listen: {}", said.trim()).into());
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(server)
    }

    /// Starts our server with one worker on `core`.
    pub(super) fn asset_server(
        program: &Path,
        files: &Files,
        core: CoreId,
    ) -> Result<Self, Failure> {
        let mut command = Command::new(program);
        command.args(["--listen", "127.0.0.1:0", "--workers", "1"]);
        command.args(["--connections-max", "1000"]);
        command.args([files.root(), files.pack()]);
        command.stdout(Stdio::piped());
        let mut child = start_on(core, &mut command)?;
        let stdout = child.stdout.take().ok_or("no output")?;
        // It is ended by its drop from here on.
        let mut server = Self {
            child,
            addr: SocketAddr::from(([127, 0, 0, 1], 0)),
        };
        let mut lines = BufReader::new(stdout).lines();
        let first = lines.next().ok_or("the asset server said nothing")??;
        let addr = first.rsplit('/').next().unwrap_or_default();
        server.addr = addr
            .parse()
            .map_err(|error| format!("the asset server said {first:?}: {error}"))?;
        if let Some(backend) = lines.next() {
            println!("server:    {}", backend?);
        }
        Ok(server)
    }

    /// Time that it and its children have had of all cores, without those that have ended.
    pub(super) fn time_on_cores(&self) -> Result<Duration, Failure> {
        let parent = self.child.id();
        let mut time = time_of(parent)?;
        for entry in fs::read_dir("/proc")? {
            let name = entry?.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            // Others come and go meanwhile.
            if parent_of(pid) == Some(parent) {
                time += time_of(pid)?;
            }
        }
        Ok(time)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Told first, as nginx's worker ends with its parent's leave only.
        if let Some(pid) = Pid::from_raw(self.child.id().cast_signed()) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let start = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) {
            if start.elapsed() > PATIENCE {
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Starts a program that may use `core` alone, as a child has its thread's cores.
fn start_on(core: CoreId, command: &mut Command) -> Result<Child, Failure> {
    let name = command.get_program().to_owned();
    let start = || {
        pin(core)?;
        Ok(command
            .stdin(Stdio::null())
            .spawn()
            .map_err(|error| format!("{}: {error}", name.display()))?)
    };
    thread::scope(|scope| scope.spawn(start).join())
        .unwrap_or_else(|_| Err("starting a server panicked".into()))
}

/// The time that all threads of a process have had of their cores.
fn time_of(pid: u32) -> Result<Duration, Failure> {
    let mut time = Duration::ZERO;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may have ended since.
        let Ok(stat) = fs::read_to_string(task?.path().join("schedstat")) else {
            continue;
        };
        let ran = stat.split(' ').next().unwrap_or_default();
        time += Duration::from_nanos(ran.parse()?);
    }
    Ok(time)
}

fn parent_of(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may have any characters in it.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// As nginx's documentation has it for static files: sendfile, and files kept open.
fn nginx_conf(files: &Files, addr: SocketAddr) -> String {
    let user = if rustix::process::geteuid().is_root() {
        "user root;\n"
    } else {
        ""
    };
    let folder = files.folder().display();
    let root = files.root();
    let root = root.display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("  {name}_temp_path {folder}/nginx-{name};\n"))
        .concat();
    format!(
        "{user}daemon off;\nworker_processes 1;\npid {folder}/nginx.pid;\n\
         events {{ worker_connections 1024; }}\n\
         http {{\n{temporary}  access_log off;\n  default_type application/octet-stream;\n  \
         sendfile on;\n  tcp_nopush on;\n  keepalive_requests 1000000000;\n  \
         open_file_cache max=1000 inactive=60s;\n  open_file_cache_valid 60s;\n  \
         server {{ listen {addr}; root {root}; }}\n}}\n"
    )
}
