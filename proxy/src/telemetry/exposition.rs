//! The counters as Prometheus text (exposition format 0.0.4).

use std::fmt::Write;
use std::sync::Arc;
use std::time::Instant;

use super::counters::STATUSES;
use super::histogram::{BOUNDS_MS, Histogram};
use super::{Cause, Counter, Counters, Route, Side, Stage};
use crate::nodes::{Role, Snapshot, State};

/// What a scrape sees beside the shards' counters.
#[derive(Debug)]
pub struct Gauges {
    /// The driver the shards run on.
    pub driver: &'static str,
    /// Whether the process is ending.
    pub draining: bool,
    /// When the process became ready.
    pub started: Instant,
    /// Now.
    pub now: Instant,
}

/// Prometheus text in the making.
#[derive(Debug, Default)]
pub struct Exposition {
    text: String,
    /// The family that was begun last.
    family: String,
}

impl Exposition {
    /// Begins a family: its help and its type.
    pub fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.line(format_args!("# HELP pd_proxy_{name} {help}"));
        self.line(format_args!("# TYPE pd_proxy_{name} {kind}"));
        name.clone_into(&mut self.family);
    }

    /// One sample. `labels` is `a="b",c="d"`, or empty.
    pub fn sample(&mut self, name: &str, labels: &str, value: u64) {
        match labels {
            "" => self.line(format_args!("pd_proxy_{name} {value}")),
            _ => self.line(format_args!("pd_proxy_{name}{{{labels}}} {value}")),
        }
    }

    /// One sample of a room that names its series itself, labels included.
    pub fn series(&mut self, series: &str, value: u64) {
        let name = series.split('{').next().unwrap_or(series);
        if name != self.family {
            let kind = if name.ends_with("_total") {
                "counter"
            } else {
                "gauge"
            };
            self.family(name, kind, "See the operator's manual.");
        }
        self.line(format_args!("pd_proxy_{series} {value}"));
    }

    /// The text.
    pub fn into_text(self) -> String {
        self.text
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        writeln!(self.text, "{line}").unwrap_or_default();
    }

    fn histogram<'a>(
        &mut self,
        name: &str,
        labels: &str,
        parts: impl Iterator<Item = &'a Histogram>,
    ) {
        let (mut buckets, mut sum_us) = ([0; BOUNDS_MS.len() + 1], 0);
        parts.for_each(|part| part.add_to(&mut buckets, &mut sum_us));
        let comma = if labels.is_empty() { "" } else { "," };
        let mut count = 0;
        for (bound_ms, in_bucket) in BOUNDS_MS.iter().zip(buckets) {
            count += in_bucket;
            let bound = Seconds(bound_ms * 1_000);
            self.line(format_args!(
                "pd_proxy_{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {count}"
            ));
        }
        count += buckets.last().copied().unwrap_or(0);
        self.line(format_args!(
            "pd_proxy_{name}_bucket{{{labels}{comma}le=\"+Inf\"}} {count}"
        ));
        let (open, close) = if labels.is_empty() {
            ("", "")
        } else {
            ("{", "}")
        };
        self.line(format_args!(
            "pd_proxy_{name}_sum{open}{labels}{close} {}",
            Seconds(sum_us)
        ));
        self.line(format_args!(
            "pd_proxy_{name}_count{open}{labels}{close} {count}"
        ));
    }
}

/// Microseconds, shown as seconds without rounding.
struct Seconds(u64);

impl std::fmt::Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (whole, part) = (self.0 / 1_000_000, self.0 % 1_000_000);
        if part == 0 {
            return write!(f, "{whole}.0");
        }
        let digits = format!("{part:06}");
        write!(f, "{whole}.{}", digits.trim_end_matches('0'))
    }
}

