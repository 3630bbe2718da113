//! Tests in children with a limit on their time.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::files::Files;
use crate::server::{FaultFs, unavailable};

/// How long a child may take, on a busy machine.
pub const LIMIT: Duration = Duration::from_secs(60);

const MOUNT: &str = "FAULTFS_MOUNT";
const BACKING: &str = "FAULTFS_BACKING";
/// Set where a test that cannot run is a failure.
const REQUIRED: &str = "FAULTFS_REQUIRED";

/// Runs `body`, as the test `test` of the calling binary, in a child process over a file system of
/// its own. What still waits for an answer when `body` ends gets one then. Says `SKIP` where no
/// file system can be mounted, or fails there when `FAULTFS_REQUIRED` is set.
///
/// # Panics
///
/// When the child fails, or does not end within [`LIMIT`]: with what it has printed.
#[track_caller]
pub fn run(test: &str, body: impl FnOnce(&Files)) {
    if let Some(child) = start(test, body) {
        child.succeed();
    }
}

/// As [`run`], but leaves the end of the child to the caller: `None` in the child itself, where
/// `body` has run, and where the test is skipped.
///
/// # Panics
///
/// When the child cannot be started.
#[track_caller]
pub fn start(test: &str, body: impl FnOnce(&Files)) -> Option<Child> {
    if let Some(files) = files_of_parent() {
        let release = Release(&files);
        body(&files);
        drop(release);
        return None;
    }
    if let Some(why) = unavailable() {
        assert!(std::env::var_os(REQUIRED).is_none(), "{test}: {why}");
        println!("SKIP: {test}: {why}");
        return None;
    }
    let mount = FaultFs::mount().expect("the file system is mounted");
    Some(Child::start(mount, test).expect("the child is started"))
}

fn files_of_parent() -> Option<Files> {
    Some(Files {
        mount: std::env::var_os(MOUNT)?.into(),
        backing: std::env::var_os(BACKING)?.into(),
    })
}

/// Answers what waits, at the end and when the body panics: a process does not end before.
struct Release<'a>(&'a Files);

impl Drop for Release<'_> {
    fn drop(&mut self) {
        self.0.release();
    }
}

/// A test that runs in a child process.
#[derive(Debug)]
pub struct Child {
    mount: FaultFs,
    process: std::process::Child,
    /// Files, as a pipe would be read by the same thread that watches the time.
    output: File,
    test: String,
}

impl Child {
    fn start(mount: FaultFs, test: &str) -> io::Result<Self> {
        let output = tempfile::tempfile()?;
        let process = Command::new(std::env::current_exe()?)
            .args(["--exact", test, "--nocapture", "--test-threads=1"])
            .env(MOUNT, &mount.files().mount)
            .env(BACKING, &mount.files().backing)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output.try_clone()?)
            .spawn()?;
        Ok(Self {
            mount,
            process,
            output,
            test: test.to_owned(),
        })
    }

    /// Returns the file system of the child.
    pub fn mount(&mut self) -> &mut FaultFs {
        &mut self.mount
    }

    /// Returns what the child has printed so far.
    ///
    /// # Panics
    ///
    /// When that cannot be read.
    pub fn printed(&mut self) -> String {
        let len = self.output.metadata().expect("a file").len();
        let mut bytes = vec![0; usize::try_from(len).expect("a log")];
        // By position: where the next byte goes is the child's.
        self.output.read_exact_at(&mut bytes, 0).expect("a file");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits for the end of the child, for as long as `limit`.
    ///
    /// # Panics
    ///
    /// When it cannot be waited for.
    pub fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait().expect("a child of ours") {
                return Some(status);
            }
            if start.elapsed() >= limit {
                return None;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Kills the child, which ends at once unless it waits for the file system.
    ///
    /// # Panics
    ///
    /// When the child is not ours.
    pub fn kill(&mut self) {
        self.process.kill().expect("a child of ours");
    }

    /// Waits until the child has passed its test.
    ///
    /// # Panics
    ///
    /// When it has not, or does not end in time.
    #[track_caller]
    pub fn succeed(mut self) {
        let status = self.wait(LIMIT);
        let held = self.mount.held();
        let printed = self.printed();
        match status {
            None => panic!(
                "{} hangs, while {held} requests are not answered:\n{printed}",
                self.test
            ),
            Some(status) => assert!(
                status.success() && printed.contains("1 passed"),
                "{}: {status}\n{printed}",
                self.test
            ),
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // The file system first: without it, everything can be killed.
        self.mount.abort();
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
