//! The `pd-proxy` program: see the library for what it does, `--help` for how to call it.

use std::process::ExitCode;

/// Measured against the system's allocator in `docs/performance.md`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    pd_proxy::main_with_args(std::env::args_os())
}
