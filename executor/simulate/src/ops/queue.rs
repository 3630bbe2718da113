//! A blob queue: requests and batches, cancelled, hurried, dropped, and held to plain reads.

use std::time::Duration;

use blobio::queue::{
    BatchHandle, BlobQueue, Class, Finished, OnError, QueueConfig, QueuedBlob, ReadError, Request,
    RequestHandle,
};
use blobio::{Destination, NativeFileAsyncBlobRandomReader};
use corelane::time;

use crate::rng::Rng;
use crate::world::Ctx;

/// Bytes that destinations hold when they are handed over.
const MARK: u8 = 0x5a;

/// A request as it was asked.
#[derive(Clone, Copy, Debug)]
struct Ask {
    pos: u64,
    len: usize,
    /// It may have been cancelled.
    cancelled: bool,
}

/// What is under way in one queue, and what has come back.
struct Session {
    ctx: Ctx,
    blob: QueuedBlob,
    singles: Vec<(Ask, RequestHandle)>,
    batches: Vec<(Vec<Ask>, BatchHandle)>,
    /// Memory that has come back: it must stay as it is.
    back: Vec<(Destination, u64)>,
    shut: bool,
}

pub(super) async fn session(mut ctx: Ctx) {
    let opened = NativeFileAsyncBlobRandomReader::open("/no/such/path").await;
    let Some(file) = ctx.io("open", opened) else {
        return;
    };
    let queue = match BlobQueue::new(config(&mut ctx.rng)) {
        Ok(queue) => queue,
        Err(error) => return ctx.world.fail(format!("a queue's limits: {error}")),
    };
    let mut session = Session {
        blob: queue.register(file),
        ctx,
        singles: Vec::new(),
        batches: Vec::new(),
        back: Vec::new(),
        shut: false,
    };
    for _ in 0..1 + session.ctx.rng.below(12) {
        session.step(&queue).await;
    }
    match session.ctx.rng.below(3) {
        0 => drop(queue),
        1 => session.settle().await,
        _ => {
            session.shut = true;
            queue.shutdown().await;
            let stats = queue.stats();
            session.ctx.check(
                (stats.held, stats.queued, stats.in_flight.ops) == (0, 0, 0),
                || format!("a queue that was shut down holds something: {stats:?}"),
            );
        }
    }
    session.settle().await;
    session.check_back();
}

impl Session {
    async fn step(&mut self, queue: &BlobQueue) {
        match self.ctx.rng.below(10) {
            0..4 => self.submit(queue).await,
            4..6 => self.submit_batch(queue).await,
            6 => self.cancel(queue),
            7 => self.hurry(),
            8 => self.let_go(),
            _ => corelane::yield_now().await,
        }
    }

    fn ask(&mut self) -> Ask {
        let rng = &mut self.ctx.rng;
        let longest = rng.pick(&[10, 600, 9_000]);
        Ask {
            // Few places, so that many overlap.
            pos: rng.below(10_000) as u64,
            len: rng.below(longest),
            cancelled: false,
        }
    }

    fn request(&mut self, ask: Ask) -> Request {
        let Ask { pos, len, .. } = ask;
        let rng = &mut self.ctx.rng;
        self.ctx.world.count(|tally| tally.queued += 1);
        let mut request = match rng.below(3) {
            0 => Request::vec(&self.blob, pos, len),
            1 => Request::new(&self.blob, pos, len, vec![MARK; 16]),
            _ => Request::allocated(&self.blob, pos, len, |len| {
                Ok(Vec::with_capacity(len).into())
            }),
        };
        request = request.tag(rng.next() & 3).class(class(rng));
        if rng.percent(30) {
            request = request.deadline(time::now() + rng.micros(3_000));
        }
        request
    }

    async fn submit(&mut self, queue: &BlobQueue) {
        let ask = self.ask();
        let request = self.request(ask);
        let handle = queue.submit(request).await;
        match handle {
            Ok(handle) => self.singles.push((ask, handle)),
            Err(error) => self.ctx.world.fail(format!("an open queue: {error}")),
        }
    }

