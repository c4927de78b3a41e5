//! What a prefill and a decode node must be told of each other.
//!
//! With vLLM's P2pNccl connector all of it is in one [`RequestId`], the same on both legs: the prefill
//! node reads from it where to push the KV cache, the decode node where it comes from.
//!
//! A node believes whatever such an id says. One that names a dead host freezes a prefill node, one
//! whose prefill never ran freezes a decode node, a malformed one ends the engine. Hence the invariant
//! of this room: an id is made from two checked [`KvAddress`](crate::nodes::KvAddress)es and sixteen
//! random bytes, in one place, and never from anything a client sent. It knows no sockets, no
//! policies and no JSON.

mod request_id;

pub use request_id::RequestId;
