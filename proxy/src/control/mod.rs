//! The process around the shards: it binds, starts, waits for a signal, and ends.

mod bind;
mod limits;
mod logging;
mod metrics;
mod process;
mod signals;

pub use process::main_with_args;
