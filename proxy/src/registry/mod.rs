//! How nodes come and go.

mod clock;
mod frame;
mod stats;

pub use frame::check_registration;
pub use stats::Stats;
