//! What tasks do: one step after the other, each a random operation that is awaited, bounded by
//! time, dropped, forgotten, or handed to another task.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use corelane::{spawn_local, time};

use crate::world::{Ctx, Task};

mod files;
mod queue;
mod sockets;
pub(crate) mod tasks;

/// A future of a task's, with no output: what comes of it is checked inside.
pub(crate) type Step = Pin<Box<dyn Future<Output = ()>>>;

/// One kind of step.
struct Kind {
    name: &'static str,
    make: fn(Ctx) -> Step,
    /// It waits for a peer, who may never come.
    peer: bool,
}

macro_rules! kinds {
    ($($peer:ident $module:ident::$name:ident),* $(,)?) => {
        const KINDS: &[Kind] = &[$(Kind {
            name: stringify!($name),
            make: |ctx| Box::pin($module::$name(ctx)),
            peer: matches!(stringify!($peer).as_bytes(), b"peer"),
        },)*];
    };
}

kinds![
    prompt files::read,
    prompt files::read_exact,
    prompt files::read_many,
    prompt files::read_vectored,
    prompt files::read_pool,
    prompt files::write_all,
    prompt files::write_vectored,
    prompt files::metadata,
    prompt files::open_and_close,
    prompt files::sync,
    peer sockets::recv,
    peer sockets::talk,
    peer sockets::accept,
    peer sockets::incoming,
    peer sockets::connect,
    peer sockets::readable,
    prompt tasks::sleep,
    prompt tasks::interval,
    prompt tasks::long_poll,
    prompt tasks::yields,
    prompt tasks::permit,
    prompt tasks::notified,
    prompt tasks::pipe,
    prompt tasks::spawn,
    prompt tasks::ping,
    prompt tasks::remote,
    prompt queue::session,
];

/// Runs a task's steps.
pub(crate) async fn run(mut task: Task, steps: usize) {
    for _ in 0..steps {
        step(&mut task.ctx).await;
    }
}

async fn step(ctx: &mut Ctx) {
    let kind = &KINDS[ctx.rng.below(KINDS.len())];
    ctx.begin(kind.name);
    if ctx.rng.percent(3) {
        return files::forget(ctx.fork()).await;
    }
    let operation = (kind.make)(ctx.fork());
    match ctx.rng.below(10) {
        0..3 => drop_after(ctx, operation).await,
        3..5 => hand_over(ctx, operation, kind.peer).await,
        5..8 if !kind.peer => operation.await,
        _ => bounded(ctx, operation).await,
    }
}

/// Awaits a step for some time.
async fn bounded(ctx: &mut Ctx, operation: Step) {
    let limit = ctx.rng.micros(600);
    if time::timeout(limit, operation).await.is_err() {
        ctx.world.count(|tally| tally.timed_out += 1);
    }
}

/// Polls a step a few times and drops it.
async fn drop_after(ctx: &mut Ctx, mut operation: Step) {
    let polls = ctx.rng.below(5);
    for _ in 0..polls {
        let ready = poll_once(&mut operation).await;
        if ready {
            return;
        }
        corelane::yield_now().await;
    }
    if polls > 0 {
        ctx.world.count(|tally| tally.dropped += 1);
    }
}

/// Polls a step once and lets another task go on with it: from now on, that one is to be woken.
async fn hand_over(ctx: &mut Ctx, mut operation: Step, peer: bool) {
    if poll_once(&mut operation).await {
        return;
    }
    ctx.world.count(|tally| tally.handed_over += 1);
    let mut other = ctx.child();
    let handle = spawn_local(async move {
        other.ctx.begin("a step of another");
        if peer {
            bounded(&mut other.ctx, operation).await;
        } else {
            operation.await;
        }
    });
    if !ctx.rng.percent(20) {
        let ended = handle.await;
        ctx.check(ended.is_ok(), || format!("a child ended by {ended:?}"));
    }
}

/// Polls a future once, with the waker of the task.
pub(crate) async fn poll_once<F: Future + Unpin>(future: &mut F) -> bool {
    poll_fn(|cx| Poll::Ready(Pin::new(&mut *future).poll(cx).is_ready())).await
}
