//! The real `pd-proxy` process between real sockets: simulated vLLM nodes that are as unforgiving as
//! the real ones, scripted nodes, and raw clients. What is judged is both sides: what the client got and
//! what each node saw.
//!
//! Every test runs on the driver that `PD_TEST_IO_DRIVER` names (`io_uring` or `epoll`; without it the
//! proxy's own choice), and every proxy is asked on which it really runs.
#![cfg(test)]
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the rules of a shard; these threads of tests wait, lock and read the environment"
)]
#![expect(
    clippy::string_slice,
    clippy::too_many_lines,
    reason = "messages are cut at every byte, and a table of cases is as long as it must be"
)]

mod access;
mod bodies;
mod decode;
mod disconnect;
mod driver;
mod endpoints;
mod failover;
mod framing;
mod headers;
mod keep_alive;
mod lifecycle;
mod limits;
mod pairing;
mod pool;
mod prefill;
mod registration;
mod request_ids;
mod silence;
mod soak;
mod streaming;
mod support;
