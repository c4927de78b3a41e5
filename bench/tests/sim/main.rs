//! The simulated node, driven over its sockets by a client that shares no code with it.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail loudly"
)]

mod api;
mod client;
mod command;
mod connection;
mod connector;
mod faults;
mod registration;
