//! `pd-bench`: see [`pd_bench::load`].

use std::process::ExitCode;

fn main() -> ExitCode {
    pd_bench::cli::main_with_args(std::env::args_os())
}
