//! How nodes come and go.

mod admission;
mod clock;
mod frame;
mod network;
mod stats;
mod table;

pub use frame::check_registration;
pub use network::{InvalidNetwork, Network};
pub use stats::Stats;
pub use table::check_table;
