//! The two figures of `plot_bench_results.py`: same names, axes and titles.
//!
//! Unlike there, points are joined from left to right, answers of different length never share a line,
//! and the throughput of the whole system stands beside that of one request.

use std::collections::BTreeSet;

use super::figure::{Figure, Line, Panel};
use super::run_name::RunName;
use super::seed_csv::Row;

/// A figure and the name of its file, without what follows the dot.
#[derive(Debug, Clone, PartialEq)]
pub struct Named {
    /// What its file is called.
    pub file_stem: String,
    /// The figure.
    pub figure: Figure,
}

/// Both figures, for each model and mode of its own if there are several.
#[must_use]
pub fn figures(rows: &[Row]) -> Vec<Named> {
    let subjects: BTreeSet<_> = rows
        .iter()
        .map(|row| (row.name.mode, &row.name.tag))
        .collect();
    let mut named = Vec::new();
    for &(mode, tag) in &subjects {
        let of_subject: Vec<&Row> = rows
            .iter()
            .filter(|row| (row.name.mode, &row.name.tag) == (mode, tag))
            .collect();
        let suffix = match (subjects.len(), mode) {
            (1, _) => String::new(),
            (_, Some(mode)) => format!("_{mode}_model_{tag}"),
            (_, None) => format!("_model_{tag}"),
        };
        named.push(Named {
            file_stem: format!("throughput_vs_concurrency{suffix}"),
            figure: throughput(&of_subject),
        });
        named.push(Named {
            file_stem: format!("ttft_vs_prompt_tokens{suffix}"),
            figure: time_to_first_line(&of_subject),
        });
    }
    named
}

fn throughput(rows: &[&Row]) -> Figure {
    let draw = |y_label: &str, y: fn(&Row) -> Option<f64>| Panel {
        x_label: "Concurrency".to_owned(),
        y_label: y_label.to_owned(),
        lines: lines(rows, |name| name.prompt_tokens, |name| name.concurrency, y),
    };
    Figure {
        title: "Throughput vs Concurrency (by prompt_tokens)".to_owned(),
        panels: vec![
            draw("Mean TPS", |row| row.mean_tps),
            draw("Aggregate TPS", |row| row.aggregate_throughput),
        ],
        colors: labels(rows, "pt", |name| name.prompt_tokens),
        styles: labels(rows, "mt", |name| name.max_tokens),
    }
}

fn time_to_first_line(rows: &[&Row]) -> Figure {
    Figure {
        title: "Latency (TTFT) vs Prompt Tokens (by concurrency)".to_owned(),
        panels: vec![Panel {
            x_label: "Prompt tokens".to_owned(),
            y_label: "p50 TTFT (s)".to_owned(),
            lines: lines(
                rows,
                |name| name.concurrency,
                |name| name.prompt_tokens,
                |row| row.p50_ttft,
            ),
        }],
        colors: labels(rows, "conc", |name| name.concurrency),
        styles: labels(rows, "mt", |name| name.max_tokens),
    }
}

/// One line for each value of `by` and each answer length, its points from left to right. Rows
/// without the figure give no point.
fn lines(
    rows: &[&Row],
    by: fn(&RunName) -> u64,
    x: fn(&RunName) -> u64,
    y: impl Fn(&Row) -> Option<f64>,
) -> Vec<Line> {
    let mut lines = Vec::new();
    for (color, &colored) in values(rows, by).iter().enumerate() {
        for (style, &max_tokens) in values(rows, |name| name.max_tokens).iter().enumerate() {
            let mut points: Vec<(f64, f64)> = rows
                .iter()
                .filter(|row| by(&row.name) == colored && row.name.max_tokens == max_tokens)
                .filter_map(|row| Some((x(&row.name) as f64, y(row)?)))
                .collect();
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            if !points.is_empty() {
                lines.push(Line {
                    color,
                    style,
                    points,
                });
            }
        }
    }
    lines
}

fn values(rows: &[&Row], of: fn(&RunName) -> u64) -> BTreeSet<u64> {
    rows.iter().map(|row| of(&row.name)).collect()
}

