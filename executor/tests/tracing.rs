//! What a subscriber is told (feature `tracing`): spans of tasks, with where they were spawned, and
//! events of the backend, of stalls, of overflows and of leaks.

mod support;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::fs::DirEntry;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use corelane::fs::File;
use corelane::net::TcpListener;
use corelane::{BackendChoice, Config, SimConfig, Worker, spawn_local, yield_now};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_core::span::Current;

use support::{HUNG, run_on, settle};

/// What a subscriber was told, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Told {
    Span(u64, Fields),
    Follows(u64, u64),
    Enter(u64),
    Exit(u64),
    Close(u64),
    Event(Level, Fields),
}

type Fields = BTreeMap<&'static str, String>;

static TOLD: Mutex<Vec<Told>> = Mutex::new(Vec::new());
/// The subscriber is the process's, and so is what it was told: one test at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
/// What kind of span each is.
static KINDS: Mutex<BTreeMap<u64, &'static Metadata<'static>>> = Mutex::new(BTreeMap::new());
static NEXT: AtomicU64 = AtomicU64::new(1);

thread_local! {
    /// The spans that this thread is in, the innermost last.
    static INSIDE: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// Records what belongs to corelane, and the spans of this file.
struct Recorder;

struct Fill<'a>(&'a mut Fields);

impl Visit for Fill<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}

fn told(what: Told) {
    TOLD.lock().unwrap().push(what);
}

impl Subscriber for Recorder {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("corelane") || metadata.target().starts_with("tracing")
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        let mut fields = Fields::from([("name", attributes.metadata().name().to_owned())]);
        attributes.record(&mut Fill(&mut fields));
        assert!(attributes.is_root() || attributes.is_contextual());
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        KINDS.lock().unwrap().insert(id, attributes.metadata());
        told(Told::Span(id, fields));
        Id::from_u64(id)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, span: &Id, follows: &Id) {
        told(Told::Follows(span.into_u64(), follows.into_u64()));
    }

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::new();
        event.record(&mut Fill(&mut fields));
        told(Told::Event(*event.metadata().level(), fields));
    }

    fn enter(&self, span: &Id) {
        told(Told::Enter(span.into_u64()));
        INSIDE.with_borrow_mut(|inside| inside.push(span.into_u64()));
    }

    fn exit(&self, span: &Id) {
        told(Told::Exit(span.into_u64()));
        let left = INSIDE.with_borrow_mut(Vec::pop);
        assert_eq!(left, Some(span.into_u64()), "spans are left in order");
    }

    fn current_span(&self) -> Current {
        let Some(id) = INSIDE.with_borrow(|inside| inside.last().copied()) else {
            return Current::none();
        };
        Current::new(Id::from_u64(id), KINDS.lock().unwrap()[&id])
    }

    fn try_close(&self, span: Id) -> bool {
        told(Told::Close(span.into_u64()));
        true
    }
}

/// Begins to record; what other tests did is forgotten.
fn record() -> MutexGuard<'static, ()> {
    static SET: std::sync::Once = std::sync::Once::new();
    let alone = ONE_AT_A_TIME
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    SET.call_once(|| tracing::subscriber::set_global_default(Recorder).unwrap());
    TOLD.lock().unwrap().clear();
    alone
}

fn all() -> Vec<Told> {
    TOLD.lock().unwrap().clone()
}

/// The events whose message is this.
fn events(message: &str) -> Vec<(Level, Fields)> {
    let told = all();
    told.into_iter()
        .filter_map(|told| match told {
            Told::Event(level, fields) if fields["message"] == message => Some((level, fields)),
            _ => None,
        })
        .collect()
}

fn place(line: u32) -> String {
    format!("{}:{line}:", file!())
}

#[test]
fn a_task_has_a_span_that_names_where_it_was_spawned() {
    let _alone = record();
    let worker = support::worker();
    TOLD.lock().unwrap().clear();
    let line = line!() + 1;
    let task = worker.spawn_local(async { yield_now().await });
    settle(&worker);
    assert!(task.is_finished());
    let told = all();
    let Told::Span(id, fields) = &told[0] else {
        panic!("{told:?}");
    };
    assert_eq!(fields["name"], "task");
    assert!(fields["spawned_at"].starts_with(&place(line)), "{fields:?}");
    let id = *id;
    // Made inside of its span, polled twice, and dropped.
    let [enter, exit] = [Told::Enter(id), Told::Exit(id)];
    let polls = told.iter().filter(|told| **told == enter).count();
    assert_eq!(polls, told.iter().filter(|told| **told == exit).count());
    assert_eq!(told.last(), Some(&Told::Close(id)));
    assert!(polls >= 3, "{told:?}");
}

#[test]
fn a_task_follows_from_the_span_it_was_spawned_in_and_is_not_its_child() {
    let _alone = record();
    let worker = support::worker();
    let outer = tracing::info_span!(target: "corelane", "outer");
    TOLD.lock().unwrap().clear();
    let task = outer.in_scope(|| worker.spawn_local(async {}));
    run_on(&worker, task).unwrap();
    let told = all();
    let follows = told.iter().find_map(|told| match told {
        Told::Follows(span, follows) => Some((*span, *follows)),
        _ => None,
    });
    let outer = outer.id().unwrap().into_u64();
    let task = told.iter().find_map(|told| match told {
        Told::Span(id, fields) if fields["name"] == "task" => Some(*id),
        _ => None,
    });
    assert_eq!(follows, Some((task.unwrap(), outer)));
}