/// The whole text: what the shards counted, what the fleet looks like, and what `more` adds.
pub fn render(
    shards: &[Arc<Counters>],
    fleet: &Snapshot,
    gauges: &Gauges,
    more: impl FnOnce(&mut Exposition),
) -> String {
    let mut out = Exposition::default();
    process(&mut out, shards, gauges);
    requests(&mut out, shards);
    durations(&mut out, shards);
    nodes(&mut out, fleet);
    more(&mut out);
    out.into_text()
}

fn process(out: &mut Exposition, shards: &[Arc<Counters>], gauges: &Gauges) {
    out.family("build_info", "gauge", "The running version.");
    out.sample(
        "build_info",
        concat!("version=\"", env!("CARGO_PKG_VERSION"), "\""),
        1,
    );
    out.family("io_driver_info", "gauge", "The driver the shards run on.");
    out.sample(
        "io_driver_info",
        &format!("driver=\"{}\"", gauges.driver),
        1,
    );
    out.family("shards", "gauge", "Shards, one thread each.");
    out.sample("shards", "", u64::try_from(shards.len()).unwrap_or(0));
    out.family(
        "uptime_seconds",
        "gauge",
        "Time since the sockets were bound.",
    );
    out.sample(
        "uptime_seconds",
        "",
        (gauges.now - gauges.started).as_secs(),
    );
    out.family(
        "draining",
        "gauge",
        "1 while the process ends its last streams.",
    );
    out.sample("draining", "", u64::from(gauges.draining));
    let sum = |counter| shards.iter().map(|shard| shard.get(counter)).sum::<u64>();
    out.family("connections", "gauge", "Open client connections.");
    out.sample(
        "connections",
        "",
        sum(Counter::Accepted).saturating_sub(sum(Counter::Closed)),
    );
    for counter in Counter::ALL {
        out.family(counter.label(), "counter", "See the operator's manual.");
        out.sample(counter.label(), "", sum(*counter));
    }
    out.family(
        "shard_connections_total",
        "counter",
        "Client connections accepted, by shard.",
    );
    for (index, shard) in shards.iter().enumerate() {
        let labels = format!("shard=\"{index}\"");
        out.sample(
            "shard_connections_total",
            &labels,
            shard.get(Counter::Accepted),
        );
    }
}

fn requests(out: &mut Exposition, shards: &[Arc<Counters>]) {
    out.family(
        "requests_total",
        "counter",
        "Answers to clients, by route and status.",
    );
    for route in Route::ALL {
        for (index, status) in STATUSES.iter().enumerate() {
            let count = shards
                .iter()
                .map(|shard| shard.requests(*route, index))
                .sum();
            if count > 0 {
                let status = if *status == 0 {
                    "other".to_owned()
                } else {
                    status.to_string()
                };
                let labels = format!("route=\"{}\",status=\"{status}\"", route.label());
                out.sample("requests_total", &labels, count);
            }
        }
    }
    out.family(
        "request_errors_total",
        "counter",
        "Failures by stage, whose they are, and why.",
    );
    for stage in Stage::ALL {
        for side in Side::ALL {
            for cause in Cause::ALL {
                let count = shards
                    .iter()
                    .map(|shard| shard.errors(*stage, *side, *cause))
                    .sum();
                if count > 0 {
                    let (stage, side, cause) = (stage.label(), side.label(), cause.label());
                    let labels = format!("stage=\"{stage}\",side=\"{side}\",cause=\"{cause}\"");
                    out.sample("request_errors_total", &labels, count);
                }
            }
        }
    }
}

fn durations(out: &mut Exposition, shards: &[Arc<Counters>]) {
    let name = "time_to_first_token_seconds";
    out.family(
        name,
        "histogram",
        "From a request's last byte to its answer's first body byte.",
    );
    out.histogram(name, "", shards.iter().map(|shard| &shard.first_token));
    let name = "request_duration_seconds";
    out.family(
        name,
        "histogram",
        "From a request's last byte to its answer's last.",
    );
    out.histogram(name, "", shards.iter().map(|shard| &shard.request));
    let name = "stage_duration_seconds";
    out.family(name, "histogram", "How long each stage of a request took.");
    // A client's own pace is no figure of ours: the clocks start when a request is complete.
    for stage in Stage::ALL.iter().filter(|stage| **stage != Stage::Request) {
        let parts = shards
            .iter()
            .filter_map(|shard| shard.stages.get(*stage as usize));
        out.histogram(name, &format!("stage=\"{}\"", stage.label()), parts);
    }
}

