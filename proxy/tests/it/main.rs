//! The real `pd-proxy` process between real sockets: simulated vLLM nodes that are as unforgiving as
//! the real ones, scripted nodes, and raw clients. What is judged is both sides: what the client got and
//! what each node saw.
//!
//! Every test runs on the driver that `PD_TEST_IO_DRIVER` names (`io_uring` or `epoll`; without it the
//! proxy's own choice), and every proxy is asked on which it really runs.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "no shard runs here: a test may block, and what is not as it must be ends it"
)]

mod decode;
mod disconnect;
mod endpoints;
mod failover;
mod headers;
mod pairing;
mod pool;
mod prefill;
mod request_ids;
mod streaming;
mod support;
