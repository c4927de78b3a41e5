//! The output of `vllm bench serve`: its block of fifty columns and its JSON keys.

use std::fmt::{self, Write};

use serde_json::{Map, Value, json};

use super::summary::{Metric, Summary};
use crate::load::generator::{Measurement, Record};

const COLUMNS: usize = 50;

/// What a run was asked for, as its result tells it.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The model.
    pub model: String,
    /// How many requests.
    pub requests: u64,
    /// Requests in a second; `None` is as fast as they end.
    pub rate: Option<f64>,
    /// Shape of the intervals.
    pub burstiness: f64,
    /// Requests under way at a time, if limited.
    pub concurrency: Option<u64>,
    /// Figures that are shown.
    pub metrics: Vec<Metric>,
    /// Percentiles that are shown of each.
    pub percentiles: Vec<f64>,
    /// What people call this run.
    pub label: Option<String>,
    /// When it was started, as vLLM writes it: `YYYYMMDD-HHMMSS`, UTC.
    pub date: String,
}

/// The block that people read.
#[must_use]
pub fn render(asked: &Asked, summary: &Summary) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    block(&mut text, asked, summary).ok();
    text
}

fn block(text: &mut String, asked: &Asked, summary: &Summary) -> fmt::Result {
    writeln!(text, "{:=^COLUMNS$}", " Serving Benchmark Result ")?;
    row(text, "Successful requests:", summary.completed)?;
    row(text, "Failed requests:", summary.failed)?;
    if let Some(concurrency) = asked.concurrency {
        row(text, "Maximum request concurrency:", concurrency)?;
    }
    if let Some(rate) = asked.rate {
        row(text, "Request rate configured (RPS):", decimals(rate))?;
    }
    row(text, "Benchmark duration (s):", decimals(summary.seconds))?;
    row(text, "Total input tokens:", summary.input_tokens)?;
    row(text, "Total generated tokens:", summary.output_tokens)?;
    let per_second = |count| decimals(summary.per_second(count));
    row(
        text,
        "Request throughput (req/s):",
        per_second(summary.completed),
    )?;
    if let Some(good) = summary.good {
        row(text, "Request goodput (req/s):", per_second(good))?;
    }
    row(
        text,
        "Output token throughput (tok/s):",
        per_second(summary.output_tokens),
    )?;
    let tokens = summary.input_tokens + summary.output_tokens;
    row(text, "Total token throughput (tok/s):", per_second(tokens))?;
    for &metric in &asked.metrics {
        let Some(of) = summary.distribution(metric) else {
            continue;
        };
        let name = metric.key().to_uppercase();
        writeln!(text, "{:-^COLUMNS$}", metric.title())?;
        row(text, &format!("Mean {name} (ms):"), decimals(of.mean))?;
        row(
            text,
            &format!("Median {name} (ms):"),
            decimals(of.percentile(50.0)),
        )?;
        for &percent in &asked.percentiles {
            let key = format!("P{percent} {name} (ms):");
            row(text, &key, decimals(of.percentile(percent)))?;
        }
    }
    writeln!(text, "{:=^COLUMNS$}", "")
}

fn row(text: &mut String, key: &str, value: impl fmt::Display) -> fmt::Result {
    writeln!(text, "{key:<40} {value:<10}")
}

fn decimals(value: f64) -> String {
    format!("{value:.2}")
}

/// The result that notebooks read. The samples of each request are in it if it is `detailed`.
#[must_use]
pub fn json(
    asked: &Asked,
    summary: &Summary,
    measurement: &Measurement,
    detailed: bool,
) -> Map<String, Value> {
    let mut result = Map::new();
    let mut put = |key: &str, value: Value| result.insert(key.to_owned(), value);
    put("date", json!(asked.date));
    put("endpoint_type", json!("openai-chat"));
    put("backend", json!("openai-chat"));
    put("label", json!(asked.label));
    put("model_id", json!(asked.model));
    put("tokenizer_id", json!(asked.model));
    put("num_prompts", json!(asked.requests));
    put(
        "request_rate",
        asked.rate.map_or_else(|| json!("inf"), |rate| json!(rate)),
    );
    // JSON has no infinity.
    let burstiness = asked.burstiness;
    put(
        "burstiness",
        if burstiness.is_finite() {
            json!(burstiness)
        } else {
            json!("inf")
        },
    );
    put("max_concurrency", json!(asked.concurrency));
    put("duration", json!(summary.seconds));
    put("completed", json!(summary.completed));
    put("failed", json!(summary.failed));
    put("total_input_tokens", json!(summary.input_tokens));
    put("total_output_tokens", json!(summary.output_tokens));
    put(
        "request_throughput",
        json!(summary.per_second(summary.completed)),
    );
    put(
        "request_goodput",
        json!(summary.good.map(|good| summary.per_second(good))),
    );
    put(
        "output_throughput",
        json!(summary.per_second(summary.output_tokens)),
    );
    let tokens = summary.input_tokens + summary.output_tokens;
    put("total_token_throughput", json!(summary.per_second(tokens)));
    put("max_concurrent_requests", json!(measurement.in_flight_max));
    for &metric in &asked.metrics {
        let Some(of) = summary.distribution(metric) else {
            continue;
        };
        let key = metric.key();
        put(&format!("mean_{key}_ms"), json!(of.mean));
        put(&format!("median_{key}_ms"), json!(of.percentile(50.0)));
        put(&format!("std_{key}_ms"), json!(of.std));
        for &percent in &asked.percentiles {
            put(
                &format!("p{percent}_{key}_ms"),
                json!(of.percentile(percent)),
            );
        }
    }
    if detailed {
        result.extend(details(&measurement.records));
    }
    result
}