#[test]
fn a_task_from_another_thread_has_the_place_of_its_spawn() {
    let _alone = record();
    let worker = support::worker();
    let spawner = worker.spawner();
    let spawning = std::thread::spawn(move || {
        let line = line!() + 1;
        let task = spawner.spawn(|| async { spawn_local(async {}).await.unwrap() });
        (line, task.unwrap())
    });
    let (line, task) = spawning.join().unwrap();
    run_on(&worker, task).unwrap();
    let spans: Vec<String> = all()
        .into_iter()
        .filter_map(|told| match told {
            Told::Span(_, mut fields) => fields.remove("spawned_at"),
            _ => None,
        })
        .collect();
    // The task, and the one that it spawned in the same line.
    assert_eq!(spans.len(), 2, "{spans:?}");
    assert!(
        spans.iter().all(|at| at.starts_with(&place(line))),
        "{spans:?}"
    );
}

#[test]
fn the_backend_is_told_with_its_reason() {
    let _alone = record();
    let threads = Worker::new(Config::new().backend(BackendChoice::Threads)).unwrap();
    let told = events("a worker was made without io_uring");
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].0, Level::WARN);
    assert_eq!(told[0].1["backend"], "threads and epoll");
    assert_eq!(told[0].1["reason"], "as configured");
    drop(threads);
    let simulated = Config::new().backend(BackendChoice::Sim(SimConfig::new(1)));
    drop(Worker::new(simulated).unwrap());
    let told = events("a worker was made");
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].1["backend"], "simulated ring");
    if support::on_ring("the_backend_is_told_with_its_reason") {
        TOLD.lock().unwrap().clear();
        let worker = support::worker();
        let told = events("a worker was made");
        let backend = worker.backend().unwrap().to_string();
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].0, Level::INFO);
        assert_eq!(told[0].1["backend"], backend);
        // Each rung above it was refused, and that was told before.
        let refused = events("this kernel has not all flags of a rung");
        let first = refused.first().map(|(_, fields)| fields["rung"].clone());
        let best = "single_issuer+defer_taskrun+no_sqarray";
        assert_eq!(first.is_none(), backend.contains(best));
    }
}

#[test]
fn a_stall_is_told_with_the_place_of_its_task() {
    let _alone = record();
    let config = Config::new()
        .stall_threshold(Duration::from_millis(100))
        .on_stall(|_| {});
    let worker = Worker::new(config).unwrap();
    let line = line!() + 1;
    let task = worker.spawn_local(async {
        let start = Instant::now();
        while events("a task does not give way").is_empty() {
            assert!(start.elapsed() < HUNG, "nobody noticed");
        }
    });
    run_on(&worker, task).unwrap();
    let told = events("a task does not give way");
    assert_eq!(told.len(), 1);
    let (level, fields) = &told[0];
    assert_eq!(*level, Level::WARN);
    assert!(fields["spawned_at"].starts_with(&place(line)), "{fields:?}");
    assert_eq!(fields["worker"], "0");
}

/// A thread that waits for a FIFO's other end in open(2): no cancel stops it.
#[test]
fn what_is_leaked_at_the_end_is_told() {
    let _alone = record();
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo");
    let made = Command::new("mkfifo").arg(&fifo).status().unwrap();
    assert!(made.success());
    let worker = Worker::new(Config::new().backend(BackendChoice::Threads)).unwrap();
    let path = fifo.clone();
    drop(worker.spawn_local(async move { drop(File::open(path).await) }));
    settle(&worker);
    support::wait_until("a thread is in the call", || {
        let opening = format!("{} ", libc::SYS_openat2);
        let threads = std::fs::read_dir("/proc/self/task").unwrap();
        let call = |thread: DirEntry| std::fs::read_to_string(thread.path().join("syscall"));
        let mut calls = threads.filter_map(|thread| call(thread.ok()?).ok());
        calls.any(|call| call.starts_with(&opening))
    });
    let report = worker.shutdown(Instant::now());
    assert_eq!(report.ops_leaked, 1, "{report:?}");
    let told = events("the kernel has not let go of the memory of operations: it is leaked");
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].0, Level::ERROR);
    assert_eq!(told[0].1["ops_leaked"], "1");
    // The thread goes on, and ends.
    drop(std::fs::OpenOptions::new().write(true).open(&fifo).unwrap());
}

#[test]
fn an_overflow_of_the_completion_queue_is_told() {
    const CONNECTIONS: usize = 100;
    let _alone = record();
    if !support::on_ring("an_overflow_of_the_completion_queue_is_told") {
        return;
    }
    let worker = Worker::new(Config::new().sq_entries(4).cq_entries(8)).unwrap();
    run_on(&worker, async {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut incoming = listener.incoming();
        {
            let mut next = std::pin::pin!(incoming.next());
            assert!(futures_util::poll!(next.as_mut()).is_pending());
            let armed = || corelane::stats().in_flight > 0;
            support::yield_until("the accept is armed", armed).await;
        }
        // All connect while the worker looks elsewhere.
        let connect = |_| std::net::TcpStream::connect(address).unwrap();
        let clients: Vec<_> = (0..CONNECTIONS).map(connect).collect();
        for _ in &clients {
            incoming.next().await.unwrap().unwrap();
        }
    });
    let overflows = worker.stats().overflows;
    assert!(overflows > 0, "the queue did not overflow");
    let told = events("the completion queue overflowed");
    // Those of one turn are told together, and each count is told once.
    let counts: Vec<u64> = told
        .iter()
        .map(|(level, fields)| {
            assert_eq!(*level, Level::WARN);
            fields["overflows"].parse().unwrap()
        })
        .collect();
    assert!(counts.is_sorted_by(|one, two| one < two), "{counts:?}");
    assert_eq!(counts.last(), Some(&overflows));
}
