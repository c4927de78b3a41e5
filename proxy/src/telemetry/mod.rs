//! What the proxy tells about itself.
//!
//! Every shard counts in cells of its own, which only it writes; a scrape sums them. Nothing here is
//! called per token but an addition. Names and labels come from closed enums, so that a peer cannot
//! make series. This room knows nothing of those who call it.

mod counters;
mod exposition;
mod histogram;

pub use counters::{Cause, Counter, Counters, Route, Side, Stage};
pub use exposition::{Exposition, Gauges, render};
pub use histogram::Histogram;