    async fn submit_batch(&mut self, queue: &BlobQueue) {
        let count = self.ctx.rng.below(12);
        let on_error = self.ctx.rng.pick(&[OnError::Cancel, OnError::Continue]);
        let mut asks: Vec<Ask> = (0..count).map(|_| self.ask()).collect();
        let requests = asks.iter().map(|ask| self.request(*ask)).collect();
        for ask in &mut asks {
            // One that fails takes the others along.
            ask.cancelled = on_error == OnError::Cancel;
        }
        match queue.submit_batch(requests, on_error).await {
            Ok(handle) => self.batches.push((asks, handle)),
            Err(error) => self.ctx.world.fail(format!("an open queue: {error}")),
        }
    }

    fn cancel(&mut self, queue: &BlobQueue) {
        if self.ctx.rng.percent(50) {
            queue.cancel_tagged(3, self.ctx.rng.next() & 3);
            let batched = self.batches.iter_mut().flat_map(|(asks, _)| asks);
            let singles = self.singles.iter_mut().map(|(ask, _)| ask);
            for ask in batched.chain(singles) {
                ask.cancelled = true;
            }
        } else if let Some((ask, handle)) = self.singles.last_mut() {
            ask.cancelled = true;
            handle.cancel();
        }
    }

    fn hurry(&mut self) {
        if let Some((_, handle)) = self.singles.first() {
            handle.set_class(Class::Realtime);
            handle.set_deadline(Some(time::now() + Duration::from_micros(50)));
        }
    }

    /// Drops what is under way: the memory goes when nothing writes it.
    fn let_go(&mut self) {
        if !self.singles.is_empty() {
            let at = self.ctx.rng.below(self.singles.len());
            let (_, handle) = self.singles.swap_remove(at);
            match self.ctx.rng.percent(50) {
                true => handle.detach(),
                false => drop(handle),
            }
        } else if !self.batches.is_empty() {
            drop(self.batches.pop());
        }
    }

    async fn settle(&mut self) {
        while let Some((ask, handle)) = self.singles.pop() {
            let finished = handle.await;
            self.check(ask, finished);
        }
        while let Some((asks, handle)) = self.batches.pop() {
            let done = handle.await;
            self.ctx.check(done.results.len() == asks.len(), || {
                "a batch of another length".into()
            });
            for (ask, finished) in asks.into_iter().zip(done.results) {
                self.check(ask, finished);
            }
        }
    }

    fn check(&mut self, ask: Ask, finished: Finished) {
        let ctx = &self.ctx;
        match &finished.result {
            Ok(count) => {
                ctx.check(
                    *count == ask.len && finished.bytes().len() == ask.len,
                    || format!("{ask:?}: {count} bytes"),
                );
                ctx.check_bytes("a queued read", finished.bytes(), ask.pos);
            }
            Err(ReadError::Cancelled) => {
                ctx.check(ask.cancelled, || format!("{ask:?} was cancelled by nobody"));
            }
            Err(ReadError::ShutDown) => {
                ctx.check(self.shut, || format!("{ask:?}: the queue is open"));
            }
            Err(error) => ctx.check(ctx.world.errors, || format!("{ask:?}: {error}")),
        }
        if let Some(destination) = finished.destination {
            let sum = sum(&destination);
            self.back.push((destination, sum));
        }
    }

    fn check_back(&self) {
        for (destination, before) in &self.back {
            self.ctx.check(sum(destination) == *before, || {
                "a destination was written after it was back".into()
            });
        }
    }
}

fn class(rng: &mut Rng) -> Class {
    rng.pick(&Class::ALL)
}

fn config(rng: &mut Rng) -> QueueConfig {
    let number = |rng: &mut Rng, below: usize| u32::try_from(rng.below(below)).expect("small");
    let mut config = QueueConfig {
        queued_max: 1 + number(rng, 20),
        read_max: 1 + number(rng, 8_000),
        gap_max: number(rng, 2_000),
        span_max: number(rng, 30_000),
        merge_max: rng.below(100_000) as u64,
        begun_max: rng.below(50_000) as u64,
        window_max: 1 + number(rng, 10),
        ..QueueConfig::default()
    };
    config.in_flight.all.ops = 1 + number(rng, 8);
    config.in_flight.all.bytes = 1 + rng.below(50_000) as u64;
    config.policy.age_after_ns = rng.below(1_000_000) as u64;
    config
}

fn sum(destination: &Destination) -> u64 {
    let bytes = destination.bytes().iter();
    bytes.fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
