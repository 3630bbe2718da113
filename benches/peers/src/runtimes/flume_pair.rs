//! Messages between two cores over flume, for runtimes that have no channel of their own.

use flume::{Receiver, Sender, bounded};

use crate::Failure;
use crate::cases::WINDOW;

/// Both ends of a message there and back, one at a time.
pub(super) struct Trip {
    pub(super) caller: Caller,
    pub(super) echo: Echo,
}

pub(super) struct Caller {
    there: Sender<u64>,
    answers: Receiver<u64>,
}

pub(super) struct Echo {
    inbox: Receiver<u64>,
    back: Sender<u64>,
}

/// Both ends of a stream.
pub(super) fn stream() -> (Sender<u64>, Receiver<u64>) {
    bounded(WINDOW)
}

impl Trip {
    pub(super) fn new() -> Self {
        let (there, inbox) = bounded(1);
        let (back, answers) = bounded(1);
        Self {
            caller: Caller { there, answers },
            echo: Echo { inbox, back },
        }
    }
}

impl Caller {
    /// Sends as many messages, each when the answer to the last one is there, and adds them up.
    pub(super) async fn call(&self, trips: u64) -> Result<u64, Failure> {
        let mut sum = 0;
        for value in 0..trips {
            self.there.send_async(value).await?;
            sum += self.answers.recv_async().await?;
        }
        Ok(sum)
    }
}

impl Echo {
    /// Answers until the caller is gone.
    pub(super) async fn answer(self) -> Result<(), Failure> {
        while let Ok(value) = self.inbox.recv_async().await {
            self.back.send_async(value + 1).await?;
        }
        Ok(())
    }
}

/// Sends what warms up and what counts.
pub(super) async fn send(to: Sender<u64>, rounds: [u64; 2]) -> Result<(), Failure> {
    for count in rounds {
        for value in 0..count {
            to.send_async(value).await?;
        }
    }
    Ok(())
}

/// Takes as many messages, and adds them up.
pub(super) async fn take(from: &Receiver<u64>, count: u64) -> Result<u64, Failure> {
    let mut sum = 0;
    for _ in 0..count {
        sum += from.recv_async().await?;
    }
    Ok(sum)
}
