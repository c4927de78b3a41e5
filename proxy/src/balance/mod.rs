//! Which pair serves a request.
//!
//! Pure: a snapshot, a number and what was tried before go in, a pair comes out. It knows neither IO
//! nor time nor HTTP.

mod round_robin;

pub use round_robin::{Pair, Tried, choose};
