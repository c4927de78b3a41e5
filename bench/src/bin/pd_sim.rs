//! A simulated vLLM node; see `pd_bench::sim`.

fn main() -> std::process::ExitCode {
    pd_bench::sim::cli::main_with_args(std::env::args_os())
}
