//! Counters, and their text for Prometheus.
//!
//! Each worker has its own, which it alone writes (a load and a store, no locked instruction);
//! whoever answers `/metrics` reads them all.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use corelane::Backend;

use crate::http::status::Status;

/// The upper bounds of the latency buckets are 2^14 ns (16 us) and its doubles up to 2^34 (17 s).
pub(crate) const BUCKET_LOG_MIN: u32 = 14;
pub(crate) const BUCKETS: usize = 21;

/// The media type of the text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A number that one thread writes and any thread reads.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds. Only the thread that owns the counter may; another's additions could be lost.
    pub fn add(&self, amount: u64) {
        self.0
            .store(self.get().wrapping_add(amount), Ordering::Relaxed);
    }

    /// Subtracts, under the same rule.
    pub fn sub(&self, amount: u64) {
        self.0
            .store(self.get().wrapping_sub(amount), Ordering::Relaxed);
    }

    /// Sets, under the same rule.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Reads.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What one worker counts, on cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct WorkerMetrics {
    /// Connections accepted.
    pub connections_accepted: Counter,
    /// Connections open now.
    pub connections_open: Counter,
    /// Requests being answered now.
    pub requests_in_flight: Counter,
    /// Answers that ended before their last byte; they are not among those by status.
    pub responses_aborted: Counter,
    /// Requests for a file of a folder that found it open, or about to be.
    pub open_file_hits: Counter,
    /// Requests for a file of a folder that opened it anew, or found that there is none.
    pub open_file_misses: Counter,
    /// Files that are kept open now.
    pub open_files: Counter,
    /// Bytes sent, heads included.
    pub bytes_sent: Counter,
    /// Bytes received.
    pub bytes_received: Counter,
    responses: [Counter; Status::ALL.len()],
    latency: Histogram,
}

impl WorkerMetrics {
    /// Counts an answer and the time from its head's last byte to its own last byte.
    pub fn answered(&self, status: Status, took: Duration) {
        self.responses[status.index()].add(1);
        self.latency.record(took);
    }

    /// Returns how many answers had this status.
    pub fn responses(&self, status: Status) -> u64 {
        self.responses[status.index()].get()
    }
}

#[derive(Debug, Default)]
struct Histogram {
    /// The last one is without bound.
    buckets: [Counter; BUCKETS + 1],
    sum_ns: Counter,
}

impl Histogram {
    fn record(&self, took: Duration) {
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.buckets[bucket(ns)].add(1);
        self.sum_ns.add(ns);
    }
}

/// Returns the first bucket whose bound is not below.
fn bucket(ns: u64) -> usize {
    let log_ceil = u64::BITS - ns.saturating_sub(1).leading_zeros();
    let above = log_ceil.saturating_sub(BUCKET_LOG_MIN);
    usize::try_from(above).map_or(BUCKETS, |above| above.min(BUCKETS))
}

/// A value of the whole process, for the same text.
#[derive(Debug, Clone, Copy)]
pub struct Gauge {
    /// The metric's name, without the common prefix.
    pub name: &'static str,
    /// What it says.
    pub help: &'static str,
    /// Its value now.
    pub value: u64,
}

/// A value of each worker that somebody else counts, for the same text.
#[derive(Debug, Clone)]
pub struct WorkerSeries {
    /// The metric's name, without the common prefix.
    pub name: &'static str,
    /// `counter` or `gauge`.
    pub kind: &'static str,
    /// What it says.
    pub help: &'static str,
    /// By worker.
    pub values: Vec<u64>,
}

/// Writes everything as Prometheus text, one line per worker and series.
pub fn prometheus_text(
    workers: &[impl AsRef<WorkerMetrics>],
    others: &[WorkerSeries],
    gauges: &[Gauge],
) -> String {
    let mut out = String::new();
    own_series(&mut out, workers);
    describe(&mut out, "responses_total", "counter", "Answers by status.");
    for (worker, metrics) in workers.iter().enumerate() {
        for status in Status::ALL {
            let (code, value) = (status.code(), metrics.as_ref().responses(status));
            line(
                &mut out,
                format_args!("responses_total{{worker=\"{worker}\",code=\"{code}\"}} {value}"),
            );
        }
    }
    let help = "Time from a request's last byte to its answer's last byte.";
    describe(&mut out, "request_duration_seconds", "histogram", help);
    for (worker, metrics) in workers.iter().enumerate() {
        histogram(&mut out, worker, &metrics.as_ref().latency);
    }
    for series in others {
        describe(&mut out, series.name, series.kind, series.help);
        for (worker, value) in series.values.iter().enumerate() {
            let name = series.name;
            line(
                &mut out,
                format_args!("{name}{{worker=\"{worker}\"}} {value}"),
            );
        }
    }
    for gauge in gauges {
        describe(&mut out, gauge.name, "gauge", gauge.help);
        line(&mut out, format_args!("{} {}", gauge.name, gauge.value));
    }
    out
}

