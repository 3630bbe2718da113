//! Who has just been told of a read may ask for something more urgent before anything else is
//! issued.
#![cfg(feature = "executor")]

mod util;

use std::cell::RefCell;
use std::rc::Rc;

use blobio::NativeFileAsyncBlobRandomReader;
use blobio::queue::limits::{Bounds, Limits};
use blobio::queue::{BlobQueue, Class, QueueConfig, Request};
use corelane::{Config, Worker, spawn_local};

use util::{content, file_of};

/// Length of a read.
const LEN: usize = 4096;

#[test]
fn an_urgent_request_of_who_was_told_goes_first() {
    let content = content(16 * LEN);
    let file = file_of(&content);
    let worker = Worker::new(Config::default()).unwrap();
    let order = Rc::<RefCell<Vec<String>>>::default();
    worker.block_on(async {
        // One read at a time: what is issued next is what is decided next.
        let one = Bounds {
            ops: 1,
            bytes: LEN as u64,
        };
        let config = QueueConfig {
            in_flight: Limits {
                classes: [one; Class::COUNT],
                all: one,
            },
            ..QueueConfig::default()
        };
        let queue = BlobQueue::new(config).unwrap();
        let reader = NativeFileAsyncBlobRandomReader::open(file.path());
        let blob = queue.register(reader.await.unwrap());
        let tasks: Vec<_> = (0..5_u64)
            .map(|number| {
                let (queue, blob, order) = (queue.clone(), blob.clone(), Rc::clone(&order));
                spawn_local(async move {
                    let low = Request::vec(&blob, number * LEN as u64, LEN).class(Class::Low);
                    let low = queue.read(low).await;
                    order.borrow_mut().push(format!("low {number}"));
                    if number == 1 {
                        let urgent = Request::vec(&blob, 8 * LEN as u64, LEN);
                        queue.read(urgent.class(Class::Realtime)).await;
                        order.borrow_mut().push("realtime".to_owned());
                    }
                    low.bytes().len()
                })
            })
            .collect();
        for task in tasks {
            assert_eq!(task.await.unwrap(), LEN);
        }
    });
    let expected = ["low 0", "low 1", "realtime", "low 2", "low 3", "low 4"];
    assert_eq!(*order.borrow(), expected);
}
