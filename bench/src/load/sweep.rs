//! Many runs: every combination of some models, concurrencies, prompt and answer lengths.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::run::{Options, run};
use super::{Prompts, Sample};
use crate::report::run_name::{Mode, RunName, model_tag};
use crate::report::seed_csv::{self, Format};
use crate::report::seed_format;
use crate::report::seed_log::LoggedRun;

/// Distance between the seeds of neighbouring points: half of 2^64 divided by the golden ratio. A
/// stride of its own, so that no point sends the prompts of another one.
const SEED_STRIDE: u64 = 0x4f1b_bcdc_bfa5_3e0b;

/// What to run, and where the results go.
#[derive(Debug, Clone)]
pub struct Sweep {
    /// What all runs share; its model, concurrency and lengths are not used.
    pub base: Options,
    /// Models to ask for, the outermost loop.
    pub models: Vec<String>,
    /// Requests under way at a time.
    pub concurrencies: Vec<u64>,
    /// Words of each prompt.
    pub prompt_tokens: Vec<u32>,
    /// Longest answers, in tokens; the innermost loop.
    pub max_tokens: Vec<u64>,
    /// Part of the names of the runs.
    pub mode: Option<Mode>,
    /// Columns of the CSVs.
    pub format: Format,
    /// Where logs and CSVs go; made if it is not there.
    pub output_dir: PathBuf,
    /// Leave out runs whose CSV is there and has figures.
    pub resume: bool,
    /// Share of failed requests with which a run still counts as a success.
    pub error_rate_max: f64,
}

/// One run of a sweep.
#[derive(Debug, Clone)]
pub struct Point {
    /// What it is called.
    pub name: RunName,
    /// What it does.
    pub options: Options,
}

/// What a sweep tells while it runs.
#[derive(Debug)]
pub enum Step<'a> {
    /// A run begins.
    Running(&'a Point),
    /// A run is left out: its CSV is there.
    Skipped(&'a Point),
    /// A request of the current run has ended.
    Sample,
    /// A run has ended; these are its figures.
    Saved(&'a Path),
}

/// Why a sweep ended early.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// A result could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// No run can be made at all.
    #[error("cannot run: {0}")]
    Run(io::Error),
}

impl Sweep {
    /// All runs in their order. The prompts of each are its own, or the prefix cache of a node would
    /// make every run faster than the one before; and they are the same when a sweep is resumed.
    #[must_use]
    pub fn points(&self) -> Vec<Point> {
        let mut points = Vec::new();
        for model in &self.models {
            for &concurrency in &self.concurrencies {
                for &prompt_tokens in &self.prompt_tokens {
                    for &max_tokens in &self.max_tokens {
                        let number = points.len() as u64;
                        points.push(Point {
                            name: RunName {
                                mode: self.mode,
                                tag: model_tag(model),
                                concurrency,
                                prompt_tokens: u64::from(prompt_tokens),
                                max_tokens,
                            },
                            options: Options {
                                model: model.clone(),
                                concurrency,
                                max_tokens,
                                prompts: Prompts {
                                    seed: self
                                        .base
                                        .prompts
                                        .seed
                                        .wrapping_add(number.wrapping_mul(SEED_STRIDE)),
                                    words: usize::try_from(prompt_tokens).unwrap_or(usize::MAX),
                                },
                                ..self.base.clone()
                            },
                        });
                    }
                }
            }
        }
        points
    }

    /// Runs every point, one after the other, and returns how many were no success.
    ///
    /// The log of a run grows as its requests fail; its CSV appears whole or not at all.
    ///
    /// # Errors
    ///
    /// A result cannot be written, or the kernel refuses what an event loop needs. Failed requests
    /// are no error.
    pub fn run(&self, observer: &mut dyn FnMut(Step<'_>)) -> Result<usize, SweepError> {
        fs::create_dir_all(&self.output_dir).map_err(at(&self.output_dir))?;
        let mut failed = 0;
        for point in self.points() {
            let log = self.file(&point, "log");
            let csv = self.file(&point, "csv");
            if self.resume && has_figures(&csv, &point.name) {
                observer(Step::Skipped(&point));
                continue;
            }
            observer(Step::Running(&point));
            if !self.run_point(&point, &log, observer)? {
                failed += 1;
            }
            collect(self.format, &log, &csv)?;
            observer(Step::Saved(&csv));
        }
        Ok(failed)
    }

    /// Runs and logs; whether it was a success.
    fn run_point(
        &self,
        point: &Point,
        path: &Path,
        observer: &mut dyn FnMut(Step<'_>),
    ) -> Result<bool, SweepError> {
        let mut log = BufWriter::new(File::create(path).map_err(at(path))?);
        let mut written = Ok(());
        let outcome = run(&point.options, &mut |Sample { pass, result }| {
            if let (Err(failure), Ok(())) = (result, &written) {
                let line = seed_format::render_failure(pass, &failure);
                written = writeln!(log, "{line}").and_then(|()| log.flush());
            }
            observer(Step::Sample);
        })
        .map_err(SweepError::Run)?;
        written
            .and_then(|()| log.write_all(seed_format::render(&outcome).as_bytes()))
            .and_then(|()| log.flush())
            .map_err(at(path))?;
        Ok(outcome.is_success(self.error_rate_max))
    }

    fn file(&self, point: &Point, extension: &str) -> PathBuf {
        self.output_dir
            .join(format!("{}.{extension}", point.name.file_stem()))
    }
}

/// Writes the CSV of a log, whose name tells what was measured. Bytes that are no UTF-8 are none of a
/// figure.
///
/// # Errors
///
/// One of the files cannot be read or written.
pub fn collect(format: Format, log: &Path, csv: &Path) -> Result<LoggedRun, SweepError> {
    let bytes = fs::read(log).map_err(at(log))?;
    let logged = LoggedRun::from_log(&String::from_utf8_lossy(&bytes));
    let name = stem(log).and_then(RunName::from_file_stem);
    let text = seed_csv::render(format, name.as_ref(), &logged);
    if let Some(parent) = csv.parent() {
        fs::create_dir_all(parent).map_err(at(parent))?;
    }
    // A sweep that is killed here must not leave half a CSV that a later one takes for a result.
    let mut unfinished = csv.as_os_str().to_owned();
    unfinished.push(".unfinished");
    let unfinished = PathBuf::from(unfinished);
    fs::write(&unfinished, text).map_err(at(&unfinished))?;
    fs::rename(&unfinished, csv).map_err(at(csv))?;
    Ok(logged)
}

/// The name of a file without its last dot and what follows.
#[must_use]
pub fn stem(path: &Path) -> Option<&str> {
    path.file_stem()?.to_str()
}

/// Whether there is a CSV worth keeping. One of a run that failed altogether is not.
fn has_figures(csv: &Path, name: &RunName) -> bool {
    let rows = fs::read_to_string(csv)
        .ok()
        .and_then(|text| seed_csv::read(&name.file_stem(), &text).ok());
    rows.unwrap_or_default()
        .iter()
        .any(|row| row.p50_ttft.is_some() || row.mean_tps.is_some())
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> SweepError {
    let path = path.to_owned();
    move |source| SweepError::File { path, source }
}
