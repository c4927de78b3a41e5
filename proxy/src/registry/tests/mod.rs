//! The registry as a whole: real sockets, real threads, real time.

mod crowd;
mod hostile;
mod life;
mod start;
mod support;
