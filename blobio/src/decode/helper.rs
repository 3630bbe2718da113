//! Jobs that are done by the worker that waits for them, while it would otherwise idle.

use std::future::Future;
use std::pin::Pin;
use std::task::Context;

use super::config::should_help;
use super::pool::Shared;
use crate::async_reader::runtime::{Idle, idle, on_worker};

/// What a job that is waited for on a worker knows of the worker's leisure.
#[derive(Debug, Default)]
pub(super) struct Helper {
    idle: Option<Idle>,
}

impl Helper {
    /// Does one job of the pool if the worker idles and no thread would do it; true if it did.
    /// Otherwise asks to be polled when the worker idles, as long as jobs are queued.
    pub(super) fn poll(&mut self, shared: &Shared, cx: &mut Context<'_>) -> bool {
        if self.idle.is_none() && (shared.load().queued == 0 || !on_worker()) {
            return false;
        }
        let idle = self.idle.get_or_insert_with(idle);
        if Pin::new(idle).poll(cx).is_pending() {
            return false;
        }
        self.idle = None;
        if should_help(shared.load(), shared.spare_cores()) && shared.help() {
            // There may be more to do, the next time.
            return true;
        }
        false
    }
}
