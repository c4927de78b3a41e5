//! The metrics that a router would read from a vLLM node, in Prometheus text form.

use std::cell::{Cell, RefCell};
use std::fmt::Write as _;

/// Bucket bounds of `vllm:time_to_first_token_seconds`.
const TTFT_BUCKETS: [f64; 22] = [
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
    20.0, 40.0, 80.0, 160.0, 640.0, 2560.0,
];

/// How a sequence ended, as the `finished_reason` label says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finished {
    Stop,
    Length,
    Abort,
}

/// Counters and gauges of one engine.
///
/// Gauges are set at the end of an engine step, so a frozen engine keeps showing the last ones.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    pub(crate) running: Cell<usize>,
    pub(crate) waiting: Cell<usize>,
    pub(crate) kv_usage: Cell<f64>,
    pub(crate) prompt_tokens: Cell<u64>,
    pub(crate) generation_tokens: Cell<u64>,
    pub(crate) prefix_queries: Cell<u64>,
    pub(crate) prefix_hits: Cell<u64>,
    pub(crate) external_queries: Cell<u64>,
    pub(crate) external_hits: Cell<u64>,
    stop: Cell<u64>,
    length: Cell<u64>,
    abort: Cell<u64>,
    ttft_counts: RefCell<[u64; TTFT_BUCKETS.len()]>,
    ttft_sum: Cell<f64>,
    ttft_count: Cell<u64>,
}

/// Adds to a counter.
pub(crate) fn add(counter: &Cell<u64>, count: u64) {
    counter.set(counter.get().saturating_add(count));
}

impl Metrics {
    pub(crate) fn finished(&self, how: Finished) {
        add(
            match how {
                Finished::Stop => &self.stop,
                Finished::Length => &self.length,
                Finished::Abort => &self.abort,
            },
            1,
        );
    }

    pub(crate) fn first_token(&self, seconds: f64) {
        let mut counts = self.ttft_counts.borrow_mut();
        for (bound, count) in TTFT_BUCKETS.iter().zip(counts.iter_mut()) {
            if seconds <= *bound {
                *count += 1;
            }
        }
        self.ttft_sum.set(self.ttft_sum.get() + seconds);
        add(&self.ttft_count, 1);
    }

    /// The exposition text.
    pub(crate) fn render(&self, model: &str) -> String {
        let label = format!("engine=\"0\",model_name=\"{model}\"");
        let mut page = Page {
            text: String::with_capacity(8192),
            label: &label,
        };
        page.gauge(
            "vllm:num_requests_running",
            "Number of requests in model execution batches.",
            &self.running.get(),
        );
        page.gauge(
            "vllm:num_requests_waiting",
            "Number of requests waiting to be processed.",
            &self.waiting.get(),
        );
        page.gauge(
            "vllm:kv_cache_usage_perc",
            "KV-cache usage. 1 means 100 percent usage.",
            &self.kv_usage.get(),
        );
        for (name, help, value) in [
            (
                "vllm:prefix_cache_queries",
                "Prefix cache queries, in tokens.",
                &self.prefix_queries,
            ),
            (
                "vllm:prefix_cache_hits",
                "Prefix cache hits, in tokens.",
                &self.prefix_hits,
            ),
            (
                "vllm:external_prefix_cache_queries",
                "Queries for KV of other nodes, in tokens.",
                &self.external_queries,
            ),
            (
                "vllm:external_prefix_cache_hits",
                "Hits for KV of other nodes, in tokens.",
                &self.external_hits,
            ),
            (
                "vllm:prompt_tokens",
                "Number of prefill tokens processed.",
                &self.prompt_tokens,
            ),
            (
                "vllm:generation_tokens",
                "Number of generation tokens processed.",
                &self.generation_tokens,
            ),
        ] {
            page.counter(name, help, value.get());
        }
        page.head(
            "vllm:request_success_total",
            "Finished requests.",
            "counter",
        );
        for (reason, value) in [
            ("stop", &self.stop),
            ("length", &self.length),
            ("abort", &self.abort),
        ] {
            let more = format!("finished_reason=\"{reason}\",");
            page.line("vllm:request_success_total", &more, &value.get());
        }
        self.render_ttft(&mut page);
        page.text
    }

    fn render_ttft(&self, page: &mut Page<'_>) {
        const NAME: &str = "vllm:time_to_first_token_seconds";
        page.head(
            NAME,
            "Histogram of time to first token in seconds.",
            "histogram",
        );
        let bucket = format!("{NAME}_bucket");
        for (bound, count) in TTFT_BUCKETS.iter().zip(self.ttft_counts.borrow().iter()) {
            page.line(&bucket, &format!("le=\"{bound:?}\","), count);
        }
        page.line(&bucket, "le=\"+Inf\",", &self.ttft_count.get());
        page.line(&format!("{NAME}_count"), "", &self.ttft_count.get());
        page.line(&format!("{NAME}_sum"), "", &self.ttft_sum.get());
    }
}

/// A page of metrics being written. Writing to a `String` cannot fail.
struct Page<'a> {
    text: String,
    label: &'a str,
}

impl Page<'_> {
    fn head(&mut self, name: &str, help: &str, kind: &str) {
        writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}").ok();
    }

    fn line(&mut self, name: &str, more: &str, value: &impl std::fmt::Display) {
        writeln!(self.text, "{name}{{{more}{}}} {value}", self.label).ok();
    }

    fn gauge(&mut self, name: &str, help: &str, value: &impl std::fmt::Display) {
        self.head(name, help, "gauge");
        self.line(name, "", value);
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        let name = format!("{name}_total");
        self.head(&name, help, "counter");
        self.line(&name, "", &value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_has_the_names_a_router_reads() {
        let metrics = Metrics::default();
        metrics.running.set(3);
        metrics.finished(Finished::Length);
        metrics.first_token(0.03);

        let page = metrics.render("m");

        for line in [
            "vllm:num_requests_running{engine=\"0\",model_name=\"m\"} 3",
            "vllm:request_success_total{finished_reason=\"length\",engine=\"0\",model_name=\"m\"} 1",
            "vllm:time_to_first_token_seconds_bucket{le=\"0.02\",engine=\"0\",model_name=\"m\"} 0",
            "vllm:time_to_first_token_seconds_bucket{le=\"0.04\",engine=\"0\",model_name=\"m\"} 1",
            "vllm:time_to_first_token_seconds_count{engine=\"0\",model_name=\"m\"} 1",
        ] {
            assert!(page.lines().any(|found| found == line), "{line}\n{page}");
        }
    }
}
