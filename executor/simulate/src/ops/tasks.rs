//! Timers, tasks, and what goes between them, on one worker and on several.

use std::panic::resume_unwind;
use std::time::Duration;

use corelane::sync::{local, oneshot};
use corelane::{spawn_local, time};

use super::run;
use crate::rng::Rng;
use crate::world::{Ctx, Ping, Shared, Task};

/// Tasks do not spawn deeper than this.
const DEPTH_MAX: usize = 3;

/// What a task panics with on purpose.
struct OnPurpose;

pub(super) async fn sleep(mut ctx: Ctx) {
    let duration = ctx.rng.micros(3_000);
    let due = time::now() + duration;
    time::sleep(duration).await;
    ctx.check(time::now() >= due, || "a sleep ended early".into());
}

pub(super) async fn interval(mut ctx: Ctx) {
    let period = Duration::from_micros(50) + ctx.rng.micros(400);
    let mut interval = time::interval(period);
    let mut last = None;
    for _ in 0..1 + ctx.rng.below(4) {
        let tick = interval.tick().await;
        ctx.check(tick <= time::now(), || "a tick came early".into());
        let grows = last.is_none_or(|last| last < tick);
        ctx.check(grows, || "a tick came twice".into());
        last = Some(tick);
    }
}

/// Takes its time in one poll: nothing else of the worker runs meanwhile.
pub(super) async fn long_poll(mut ctx: Ctx) {
    let duration = ctx.rng.micros(2_000);
    ctx.world.count(|tally| tally.jumps += 1);
    ctx.world.sim.advance(duration);
    corelane::yield_now().await;
}

pub(super) async fn yields(mut ctx: Ctx) {
    for _ in 0..ctx.rng.below(20) {
        corelane::yield_now().await;
    }
}

/// Holds a permit over an operation; there are two of them.
pub(super) async fn permit(mut ctx: Ctx) {
    let count = 1 + ctx.rng.below(2);
    let permit = ctx.shared.permits.acquire(count).await;
    ctx.check(permit.count() == count, || {
        "a permit of another count".into()
    });
    super::files::read_exact(ctx.fork()).await;
}

/// Waits for what another task tells it.
pub(super) async fn notified(mut ctx: Ctx) {
    let mut teller = ctx.child();
    drop(spawn_local(async move {
        for _ in 0..teller.ctx.rng.below(6) {
            corelane::yield_now().await;
        }
        if teller.ctx.rng.percent(30) {
            time::sleep(teller.ctx.rng.micros(200)).await;
        }
        teller.ctx.shared.notify.notify_one();
    }));
    // Another's permit serves as well; a waiter that was dropped passes its own on.
    let limit = Duration::from_millis(50);
    let told = time::timeout(limit, ctx.shared.notify.notified()).await;
    if told.is_err() {
        ctx.world.count(|tally| tally.timed_out += 1);
    }
}

/// Sends through a short local channel, in order, nothing lost.
pub(super) async fn pipe(mut ctx: Ctx) {
    let (sender, mut receiver) = local::bounded(1 + ctx.rng.below(3));
    let count = ctx.rng.below(12);
    let mut source = ctx.child();
    let handle = spawn_local(async move {
        source.ctx.begin("sending");
        for number in 0..count {
            if source.ctx.rng.percent(30) {
                corelane::yield_now().await;
            }
            if sender.send(number).await.is_err() {
                return;
            }
        }
    });
    for number in 0..count {
        let received = receiver.recv().await;
        ctx.check(received == Some(number), || {
            format!("pipe: {received:?} instead of {number}")
        });
    }
    let end = receiver.recv().await;
    ctx.check(end.is_none(), || format!("pipe: {end:?} after the end"));
    let ended = handle.await;
    ctx.check(ended.is_ok(), || {
        format!("pipe: the source ended by {ended:?}")
    });
}

