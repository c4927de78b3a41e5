//! The testbed's CSV files: one header, one row, CRLF line ends, empty cells for what is not known.

use std::collections::HashMap;

use super::run_name::{Mode, RunName};
use super::seed_log::LoggedRun;

/// Which columns a CSV has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// The ten columns of `collect_from_log.py`.
    #[default]
    Seed,
    /// The eighteen columns of the testbed's later versions.
    Wide,
}

const SEED_COLUMNS: [&str; 10] = [
    "p50_ttft",
    "p95_ttft",
    "min_ttft",
    "max_ttft",
    "p50_tps",
    "p95_tps",
    "mean_tps",
    "total_tokens",
    "wall_time_sec",
    "aggregate_throughput",
];
const WIDE_COLUMNS: [&str; 18] = [
    "mode",
    "model_tag",
    "concurrency",
    "prompt_tokens",
    "max_tokens",
    "requests_ttft",
    "p50_ttft",
    "p95_ttft",
    "min_ttft",
    "max_ttft",
    "requests_thr",
    "errors",
    "p50_tps",
    "p95_tps",
    "mean_tps",
    "total_tokens",
    "wall_time_sec",
    "aggregate_throughput",
];

/// Figures of one run, as far as a figure is drawn of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// What was measured.
    pub name: RunName,
    /// Median seconds to the first line.
    pub p50_ttft: Option<f64>,
    /// Mean tokens per second of one request.
    pub mean_tps: Option<f64>,
    /// Tokens of all answers over the length of the pass.
    pub aggregate_throughput: Option<f64>,
}

/// Why a text is none of the testbed's CSVs.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is no CSV.
    #[error("not a CSV: {0}")]
    Csv(#[from] csv::Error),
    /// A column that every version has is missing.
    #[error("no column {0}")]
    Column(&'static str),
    /// Neither its name nor its columns tell what was measured.
    #[error("neither the file's name nor its columns tell concurrency, prompt and answer length")]
    Nameless,
}

/// The CSV of one run; a run without a name leaves the cells about it empty.
#[must_use]
pub fn render(format: Format, name: Option<&RunName>, run: &LoggedRun) -> String {
    let columns: &[&str] = match format {
        Format::Seed => &SEED_COLUMNS,
        Format::Wide => &WIDE_COLUMNS,
    };
    let cells = columns.iter().map(|column| cell(column, name, run));
    // No cell holds a comma or a quote but a model's name might.
    format!(
        "{}\r\n{}\r\n",
        columns.join(","),
        cells.map(quoted).collect::<Vec<_>>().join(",")
    )
}

fn cell(column: &str, name: Option<&RunName>, run: &LoggedRun) -> String {
    let of_name = |cell: &dyn Fn(&RunName) -> String| name.map(cell).unwrap_or_default();
    let of_log = |cell: &Option<String>| cell.clone().unwrap_or_default();
    match column {
        "mode" => of_name(&|name| name.mode.map(|mode| mode.to_string()).unwrap_or_default()),
        "model_tag" => of_name(&|name| name.tag.clone()),
        "concurrency" => of_name(&|name| name.concurrency.to_string()),
        "prompt_tokens" => of_name(&|name| name.prompt_tokens.to_string()),
        "max_tokens" => of_name(&|name| name.max_tokens.to_string()),
        "requests_ttft" => of_log(&run.requests_ttft),
        "p50_ttft" => of_log(&run.p50_ttft),
        "p95_ttft" => of_log(&run.p95_ttft),
        "min_ttft" => of_log(&run.min_ttft),
        "max_ttft" => of_log(&run.max_ttft),
        "requests_thr" => of_log(&run.requests_thr),
        "errors" => of_log(&run.errors),
        "p50_tps" => of_log(&run.p50_tps),
        "p95_tps" => of_log(&run.p95_tps),
        "mean_tps" => of_log(&run.mean_tps),
        "total_tokens" => of_log(&run.total_tokens),
        "wall_time_sec" => of_log(&run.wall_time_sec),
        "aggregate_throughput" => of_log(&run.aggregate_throughput),
        _ => String::new(),
    }
}

/// A cell as RFC 4180 §2 wants it.
fn quoted(cell: String) -> String {
    if cell.contains([',', '"', '\r', '\n']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell
    }
}

/// Reads a CSV of either format, with any line ends. What was measured is told by the name of the
/// file, or else by the columns of the wide format.
///
/// # Errors
///
/// The text is none of the testbed's CSVs. Empty cells and rows are no error.
pub fn read(file_stem: &str, text: &str) -> Result<Vec<Row>, ReadError> {
    let mut reader = csv::ReaderBuilder::new()
        .flexible(true)
        .from_reader(text.as_bytes());
    let columns: HashMap<String, usize> = reader
        .headers()?
        .iter()
        .enumerate()
        .map(|(at, column)| (column.trim().to_owned(), at))
        .collect();
    for column in SEED_COLUMNS {
        if !columns.contains_key(column) {
            return Err(ReadError::Column(column));
        }
    }
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record?;
        let text = |column: &str| {
            let cell = columns.get(column).and_then(|&at| record.get(at));
            cell.map(str::trim).filter(|cell| !cell.is_empty())
        };
        let number = |column: &str| {
            let number = text(column)?.parse::<f64>().ok()?;
            number.is_finite().then_some(number)
        };
        let name = RunName::from_file_stem(file_stem)
            .or_else(|| named_by_columns(&text))
            .ok_or(ReadError::Nameless)?;
        rows.push(Row {
            name,
            p50_ttft: number("p50_ttft"),
            mean_tps: number("mean_tps"),
            aggregate_throughput: number("aggregate_throughput"),
        });
    }
    Ok(rows)
}

