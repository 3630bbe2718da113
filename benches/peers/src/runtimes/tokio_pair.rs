//! Messages between two cores over tokio's channel.

use tokio::sync::mpsc::{Receiver, Sender, channel};

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
    channel(WINDOW)
}

impl Trip {
    pub(super) fn new() -> Self {
        let (there, inbox) = channel(1);
        let (back, answers) = channel(1);
        Self {
            caller: Caller { there, answers },
            echo: Echo { inbox, back },
        }
    }
}

impl Caller {
    /// Sends as many messages, each when the answer to the last one is there, and adds them up.
    pub(super) async fn call(&mut self, trips: u64) -> Result<u64, Failure> {
        let mut sum = 0;
        for value in 0..trips {
            self.there.send(value).await?;
            sum += self.answers.recv().await.ok_or("the other side is gone")?;
        }
        Ok(sum)
    }
}

impl Echo {
    /// Answers until the caller is gone.
    pub(super) async fn answer(mut self) -> Result<(), Failure> {
        while let Some(value) = self.inbox.recv().await {
            self.back.send(value + 1).await?;
        }
        Ok(())
    }
}

/// Sends what warms up and what counts.
pub(super) async fn send(to: Sender<u64>, rounds: [u64; 2]) -> Result<(), Failure> {
    for count in rounds {
        for value in 0..count {
            to.send(value).await?;
        }
    }
    Ok(())
}

/// Takes as many messages, and adds them up.
pub(super) async fn take(from: &mut Receiver<u64>, count: u64) -> Result<u64, Failure> {
    let mut sum = 0;
    for _ in 0..count {
        sum += from.recv().await.ok_or("the sender is gone")?;
    }
    Ok(sum)
}