/// Adds what each worker runs on.
pub fn backends(out: &mut String, backends: &[Backend]) {
    let name = "executor_backend_info";
    describe(out, name, "gauge", "What a worker's I/O runs on.");
    for (worker, backend) in backends.iter().enumerate() {
        let kind = match backend {
            Backend::Uring(_) => "uring",
            Backend::Threads(_) => "threads",
            _ => "other",
        };
        let shown = backend
            .to_string()
            .replace('\\', "\\\\")
            .replace('"', "\\\"");
        line(
            out,
            format_args!(
                "{name}{{worker=\"{worker}\",backend=\"{kind}\",description=\"{shown}\"}} 1"
            ),
        );
    }
}

fn own_series(out: &mut String, workers: &[impl AsRef<WorkerMetrics>]) {
    type Series = (
        &'static str,
        &'static str,
        &'static str,
        fn(&WorkerMetrics) -> &Counter,
    );
    const SERIES: [Series; 9] = [
        (
            "connections_accepted_total",
            "counter",
            "Connections accepted.",
            |m| &m.connections_accepted,
        ),
        ("connections_open", "gauge", "Connections open.", |m| {
            &m.connections_open
        }),
        (
            "requests_in_flight",
            "gauge",
            "Requests being answered.",
            |m| &m.requests_in_flight,
        ),
        (
            "responses_aborted_total",
            "counter",
            "Answers that ended before their last byte.",
            |m| &m.responses_aborted,
        ),
        (
            "sent_bytes_total",
            "counter",
            "Bytes sent, heads included.",
            |m| &m.bytes_sent,
        ),
        ("received_bytes_total", "counter", "Bytes received.", |m| {
            &m.bytes_received
        }),
        (
            "open_file_hits_total",
            "counter",
            "Requests for files of folders that were open.",
            |m| &m.open_file_hits,
        ),
        (
            "open_file_misses_total",
            "counter",
            "Requests for files of folders that were opened.",
            |m| &m.open_file_misses,
        ),
        ("open_files", "gauge", "Files kept open.", |m| &m.open_files),
    ];
    for (name, kind, help, counter) in SERIES {
        describe(out, name, kind, help);
        for (worker, metrics) in workers.iter().enumerate() {
            let value = counter(metrics.as_ref()).get();
            line(out, format_args!("{name}{{worker=\"{worker}\"}} {value}"));
        }
    }
}

impl AsRef<Self> for WorkerMetrics {
    fn as_ref(&self) -> &Self {
        self
    }
}

fn histogram(out: &mut String, worker: usize, histogram: &Histogram) {
    const NAME: &str = "request_duration_seconds";
    let mut count = 0_u64;
    for (bucket, log) in histogram.buckets[..BUCKETS].iter().zip(BUCKET_LOG_MIN..) {
        count += bucket.get();
        let bound = Seconds(1 << log);
        line(
            out,
            format_args!("{NAME}_bucket{{worker=\"{worker}\",le=\"{bound}\"}} {count}"),
        );
    }
    count += histogram.buckets[BUCKETS].get();
    line(
        out,
        format_args!("{NAME}_bucket{{worker=\"{worker}\",le=\"+Inf\"}} {count}"),
    );
    let sum = Seconds(histogram.sum_ns.get());
    line(out, format_args!("{NAME}_sum{{worker=\"{worker}\"}} {sum}"));
    line(
        out,
        format_args!("{NAME}_count{{worker=\"{worker}\"}} {count}"),
    );
}

/// Nanoseconds shown as seconds, without rounding.
pub(crate) struct Seconds(pub(crate) u64);

impl std::fmt::Display for Seconds {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            formatter,
            "{}.{:09}",
            self.0 / 1_000_000_000,
            self.0 % 1_000_000_000
        )
    }
}

