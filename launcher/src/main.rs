//! pd-proxy.
fn main() {}
