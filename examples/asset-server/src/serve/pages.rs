//! The pages made on the spot.

use std::rc::Rc;

use blobio::queue::{QueueStats, RemoteQueue};
use bytes::Bytes;
use futures_util::future;

use super::held::{hold, reserve};
use super::listing;
use super::source::{Failure, Found, Source};
use super::worker::Worker;
use crate::etag::ETag;
use crate::limits::Permit;
use crate::metrics::{self, Gauge, WorkerSeries};
use crate::mounts::{self, Child, Listing};
use crate::page::{self, MountView};
use crate::path::RelPath;
use crate::plan::{Ranges, Resource};
use crate::queue_metrics;

const NO_STORE: Option<&str> = Some("no-store");

/// `/healthz`
pub(super) fn health() -> Found<'static> {
    let bytes = Bytes::from_static(b"ok\n");
    found("text/plain; charset=utf-8", bytes, NO_STORE)
}

/// `/`
pub(super) async fn index(worker: &Rc<Worker>) -> Result<Found<'static>, Failure> {
    let mounts = worker.site.mounts.as_slice();
    let permit = listing_permit(worker)?;
    let mut listings: Vec<(String, Vec<Child>)> = Vec::with_capacity(mounts.len());
    for (position, mount) in mounts.iter().enumerate() {
        let kind = match &mount.source {
            mounts::Source::Folder(_) => "folder".to_owned(),
            mounts::Source::Archive(_, index) => format!("archive, {} files", index.len()),
        };
        let mut listing = Listing::default();
        // One more, to know whether there are more.
        let count_max = page::PREVIEW_MAX + 1;
        listing::list(worker, position, &RelPath::root(), count_max, &mut listing).await?;
        let first = move |listing: Listing| listing.into_first(count_max);
        listings.push((kind, listing::consume(worker, listing, first).await?));
    }
    let views: Vec<_> = mounts
        .iter()
        .zip(&listings)
        .map(|(mount, (kind, children))| MountView {
            name: &mount.name,
            kind,
            children,
        })
        .collect();
    let text = page::index(&views);
    drop(permit);
    html(worker, text).await
}

/// A folder, if any mount has it.
pub(super) async fn folder(
    worker: &Rc<Worker>,
    path: &RelPath,
    query: Option<&[u8]>,
) -> Result<Option<Found<'static>>, Failure> {
    let permit = listing_permit(worker)?;
    let mut listing = Listing::default();
    let mut exists = false;
    for mount in (0..worker.site.mounts.as_slice().len()).rev() {
        exists |= listing::list(worker, mount, path, usize::MAX, &mut listing).await?;
    }
    if !exists {
        return Ok(None);
    }
    let (path, page) = (path.clone(), page::page_of_query(query));
    let write = move |listing: Listing| {
        let is_cut = listing.is_cut();
        page::folder(&path, &listing.into_children(), is_cut, page)
    };
    let text = listing::consume(worker, listing, write).await?;
    drop(permit);
    html(worker, text).await.map(Some)
}

fn listing_permit(worker: &Rc<Worker>) -> Result<Permit, Failure> {
    let permit = worker.site.listings.try_take(worker.index, 1);
    permit.ok_or(Failure::Overloaded)
}

/// `/metrics`
pub(super) async fn metrics(worker: &Rc<Worker>) -> Result<Found<'static>, Failure> {
    let site = &worker.site;
    let gauges = [
        Gauge {
            name: "connections_max",
            help: "Most connections at a time.",
            value: site.connections.max(),
        },
        Gauge {
            name: "connections_in_use",
            help: "Connections that count against the limit.",
            value: site.connections.in_use(),
        },
        Gauge {
            name: "in_flight_bytes_max",
            help: "Most bytes of answers in memory at a time.",
            value: site.in_flight.max(),
        },
        Gauge {
            name: "in_flight_bytes",
            help: "Bytes of answers in memory.",
            value: site.in_flight.in_use(),
        },
    ];
    let series = executor_series(worker).await;
    let mut text = metrics::prometheus_text(&site.metrics, &series, &gauges);
    metrics::backends(&mut text, &site.backends);
    text.push_str(&queue_metrics::prometheus_text(&queue_stats(worker).await));
    held(worker, metrics::CONTENT_TYPE, text, NO_STORE).await
}

/// Asks every worker for its queue's counters; one that has ended counts nothing more.
async fn queue_stats(worker: &Rc<Worker>) -> Vec<QueueStats> {
    let queues = worker.site.queues.get().map_or(&[][..], Vec::as_slice);
    let asked = queues.iter().map(RemoteQueue::stats);
    let answers = future::join_all(asked).await;
    let stats = answers
        .into_iter()
        .map(|answer| answer.map_or_else(|_| QueueStats::default(), |stats| *stats));
    stats.collect()
}

/// Asks every worker for its executor's counters.
async fn executor_series(worker: &Rc<Worker>) -> Vec<WorkerSeries> {
    type Of = fn(&corelane::Stats) -> u64;
    const SERIES: [(&str, &str, &str, Of); 8] = [
        ("executor_turns_total", "counter", "Turns.", |s| s.turns),
        ("executor_polls_total", "counter", "Task polls.", |s| {
            s.polls
        }),
        (
            "executor_enters_total",
            "counter",
            "Submissions to the backend, and waits for it.",
            |s| s.enters,
        ),
        (
            "executor_submits_total",
            "counter",
            "Operations submitted.",
            |s| s.submits,
        ),
        (
            "executor_completions_total",
            "counter",
            "Completions.",
            |s| s.completions,
        ),
        (
            "executor_parks_total",
            "counter",
            "Waits in the ring.",
            |s| s.parks,
        ),
        (
            "executor_operations",
            "gauge",
            "Operations in flight.",
            |s| s.in_flight,
        ),
        (
            "executor_tasks",
            "gauge",
            "Tasks that are not finished.",
            |s| s.tasks,
        ),
    ];
    let spawners = worker.site.spawners.get().map_or(&[][..], Vec::as_slice);
    let asked: Vec<_> = spawners
        .iter()
        .map(|spawner| spawner.spawn(|| async { corelane::stats() }))
        .collect();
    let mut stats = Vec::with_capacity(asked.len());
    for answer in asked {
        // A worker that has ended counts nothing more.
        stats.push(match answer {
            Ok(handle) => handle.await.unwrap_or_default(),
            Err(_) => corelane::Stats::default(),
        });
    }
    let series = |(name, kind, help, of): (_, _, _, Of)| WorkerSeries {
        name,
        kind,
        help,
        values: stats.iter().map(of).collect(),
    };
    SERIES.map(series).into()
}

async fn html(worker: &Rc<Worker>, text: String) -> Result<Found<'static>, Failure> {
    held(worker, page::CONTENT_TYPE, text, None).await
}

async fn held(
    worker: &Rc<Worker>,
    content_type: &'static str,
    text: String,
    cache_control: Option<&'static str>,
) -> Result<Found<'static>, Failure> {
    let permit = reserve(worker, text.len())
        .await
        .ok_or(Failure::Overloaded)?;
    let bytes = hold(text.into_bytes(), permit);
    Ok(found(content_type, bytes, cache_control))
}

fn found(
    content_type: &'static str,
    bytes: Bytes,
    cache_control: Option<&'static str>,
) -> Found<'static> {
    Found {
        resource: Resource {
            len: u64::try_from(bytes.len()).expect("a length"),
            content_type,
            etag: Some(ETag::of_content(&bytes)),
            last_modified: None,
            ranges: Ranges::None,
            cache_control,
        },
        source: Source::Memory(bytes),
    }
}