pub(crate) fn describe(out: &mut String, name: &str, kind: &str, help: &str) {
    out.push_str("# HELP ");
    line(out, format_args!("{name} {help}"));
    out.push_str("# TYPE ");
    line(out, format_args!("{name} {kind}"));
}

/// Writes a line with the common prefix before it (after the comment's keyword, if there is one).
pub(crate) fn line(out: &mut String, arguments: std::fmt::Arguments<'_>) {
    writeln!(out, "asset_server_{arguments}").expect("writing to memory cannot fail");
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{BUCKETS, Gauge, WorkerMetrics, WorkerSeries, bucket, prometheus_text};
    use crate::http::status::Status;

    #[test]
    fn backends_are_labels() {
        let worker = corelane::Config::new().backend(corelane::BackendChoice::Threads);
        let worker = corelane::Worker::new(worker).unwrap();
        let mut text = String::new();
        super::backends(&mut text, &[worker.backend().unwrap()]);
        assert_eq!(
            text.lines().last().unwrap(),
            "asset_server_executor_backend_info{worker=\"0\",backend=\"threads\",\
             description=\"threads and epoll (as configured)\"} 1"
        );
    }

    #[test]
    fn bucket_bounds_are_inclusive() {
        let cases = [
            (0, 0),
            (1, 0),
            (1 << 14, 0),
            ((1 << 14) + 1, 1),
            (1 << 15, 1),
            ((1 << 15) + 1, 2),
            (1 << 34, BUCKETS - 1),
            ((1 << 34) + 1, BUCKETS),
            (u64::MAX, BUCKETS),
        ];
        for (ns, expected) in cases {
            assert_eq!(bucket(ns), expected, "{ns}");
        }
    }

    #[test]
    fn the_text_holds_what_was_counted_and_buckets_accumulate() {
        let workers = [WorkerMetrics::default(), WorkerMetrics::default()];
        workers[1].bytes_sent.add(42);
        workers[1].requests_in_flight.add(3);
        workers[1].requests_in_flight.sub(1);
        for ns in [1 << 14, 1 << 15, 1 << 40] {
            workers[1].answered(Status::PartialContent, Duration::from_nanos(ns));
        }
        let gauges = [Gauge {
            name: "connections_max",
            help: "The limit.",
            value: 9,
        }];
        let others = [WorkerSeries {
            name: "executor_tasks",
            kind: "gauge",
            help: "Tasks.",
            values: vec![5, 6],
        }];
        let text = prometheus_text(&workers, &others, &gauges);
        for expected in [
            "# TYPE asset_server_sent_bytes_total counter",
            "asset_server_sent_bytes_total{worker=\"0\"} 0",
            "asset_server_sent_bytes_total{worker=\"1\"} 42",
            "asset_server_requests_in_flight{worker=\"1\"} 2",
            "asset_server_responses_total{worker=\"1\",code=\"206\"} 3",
            "asset_server_responses_total{worker=\"1\",code=\"200\"} 0",
            "asset_server_request_duration_seconds_bucket{worker=\"1\",le=\"0.000016384\"} 1",
            "asset_server_request_duration_seconds_bucket{worker=\"1\",le=\"0.000032768\"} 2",
            "asset_server_request_duration_seconds_bucket{worker=\"1\",le=\"17.179869184\"} 2",
            "asset_server_request_duration_seconds_bucket{worker=\"1\",le=\"+Inf\"} 3",
            "asset_server_request_duration_seconds_sum{worker=\"1\"} 1099.511676928",
            "asset_server_request_duration_seconds_count{worker=\"1\"} 3",
            "# TYPE asset_server_executor_tasks gauge",
            "asset_server_executor_tasks{worker=\"1\"} 6",
            "# TYPE asset_server_connections_max gauge",
            "asset_server_connections_max 9",
        ] {
            assert!(
                text.lines().any(|line| line == expected),
                "{expected}\n{text}"
            );
        }
    }

    #[test]
    fn every_line_is_a_comment_or_one_sample() {
        let text = prometheus_text(&[WorkerMetrics::default()], &[], &[]);
        for line in text.lines() {
            let is_comment = line.starts_with("# HELP asset_server_")
                || line.starts_with("# TYPE asset_server_");
            let value = line.rsplit(' ').next().unwrap();
            assert!(is_comment || value.parse::<f64>().is_ok(), "{line}");
        }
    }
}