fn nodes(out: &mut Exposition, fleet: &Snapshot) {
    out.family(
        "fleet_epoch",
        "gauge",
        "Number of the published view of the fleet.",
    );
    out.sample("fleet_epoch", "", fleet.epoch);
    out.family("nodes", "gauge", "Known nodes, by role and state.");
    for role in Role::ALL {
        for state in State::ALL {
            let labels = format!("role=\"{}\",state=\"{}\"", role.name(), state.name());
            out.sample(
                "nodes",
                &labels,
                u64::try_from(fleet.count(role, state)).unwrap_or(0),
            );
        }
    }
    out.family("in_flight", "gauge", "Requests at a node now.");
    for (node, _) in &fleet.nodes {
        // The address passed a grammar without quotes, backslashes or line ends.
        let labels = format!("role=\"{}\",node=\"{}\"", node.role.name(), node.http);
        out.sample("in_flight", &labels, node.in_flight());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn seconds_are_exact() {
        let texts = [0, 1, 1_500_000, 20_000, 2_560_000_000].map(|us| Seconds(us).to_string());
        assert_eq!(texts, ["0.0", "0.000001", "1.5", "0.02", "2560.0"]);
    }

    #[test]
    fn histogram_buckets_are_cumulative_and_bounds_inclusive() {
        let histogram = Histogram::default();
        for ms in [1, 1, 5, 6, 3_000_000] {
            histogram.observe(Duration::from_millis(ms));
        }
        let mut out = Exposition::default();
        out.histogram("x_seconds", "", std::iter::once(&histogram));
        let text = out.into_text();
        assert!(
            text.contains("x_seconds_bucket{le=\"0.001\"} 2\n"),
            "{text}"
        );
        assert!(
            text.contains("x_seconds_bucket{le=\"0.005\"} 3\n"),
            "{text}"
        );
        assert!(text.contains("x_seconds_bucket{le=\"0.01\"} 4\n"), "{text}");
        assert!(
            text.contains("x_seconds_bucket{le=\"2560.0\"} 4\n"),
            "{text}"
        );
        assert!(text.contains("x_seconds_bucket{le=\"+Inf\"} 5\n"), "{text}");
        assert!(text.contains("x_seconds_sum 3000.013\n"), "{text}");
        assert!(text.contains("x_seconds_count 5\n"), "{text}");
    }

    #[test]
    fn shards_are_summed() {
        let shards = [Arc::new(Counters::default()), Arc::new(Counters::default())];
        shards[0].answered(Route::Completions, 200);
        shards[1].answered(Route::Completions, 200);
        shards[1].answered(Route::Completions, 799);
        shards[1].failed(Stage::Prefill, Side::Prefill, Cause::Connect);
        let now = crate::io::clock::now();
        let gauges = Gauges {
            driver: "epoll",
            draining: false,
            started: now,
            now,
        };
        let text = render(&shards, &Snapshot::default(), &gauges, |_| ());
        for line in [
            "pd_proxy_requests_total{route=\"completions\",status=\"200\"} 2\n",
            "pd_proxy_requests_total{route=\"completions\",status=\"other\"} 1\n",
            "pd_proxy_request_errors_total{stage=\"prefill\",side=\"prefill\",cause=\"connect\"} 1\n",
            "pd_proxy_io_driver_info{driver=\"epoll\"} 1\n",
            "pd_proxy_nodes{role=\"prefill\",state=\"ready\"} 0\n",
        ] {
            assert!(text.contains(line), "{line} is missing in {text}");
        }
    }
}
