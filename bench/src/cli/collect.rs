//! `pd-bench collect`.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;

use crate::load::sweep::collect;
use crate::report::seed_csv::Format;

/// Read the figures of a run from its log and write them as CSV.
///
/// Takes logs of `pd-bench run` and of bench_pd.py; figures stay as they were printed.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  pd-bench run > run.log 2>&1; pd-bench collect --input run.log --output run.csv

Exit status: 0 even if the log has no figure (its cells are empty then), 1 when a file cannot be read
or written, 2 when the command line is wrong.")]
pub(super) struct CollectArgs {
    /// The log
    #[arg(long)]
    input: PathBuf,
    /// The CSV to write
    #[arg(long)]
    output: PathBuf,
    /// Columns: seed has 10, wide 18, of which the name of the log fills the first
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

impl CollectArgs {
    pub(super) fn run(&self, out: &mut dyn Write) -> anyhow::Result<bool> {
        collect(self.format, &self.input, &self.output)?;
        writeln!(
            out,
            "[OK] Extracted metrics saved to {}",
            self.output.display()
        )?;
        Ok(true)
    }
}
