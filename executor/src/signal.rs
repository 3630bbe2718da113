//! Signals as a future.
//!
//! A handler writes a byte to a socket, which the worker's ring reads. Several workers may wait
//! for the same signals; each gets every one.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;

use signal_hook_registry::SigId;

use crate::AsyncFd;

/// Signals that were registered by [`signals`]; unregistered on drop.
///
/// Once a signal was registered, its default action (ending the process, for most) does not come
/// back in this process.
#[derive(Debug)]
pub struct Signals {
    sources: Vec<Source>,
}

#[derive(Debug)]
struct Source {
    signal: i32,
    registration: SigId,
    receiver: AsyncFd<UnixStream>,
}

impl Drop for Source {
    fn drop(&mut self) {
        signal_hook_registry::unregister(self.registration);
    }
}

/// Registers signals: `&[libc::SIGINT, libc::SIGTERM]`, for example.
///
/// # Errors
///
/// Those of sigaction(2) and socketpair(2).
///
/// # Panics
///
/// Panics outside of a worker, and for a signal that cannot be caught (`SIGKILL`, `SIGSTOP`,
/// `SIGILL`, `SIGFPE`, `SIGSEGV`).
pub fn signals(signals: &[i32]) -> io::Result<Signals> {
    signals
        .iter()
        .map(|&signal| source(signal))
        .collect::<io::Result<_>>()
        .map(|sources| Signals { sources })
}

impl Signals {
    /// Waits for one of the signals and returns its number. Signals of one number that arrive
    /// together count as one.
    ///
    /// # Errors
    ///
    /// Those of polling the socket.
    ///
    /// # Cancel safety
    ///
    /// No signal is lost.
    pub async fn next(&mut self) -> io::Result<i32> {
        loop {
            for source in &self.sources {
                if source.take()? {
                    return Ok(source.signal);
                }
            }
            self.any_readable().await?;
        }
    }

    async fn any_readable(&self) -> io::Result<()> {
        let mut waits: Vec<_> = self
            .sources
            .iter()
            .map(|source| Box::pin(source.receiver.readable()))
            .collect();
        std::future::poll_fn(|cx| {
            for wait in &mut waits {
                if let std::task::Poll::Ready(result) = wait.as_mut().poll(cx) {
                    return std::task::Poll::Ready(result);
                }
            }
            std::task::Poll::Pending
        })
        .await
    }
}

impl Source {
    /// Takes what has arrived; true when there was something.
    fn take(&self) -> io::Result<bool> {
        let mut seen = false;
        let mut bytes = [0; 64];
        loop {
            match self.receiver.get_ref().read(&mut bytes) {
                Ok(0) => return Ok(seen),
                Ok(_) => seen = true,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(seen),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Waits for Ctrl-C (`SIGINT`).
///
/// # Errors
///
/// As [`signals`].
///
/// # Panics
///
/// The future panics when it is first polled outside of a worker.
///
/// # Cancel safety
///
/// A signal that arrives after the future was dropped is lost.
pub async fn ctrl_c() -> io::Result<()> {
    signals(&[libc::SIGINT])?.next().await.map(drop)
}

fn source(signal: i32) -> io::Result<Source> {
    let (receiver, sender) = UnixStream::pair()?;
    receiver.set_nonblocking(true)?;
    sender.set_nonblocking(true)?;
    // Outside of a worker this panics, and then nothing is registered.
    let receiver = AsyncFd::new(receiver);
    let registration = crate::sys::on_signal(signal, sender.into())?;
    Ok(Source {
        signal,
        registration,
        receiver,
    })
}
