//! The counters of the queues of reads, as text for Prometheus.
//!
//! What may grow and fall is given by worker. What is counted by class is added up over the
//! workers: which of them read something is of less interest than how urgent it was.

use blobio::queue::{Class, Histogram, Outcomes, QueueStats};

use crate::metrics::{BUCKET_LOG_MIN, BUCKETS, Seconds, describe, line};

type Of<T> = fn(&T) -> u64;

/// Name, kind and help of a series, and where its value is.
type Series<T> = (&'static str, &'static str, &'static str, Of<T>);

const BY_WORKER: [Series<QueueStats>; 14] = [
    ("queue_held", "gauge", "Reads that the queue holds.", |s| {
        count(s.held)
    }),
    ("queue_held_max", "gauge", "The most it ever held.", |s| {
        count(s.held_max)
    }),
    (
        "queue_queued",
        "gauge",
        "Of these, how many wait for their turn.",
        |s| count(s.queued),
    ),
    (
        "queue_waiting",
        "gauge",
        "Tasks that wait for a place.",
        |s| count(s.waiting),
    ),
    ("queue_in_flight_reads", "gauge", "Reads in flight.", |s| {
        u64::from(s.in_flight.ops)
    }),
    ("queue_in_flight_bytes", "gauge", "Bytes in flight.", |s| {
        s.in_flight.bytes
    }),
    (
        "queue_in_flight_bytes_max",
        "gauge",
        "The most bytes ever in flight.",
        |s| s.in_flight_max.bytes,
    ),
    (
        "queue_asked_bytes_total",
        "counter",
        "Bytes asked of the queue and read.",
        |s| s.bytes_asked,
    ),
    (
        "queue_read_bytes_total",
        "counter",
        "Bytes that its reads brought.",
        |s| s.bytes_read,
    ),
    (
        "queue_reads_total",
        "counter",
        "Reads that it issued.",
        |s| s.reads,
    ),
    (
        "queue_merged_total",
        "counter",
        "Requests that shared a read.",
        |s| s.merged,
    ),
    (
        "queue_split_total",
        "counter",
        "Requests read in pieces.",
        |s| s.split,
    ),
    (
        "queue_refused_total",
        "counter",
        "Reads that could not be had without waiting.",
        |s| s.refused,
    ),
    (
        "queue_parted_total",
        "counter",
        "Shared reads that failed and were read one by one.",
        |s| s.parted,
    ),
];

const OUTCOMES: [(&str, Of<Outcomes>); 4] = [
    ("read", |o| o.read),
    ("failed", |o| o.failed),
    ("cancelled", |o| o.cancelled),
    ("late", |o| o.late),
];

/// Writes the counters of every worker's queue.
pub fn prometheus_text(workers: &[QueueStats]) -> String {
    let mut out = String::new();
    for (name, kind, help, of) in BY_WORKER {
        describe(&mut out, name, kind, help);
        for (worker, stats) in workers.iter().enumerate() {
            let value = of(stats);
            line(
                &mut out,
                format_args!("{name}{{worker=\"{worker}\"}} {value}"),
            );
        }
    }
    let help = "Requests by class and what became of them; late ones are among the others.";
    describe(&mut out, "queue_requests_total", "counter", help);
    for class in Class::ALL {
        for (outcome, of) in OUTCOMES {
            let values = workers
                .iter()
                .map(|stats| of(&stats.classes[class.index()].outcomes));
            let (class, value) = (name(class), values.sum::<u64>());
            line(
                &mut out,
                format_args!(
                    "queue_requests_total{{class=\"{class}\",outcome=\"{outcome}\"}} {value}"
                ),
            );
        }
    }
    let help = "Time from when the queue took a request until it was read.";
    describe(&mut out, "queue_latency_seconds", "histogram", help);
    for class in Class::ALL {
        let mut latency_ns = Histogram::new();
        for stats in workers {
            latency_ns.merge(&stats.classes[class.index()].latency_ns);
        }
        histogram(&mut out, name(class), &latency_ns);
    }
    out
}

fn histogram(out: &mut String, class: &str, latency_ns: &Histogram) {
    const NAME: &str = "queue_latency_seconds";
    let mut buckets = latency_ns.buckets().peekable();
    let mut count = 0;
    for log in (BUCKET_LOG_MIN..).take(BUCKETS) {
        // What a bucket of the queue's holds is all below the next power of two, or above.
        while let Some((_, more)) = buckets.next_if(|(largest, _)| *largest <= 1 << log) {
            count += more;
        }
        let bound = Seconds(1 << log);
        line(
            out,
            format_args!("{NAME}_bucket{{class=\"{class}\",le=\"{bound}\"}} {count}"),
        );
    }
    let (count, sum) = (latency_ns.count(), latency_ns.sum());
    let sum = Seconds(u64::try_from(sum).unwrap_or(u64::MAX));
    line(
        out,
        format_args!("{NAME}_bucket{{class=\"{class}\",le=\"+Inf\"}} {count}"),
    );
    line(out, format_args!("{NAME}_sum{{class=\"{class}\"}} {sum}"));
    line(
        out,
        format_args!("{NAME}_count{{class=\"{class}\"}} {count}"),
    );
}

fn name(class: Class) -> &'static str {
    match class {
        Class::Realtime => "realtime",
        Class::High => "high",
        Class::Normal => "normal",
        Class::Low => "low",
    }
}

fn count(items: usize) -> u64 {
    u64::try_from(items).expect("a count")
}

#[cfg(test)]
mod tests {
    use super::prometheus_text;
    use blobio::queue::{Class, QueueStats};

    #[test]
    fn the_text_holds_what_was_counted() {
        let mut workers = [QueueStats::default(), QueueStats::default()];
        workers[1].queued = 7;
        workers[1].bytes_read = 9;
        for (stats, ns) in workers.iter_mut().zip([10_000, 20_000]) {
            let high = &mut stats.classes[Class::High.index()];
            high.outcomes.read = 2;
            high.latency_ns.record(ns);
            high.latency_ns.record(u64::MAX);
        }
        let text = prometheus_text(&workers);
        for expected in [
            "# TYPE asset_server_queue_queued gauge",
            "asset_server_queue_queued{worker=\"0\"} 0",
            "asset_server_queue_queued{worker=\"1\"} 7",
            "asset_server_queue_read_bytes_total{worker=\"1\"} 9",
            "asset_server_queue_requests_total{class=\"high\",outcome=\"read\"} 4",
            "asset_server_queue_requests_total{class=\"low\",outcome=\"late\"} 0",
            "asset_server_queue_latency_seconds_bucket{class=\"high\",le=\"0.000016384\"} 1",
            "asset_server_queue_latency_seconds_bucket{class=\"high\",le=\"0.000032768\"} 2",
            "asset_server_queue_latency_seconds_bucket{class=\"high\",le=\"17.179869184\"} 2",
            "asset_server_queue_latency_seconds_bucket{class=\"high\",le=\"+Inf\"} 4",
            "asset_server_queue_latency_seconds_count{class=\"high\"} 4",
            "asset_server_queue_latency_seconds_count{class=\"normal\"} 0",
        ] {
            assert!(
                text.lines().any(|line| line == expected),
                "{expected}\n{text}"
            );
        }
        for line in text.lines() {
            let value = line.rsplit(' ').next().unwrap();
            assert!(
                line.starts_with("# ") || value.parse::<f64>().is_ok(),
                "{line}"
            );
        }
    }
}