fn named_by_columns<'a>(text: &dyn Fn(&str) -> Option<&'a str>) -> Option<RunName> {
    let number = |column| text(column)?.parse().ok();
    Some(RunName {
        mode: match text("mode") {
            Some("disagg") => Some(Mode::Disagg),
            Some("agg") => Some(Mode::Agg),
            _ => None,
        },
        tag: text("model_tag")?.to_owned(),
        concurrency: number("concurrency")?,
        prompt_tokens: number("prompt_tokens")?,
        max_tokens: number("max_tokens")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run() -> LoggedRun {
        LoggedRun::from_log(
            "== TTFT (stream=true) N=4 ==\n  p50=0.500s  p95=0.900s  min=0.100s  max=1.000s\n\
             == Throughput (stream=false) N=3, errors=1 ==\n\
             per-request tokens/sec: p50=10.0  p95=12.5  mean=10.5\n\
             total generated tokens = 300\nwall time (whole run)   = 9.00s\n\
             aggregate throughput    = 33.3 tokens/sec\n",
        )
    }

    fn name() -> RunName {
        RunName {
            mode: Some(Mode::Disagg),
            tag: "m".to_owned(),
            concurrency: 4,
            prompt_tokens: 32,
            max_tokens: 128,
        }
    }

    #[test]
    fn seed_format_is_ten_columns_with_crlf() {
        assert_eq!(
            render(Format::Seed, Some(&name()), &run()),
            "p50_ttft,p95_ttft,min_ttft,max_ttft,p50_tps,p95_tps,mean_tps,total_tokens,\
             wall_time_sec,aggregate_throughput\r\n\
             0.500,0.900,0.100,1.000,10.0,12.5,10.5,300,9.00,33.3\r\n"
        );
    }

    #[test]
    fn what_the_log_does_not_tell_is_an_empty_cell() {
        let text = render(Format::Seed, None, &LoggedRun::default());

        assert!(text.ends_with("\r\n,,,,,,,,,\r\n"), "{text:?}");
        let rows = read("run_model_m_conc1_pt2_mt3", &text).unwrap();
        assert_eq!((rows[0].p50_ttft, rows[0].mean_tps), (None, None));
    }

    #[test]
    fn wide_format_is_eighteen_columns() {
        assert_eq!(
            render(Format::Wide, Some(&name()), &run()),
            "mode,model_tag,concurrency,prompt_tokens,max_tokens,requests_ttft,p50_ttft,p95_ttft,\
             min_ttft,max_ttft,requests_thr,errors,p50_tps,p95_tps,mean_tps,total_tokens,\
             wall_time_sec,aggregate_throughput\r\n\
             disagg,m,4,32,128,4,0.500,0.900,0.100,1.000,3,1,10.0,12.5,10.5,300,9.00,33.3\r\n"
        );
    }

    #[test]
    fn both_formats_and_any_line_ends_are_read() {
        let seed = render(Format::Seed, None, &run());
        let wide = render(Format::Wide, Some(&name()), &run());

        for (stem, text) in [
            (name().file_stem(), seed.clone()),
            (name().file_stem(), seed.replace("\r\n", "\n")),
            ("raw_all_merged".to_owned(), wide),
        ] {
            assert_eq!(
                read(&stem, &text).unwrap(),
                [Row {
                    name: name(),
                    p50_ttft: Some(0.5),
                    mean_tps: Some(10.5),
                    aggregate_throughput: Some(33.3),
                }],
                "{stem}"
            );
        }
    }

    #[test]
    fn other_files_are_refused_by_what_they_lack() {
        let nameless = render(Format::Seed, None, &run());

        assert!(matches!(read("x", &nameless), Err(ReadError::Nameless)));
        assert!(matches!(
            read("x", "a,b\n1,2\n"),
            Err(ReadError::Column("p50_ttft"))
        ));
    }

    #[test]
    fn model_with_a_comma_is_quoted_and_read_again() {
        let named = RunName {
            tag: "a,\"b\"".to_owned(),
            ..name()
        };

        let text = render(Format::Wide, Some(&named), &run());

        assert_eq!(read("x", &text).unwrap()[0].name, named);
    }
}