fn labels(rows: &[&Row], key: &str, of: fn(&RunName) -> u64) -> Vec<String> {
    values(rows, of)
        .iter()
        .map(|value| format!("{key}={value}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::run_name::Mode;

    fn row(concurrency: u64, prompt_tokens: u64, max_tokens: u64, figure: f64) -> Row {
        Row {
            name: RunName {
                mode: None,
                tag: "m".to_owned(),
                concurrency,
                prompt_tokens,
                max_tokens,
            },
            p50_ttft: Some(figure),
            mean_tps: Some(figure),
            aggregate_throughput: Some(figure * 10.0),
        }
    }

    /// In the order in which a directory lists them: 16 before 2.
    fn rows() -> Vec<Row> {
        vec![
            row(16, 32, 128, 1.0),
            row(2, 32, 128, 3.0),
            row(2, 32, 256, 5.0),
            row(2, 128, 128, 6.0),
        ]
    }

    #[test]
    fn names_titles_and_axes_are_those_of_the_testbed() {
        let [throughput, ttft] = figures(&rows()).try_into().unwrap();

        assert_eq!(throughput.file_stem, "throughput_vs_concurrency");
        assert_eq!(
            throughput.figure.title,
            "Throughput vs Concurrency (by prompt_tokens)"
        );
        assert_eq!(throughput.figure.panels[0].x_label, "Concurrency");
        assert_eq!(throughput.figure.panels[0].y_label, "Mean TPS");
        assert_eq!(throughput.figure.colors, ["pt=32", "pt=128"]);
        assert_eq!(ttft.file_stem, "ttft_vs_prompt_tokens");
        assert_eq!(
            ttft.figure.title,
            "Latency (TTFT) vs Prompt Tokens (by concurrency)"
        );
        assert_eq!(ttft.figure.panels[0].x_label, "Prompt tokens");
        assert_eq!(ttft.figure.panels[0].y_label, "p50 TTFT (s)");
        assert_eq!(ttft.figure.colors, ["conc=2", "conc=16"]);
    }

    #[test]
    fn points_are_sorted_and_answer_lengths_have_lines_of_their_own() {
        let figure = &figures(&rows())[0].figure;

        assert_eq!(figure.styles, ["mt=128", "mt=256"]);
        let line = |color, style, points: &[(f64, f64)]| Line {
            color,
            style,
            points: points.to_vec(),
        };
        assert_eq!(
            figure.panels[0].lines,
            [
                line(0, 0, &[(2.0, 3.0), (16.0, 1.0)]),
                line(0, 1, &[(2.0, 5.0)]),
                line(1, 0, &[(2.0, 6.0)]),
            ]
        );
    }

    #[test]
    fn aggregate_throughput_stands_beside() {
        let panel = &figures(&rows())[0].figure.panels[1];

        assert_eq!(panel.y_label, "Aggregate TPS");
        assert_eq!(panel.lines[0].points, [(2.0, 30.0), (16.0, 10.0)]);
    }

    #[test]
    fn empty_cells_give_no_point() {
        let mut rows = rows();
        rows[0].mean_tps = None;

        assert_eq!(
            figures(&rows)[0].figure.panels[0].lines[0].points,
            [(2.0, 3.0)]
        );
    }

    #[test]
    fn several_models_and_modes_are_not_mixed() {
        let mut rows = rows();
        rows[0].name.tag = "n".to_owned();
        rows[1].name.mode = Some(Mode::Agg);

        let stems: Vec<String> = figures(&rows)
            .into_iter()
            .map(|named| named.file_stem)
            .collect();

        assert_eq!(
            stems,
            [
                "throughput_vs_concurrency_model_m",
                "ttft_vs_prompt_tokens_model_m",
                "throughput_vs_concurrency_model_n",
                "ttft_vs_prompt_tokens_model_n",
                "throughput_vs_concurrency_agg_model_m",
                "ttft_vs_prompt_tokens_agg_model_m",
            ]
        );
    }
}
