//! A flood of requests: memory stays within what the queue is configured to take.
//!
//! A process of its own, because it looks at the memory of the process. `BLOBIO_QUEUE_FLOOD` is
//! the number of requests.
#![cfg(feature = "executor")]

use std::cell::Cell;
use std::fs;
use std::rc::Rc;

use blobio::NativeFileAsyncBlobRandomReader;
use blobio::queue::{BlobQueue, Class, QueueConfig, RECORD_LEN, Request, WAITER_LEN};
use corelane::{Config, Worker};

const READ_LEN: usize = 4096;
const FILE_LEN: usize = 4 << 20;
/// What the allocator, the worker and the lanes may take besides.
const SLACK: usize = 24 << 20;

/// A line of /proc/self/status that is in kilobytes.
fn status(name: &str) -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    let number = line.split_whitespace().nth(1).unwrap();
    number.parse::<usize>().unwrap() * 1024
}

#[test]
fn a_flood_takes_what_was_configured_and_no_more() {
    let count = std::env::var("BLOBIO_QUEUE_FLOOD").ok();
    let count: usize = count.map_or(50_000, |count| count.parse().unwrap());
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), vec![7; FILE_LEN]).unwrap();
    let config = QueueConfig {
        queued_max: 10_000,
        ..QueueConfig::default()
    };
    let (in_flight, merge_max) = (config.in_flight.all.bytes, config.merge_max);
    let queued_max = config.queued_max as usize;
    let worker = Worker::new(Config::default()).unwrap();
    worker.block_on(async {
        let queue = BlobQueue::new(config).unwrap();
        let reader = NativeFileAsyncBlobRandomReader::open(file.path()).await;
        let blob = queue.register(reader.unwrap());
        let gate = Rc::new(corelane::sync::Notify::new());
        let read = Rc::new(Cell::new(0));
        let parked = Rc::new(Cell::new(0));
        let mut tasks = Vec::new();
        for at in 0..count {
            let (queue, blob) = (queue.clone(), blob.clone());
            let (gate, read) = (Rc::clone(&gate), Rc::clone(&read));
            let parked = Rc::clone(&parked);
            tasks.push(corelane::spawn_local(async move {
                parked.set(parked.get() + 1);
                gate.notified().await;
                let pos = (at * READ_LEN % FILE_LEN) as u64;
                let make = |len| Ok(Vec::with_capacity(len).into());
                let request = Request::allocated(&blob, pos, READ_LEN, make);
                let request = request.class(Class::ALL[at % Class::COUNT]);
                let done = queue.read(request).await;
                assert_eq!(done.bytes().len(), READ_LEN);
                read.set(read.get() + 1);
            }));
        }
        while parked.get() < count {
            corelane::yield_now().await;
        }
        fs::write("/proc/self/clear_refs", "5").unwrap();
        let before = status("VmRSS");
        gate.notify_waiters();
        for task in tasks {
            task.await.unwrap();
        }
        let peak = status("VmHWM").saturating_sub(before);
        let stats = queue.stats();
        assert_eq!(read.get(), count);
        assert_eq!(stats.held_max, queued_max.min(count));
        assert!(stats.in_flight_max.bytes <= in_flight);
        let records = queued_max * RECORD_LEN;
        let waiters = stats.waiting_max * WAITER_LEN;
        let bytes = usize::try_from(in_flight + merge_max).unwrap();
        println!(
            "{count} requests took {} KiB besides the parked requesters; {RECORD_LEN} bytes for \
             each of {queued_max} records, {WAITER_LEN} for each of {} waiting, {} KiB configured",
            peak >> 10,
            stats.waiting_max,
            bytes >> 10,
        );
        assert!(peak <= bytes + records + waiters + SLACK, "{peak}");
    });
}