/// Spawns tasks, which are awaited, aborted, let go, or panic.
pub(super) async fn spawn(mut ctx: Ctx) {
    if ctx.depth >= DEPTH_MAX {
        return;
    }
    for _ in 0..1 + ctx.rng.below(3) {
        let child = ctx.child();
        let steps = 1 + ctx.rng.below(3);
        let panics = ctx.rng.percent(10);
        let handle = spawn_local(async move {
            run(child, steps).await;
            if panics {
                resume_unwind(Box::new(OnPurpose));
            }
        });
        match ctx.rng.below(4) {
            0 => {
                handle.abort();
                ctx.world.count(|tally| tally.aborted += 1);
                let ended = handle.await;
                let fits = ended.as_ref().is_ok_and(|()| !panics)
                    || ended
                        .as_ref()
                        .is_err_and(|error| error.is_cancelled() || (panics && error.is_panic()));
                ctx.check(fits, || format!("an aborted child ended by {ended:?}"));
            }
            1 => drop(handle),
            _ => {
                let ended = handle.await;
                let panicked = ended.as_ref().is_err_and(corelane::JoinError::is_panic);
                ctx.check(panicked == panics && ended.is_ok() != panics, || {
                    format!("a child ended by {ended:?}")
                });
                if panicked {
                    ctx.world.count(|tally| tally.panicked += 1);
                }
            }
        }
    }
}

/// Asks the server of some worker; it may be gone, and then says so.
pub(super) async fn ping(mut ctx: Ctx) {
    let to = ctx.rng.below(ctx.world.offices.borrow().len());
    let Some(mail) = ctx.world.offices.borrow()[to].mail.clone() else {
        return;
    };
    let number = ctx.world.serial();
    let (reply, answer) = oneshot::channel();
    if mail.send(Ping { number, reply }).await.is_err() {
        return;
    }
    drop(mail);
    if let Ok(answer) = answer.await {
        ctx.check(answer == number, || {
            format!("ping: {answer} instead of {number}")
        });
    }
}

/// Spawns a task on some worker, and awaits it from here.
pub(super) async fn remote(mut ctx: Ctx) {
    let workers = ctx.world.offices.borrow().len();
    let (to, steps) = (ctx.rng.below(workers), 1 + ctx.rng.below(2));
    let spawner = ctx.world.offices.borrow()[to].spawner.clone();
    let Some(spawner) = spawner.filter(|_| ctx.depth < DEPTH_MAX) else {
        return;
    };
    let (rng, depth) = (ctx.rng.fork(), ctx.depth + 1);
    // What is shared by the tasks of a worker does not leave it: this one has its own.
    let spawned = spawner.spawn(move || {
        let task = Task::new(rng, to, depth, Shared::new());
        run(task, steps)
    });
    let Ok(handle) = spawned else { return };
    ctx.world.count(|tally| tally.remote += 1);
    match ctx.rng.below(4) {
        0 => {
            handle.abort();
            ctx.world.count(|tally| tally.aborted += 1);
        }
        1 => {}
        _ => {
            let ended = handle.await;
            let fits = ended
                .as_ref()
                .err()
                .is_none_or(|error| error.is_worker_gone() || error.is_cancelled());
            ctx.check(fits, || format!("a remote task ended by {ended:?}"));
        }
    }
}

/// Answers pings until nobody can ask any more.
pub(crate) async fn serve(mut task: Task, mut mail: corelane::sync::channel::Receiver<Ping>) {
    let ctx = &mut task.ctx;
    let mut batch = Vec::new();
    loop {
        ctx.begin("serving");
        if mail.recv_batch(&mut batch, 4).await == 0 {
            return;
        }
        for ping in batch.drain(..) {
            if ctx.rng.percent(30) {
                super::files::read_exact(ctx.fork()).await;
            }
            // Who asked may be gone.
            let _ = ping.reply.send(ping.number);
        }
    }
}

/// Makes the generator of one of a program's tasks.
pub(crate) fn generator(seed: u64, worker: usize, number: usize) -> Rng {
    Rng::new(seed ^ (worker as u64 + 1) << 40 ^ (number as u64 + 1) << 20)
}
