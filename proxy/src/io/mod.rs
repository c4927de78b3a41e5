//! The ring, the sockets and the time of a shard.
//!
//! The only room that knows monoio and the only one with `unsafe` (one block, in `stream`). It knows
//! no HTTP and no nodes.
//!
//! **Waiting and moving bytes are apart.** A future of this room only waits for readiness, on the ring
//! or in epoll; bytes are then moved by a call that never blocks. So the kernel never owns one of our
//! buffers, an idle connection holds none, and every future here may be dropped at any point: nothing
//! is lost and nothing leaks. monoio's own reads and accepts do not have that property (a dropped read
//! may have swallowed bytes, a dropped accept leaks its descriptor), and its sends were measured no
//! cheaper than a direct call.

pub mod clock;
mod guard;
mod listener;
mod race;
mod runtime;
mod stream;
mod timer;

pub use guard::{Panicked, spawn, unless_panicked};
pub use listener::Listener;
pub use race::{Either, race};
pub use runtime::{Driver, DriverChoice, RuntimeError, run};
pub use stream::Stream;
pub use timer::{Deadline, Expired, Timers, sleep};
