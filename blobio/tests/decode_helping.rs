//! A worker that waits for jobs of the pool and would otherwise idle does them itself.
#![cfg(all(feature = "executor", feature = "pack"))]

use std::thread;

use blobio::decode::{DecodePool, PoolConfig};
use blobio::queue::Class;
use corelane::{Config, Worker, spawn_local, yield_now};

#[test]
fn a_pool_without_threads_is_served_by_the_worker_that_waits() {
    let pool = DecodePool::new(&PoolConfig::new(0)).unwrap();
    let worker = Worker::new(Config::default()).unwrap();
    let me = thread::current().id();
    worker.block_on(async {
        let jobs: Vec<_> = (0..100)
            .map(|job| pool.run(Class::Normal, move || (job, thread::current().id())))
            .collect();
        for (job, running) in jobs.into_iter().enumerate() {
            assert_eq!(running.await.unwrap(), (job, me));
        }
    });
}

#[test]
fn what_can_run_runs_before_the_worker_helps() {
    let pool = DecodePool::new(&PoolConfig::new(0)).unwrap();
    let worker = Worker::new(Config::default()).unwrap();
    worker.block_on(async {
        let helped = spawn_local(pool.run(Class::Realtime, || ()));
        for _ in 0..500 {
            yield_now().await;
            assert!(!helped.is_finished(), "the worker had something to do");
        }
        helped.await.unwrap().unwrap();
    });
}

#[test]
fn a_thread_with_a_core_of_its_own_is_left_to_it() {
    let pool = DecodePool::new(&PoolConfig::new(1)).unwrap();
    let worker = Worker::new(Config::default()).unwrap();
    let me = thread::current().id();
    let ran_on = worker.block_on(pool.run(Class::Normal, || thread::current().id()));
    assert_ne!(ran_on.unwrap(), me);
}