/// One entry for each request, in the order of their numbers; zeros for those that failed.
fn details(records: &[Record]) -> Map<String, Value> {
    let mut records: Vec<&Record> = records.iter().collect();
    records.sort_by_key(|record| record.number);
    let of = |value: &dyn Fn(&Record) -> Value| -> Value {
        records.iter().map(|record| value(record)).collect()
    };
    let answer = |record: &Record| record.result.as_ref().ok().cloned().unwrap_or_default();
    let mut details = Map::new();
    let mut put = |key: &str, value: Value| details.insert(key.to_owned(), value);
    put(
        "input_lens",
        of(&|record| json!(answer(record).prompt_tokens)),
    );
    put(
        "output_lens",
        of(&|record| json!(answer(record).completion_tokens)),
    );
    put(
        "start_times",
        of(&|record| json!(record.intended.as_secs_f64())),
    );
    let ttft = |record: &Record| {
        answer(record)
            .first_content
            .unwrap_or_default()
            .as_secs_f64()
    };
    put("ttfts", of(&|record| json!(ttft(record))));
    let gaps = |record: &Record| -> Value {
        let gaps = answer(record).gaps;
        gaps.iter().map(|gap| json!(gap.as_secs_f64())).collect()
    };
    put("itls", of(&gaps));
    let error = |record: &Record| record.result.as_ref().err().map(ToString::to_string);
    put(
        "errors",
        of(&|record| json!(error(record).unwrap_or_default())),
    );
    details
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::load::Failure;
    use crate::load::generator::Timeline;

    fn asked() -> Asked {
        Asked {
            model: "m".to_owned(),
            requests: 2,
            rate: Some(4.0),
            burstiness: f64::INFINITY,
            concurrency: None,
            metrics: vec![Metric::Ttft, Metric::Tpot],
            percentiles: vec![50.0, 99.9],
            label: None,
            date: "20261122-000000".to_owned(),
        }
    }

    fn measurement() -> Measurement {
        let record = |number, result| Record {
            number,
            intended: Duration::from_millis(250 * number),
            lag: Duration::ZERO,
            result,
        };
        let times = Timeline {
            first_content: Some(Duration::from_millis(100)),
            gaps: vec![Duration::from_millis(20)],
            last_content: Some(Duration::from_millis(120)),
            prompt_tokens: 7,
            completion_tokens: 2,
            ..Timeline::default()
        };
        Measurement {
            records: vec![record(1, Err(Failure::NoUsage)), record(0, Ok(times))],
            wall: Duration::from_secs(2),
            thread: None,
            loop_lags: Vec::new(),
            in_flight_max: 2,
        }
    }

    #[test]
    fn block_is_fifty_columns_wide() {
        let text = render(&asked(), &Summary::new(&measurement(), &[]));

        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[0],
            "============ Serving Benchmark Result ============"
        );
        assert_eq!(
            lines[1].trim_end(),
            "Successful requests:                     1"
        );
        assert!(text.contains("---------------Time to First Token----------------\n"));
        assert!(text.contains("-----Time per Output Token (excl. 1st token)------\n"));
        assert!(text.contains("P99.9 TTFT (ms):"));
        assert_eq!(lines.last(), Some(&"=".repeat(50).as_str()));
    }

    #[test]
    fn json_has_the_keys_that_notebooks_read() {
        let measurement = measurement();
        let summary = Summary::new(&measurement, &[]);

        let result = json(&asked(), &summary, &measurement, true);

        assert_eq!(result["completed"], 1);
        assert_eq!(result["request_rate"], 4.0);
        assert_eq!(result["burstiness"], "inf");
        assert_eq!(result["request_throughput"], 0.5);
        assert_eq!(result["output_throughput"], 1.0);
        assert_eq!(result["total_token_throughput"], 4.5);
        assert_eq!(result["mean_ttft_ms"], 100.0);
        assert!((result["p99.9_tpot_ms"].as_f64().unwrap() - 20.0).abs() < 0.03);
        assert_eq!(result["ttfts"], json!([0.1, 0.0]));
        assert_eq!(result["itls"], json!([[0.02], []]));
        assert_eq!(result["input_lens"], json!([7, 0]));
        assert_eq!(result["errors"], json!(["", Failure::NoUsage.to_string()]));
        assert!(!result.contains_key("mean_e2el_ms"));
        let brief = json(&asked(), &summary, &measurement, false);
        assert!(!brief.contains_key("ttfts"));
    }
}
