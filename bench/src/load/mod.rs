//! Load: requests like those of real users, and what became of each of them.
//!
//! The HTTP client in here is our own and shares no code with the proxy: a misunderstanding of the
//! protocol must not be able to agree with itself. It is strict where a browser would be lenient. An
//! answer that was cut short or is framed in two contradicting ways is an error, never a sample.
//!
//! [`run`] is the two-pass benchmark of the testbed that this project replaces: time to the first
//! line of a streamed answer, then tokens per second of whole answers. [`sweep`] repeats it over a
//! grid of concurrencies and lengths. [`generator`] measures streams to their end, by when they were
//! meant to start.

pub mod arrivals;
pub mod client;
pub mod generator;
mod outcome;
mod prompt;
mod run;
pub mod sweep;

pub use outcome::{Completion, Failure, FirstLines, Measured, Outcome, Pass, Sample, Throughput};
pub use prompt::Prompts;
pub use run::{Options, run};
