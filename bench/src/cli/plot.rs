//! `pd-bench plot`.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, ValueEnum};

use crate::load::sweep::stem;
use crate::report::figure;
use crate::report::seed_csv::{self, Row};
use crate::report::seed_figures::figures;

/// Draw throughput against concurrency and time to first token against prompt length.
///
/// Takes CSVs of `pd-bench sweep` and of the testbed's scripts, run_*.csv of ten columns or eighteen.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  pd-bench plot
  pd-bench plot --input old/bench_runs --output old/figures --format svg

Exit status: 0 when every figure was written, 1 when there was nothing to draw, 2 when the command
line is wrong.")]
pub(super) struct PlotArgs {
    /// Folder of the CSVs
    #[arg(long, default_value = "results/bench_runs")]
    input: PathBuf,
    /// Folder of the figures
    #[arg(long, default_value = "results/figures")]
    output: PathBuf,
    /// Kinds of files to write
    #[arg(long, value_enum, value_delimiter = ',', default_value = "png,svg")]
    format: Vec<Kind>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    Png,
    Svg,
}

impl PlotArgs {
    pub(super) fn run(&self, out: &mut dyn Write) -> anyhow::Result<bool> {
        let rows = self.rows()?;
        anyhow::ensure!(
            rows.iter()
                .any(|row| row.p50_ttft.is_some() || row.mean_tps.is_some()),
            "nothing to draw: no run_*.csv in {} has figures; `pd-bench sweep` makes some",
            self.input.display()
        );
        fs::create_dir_all(&self.output)
            .with_context(|| format!("cannot make {}", self.output.display()))?;
        for named in figures(&rows) {
            for kind in &self.format {
                let (extension, bytes) = match kind {
                    Kind::Png => ("png", figure::png(&named.figure)?),
                    Kind::Svg => ("svg", named.figure.svg().into_bytes()),
                };
                let path = self.output.join(format!("{}.{extension}", named.file_stem));
                fs::write(&path, bytes)
                    .with_context(|| format!("cannot write {}", path.display()))?;
                writeln!(out, "Saved figure {}", path.display())?;
            }
        }
        Ok(true)
    }

    /// All rows of all CSVs. A file that cannot be used is named and left out.
    fn rows(&self) -> anyhow::Result<Vec<Row>> {
        let entries = fs::read_dir(&self.input).with_context(|| {
            format!(
                "nothing to draw: cannot open {}; `pd-bench sweep` makes it",
                self.input.display()
            )
        })?;
        let mut paths = entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<io::Result<Vec<PathBuf>>>()?;
        paths.sort();
        let mut rows = Vec::new();
        for path in paths.iter().filter(|path| is_run(path)) {
            let text = fs::read_to_string(path);
            let read = text
                .map_err(anyhow::Error::new)
                .and_then(|text| Ok(seed_csv::read(stem(path).unwrap_or_default(), &text)?));
            match read {
                Ok(read) => rows.extend(read),
                Err(error) => {
                    writeln!(
                        io::stderr(),
                        "pd-bench: {} left out: {error}",
                        path.display()
                    )
                    .ok();
                }
            }
        }
        Ok(rows)
    }
}

fn is_run(path: &Path) -> bool {
    stem(path).is_some_and(|stem| stem.starts_with("run_"))
        && path.extension().is_some_and(|extension| extension == "csv")
}
