//! The command line of `pd-sim`.

use super::{Fault, Ledger, Options, Role, Sim, State};
use clap::Parser;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::ffi::OsString;
use std::io::Write as _;
use std::net::IpAddr;
use std::process::ExitCode;
use std::time::Duration;

/// A simulated vLLM node: HTTP, registration and KV hand-over without a GPU.
#[derive(Debug, Parser)]
#[command(name = "pd-sim", version)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one independent flag"
)]
struct Args {
    /// What the node is for
    #[arg(long, value_enum, default_value = "both")]
    role: Role,
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1")]
    host: IpAddr,
    /// HTTP port; 0 takes a free one
    #[arg(long, default_value_t = 8000)]
    port: u16,
    /// KV port; 0 takes a free one
    #[arg(long, default_value_t = 0)]
    kv_port: u16,
    /// Host to announce instead of --host
    #[arg(long, value_name = "HOST")]
    advertise: Option<String>,
    /// Registration address of a proxy; may be given several times
    #[arg(long = "proxy", value_name = "HOST:PORT")]
    proxies: Vec<String>,
    /// Do not register with the proxies
    #[arg(long)]
    no_register: bool,
    /// Seconds between registration messages
    #[arg(long, value_name = "SECONDS", default_value = "3", value_parser = seconds)]
    ping_interval: Duration,
    /// Served model name
    #[arg(long, default_value = "Qwen/Qwen2.5-7B-Instruct")]
    model: String,
    /// Longest prompt plus answer, in tokens
    #[arg(long, default_value_t = 32_768)]
    max_model_len: u32,
    /// Most sequences in one batch
    #[arg(long, default_value_t = 256)]
    max_num_seqs: usize,
    /// Seed of made-up ids and of faults
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How much faster than life; "inf" never waits
    #[arg(long, default_value = "1", value_parser = speed)]
    speed: f64,
    /// Exit with 1 when a rule was broken or KV leaked
    #[arg(long)]
    strict: bool,
    /// Bearer token that guards /v1
    #[arg(long, value_name = "KEY")]
    api_key: Option<String>,
    /// Seconds after which an idle connection is closed
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    keep_alive: Duration,
    /// Seconds until the HTTP port opens; registration begins at once
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = seconds)]
    ready_after: Duration,
    /// Version to report on /version
    #[arg(long, default_value = "0.23.0")]
    vllm_version: String,
    /// Append random characters to engine ids, as vLLM does unless told otherwise
    #[arg(long)]
    random_ids: bool,
    /// Turn the prefix cache off
    #[arg(long)]
    no_prefix_cache: bool,
    /// A fault as JSON, such as {"action":"refuse","status":503,"probability":0.1}
    #[arg(long = "fault", value_name = "JSON", value_parser = fault)]
    faults: Vec<Fault>,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let value: f64 = text.parse().map_err(|e| format!("{e}"))?;
    Duration::try_from_secs_f64(value).map_err(|e| e.to_string())
}

fn speed(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(speed) if speed > 0.0 => Ok(speed),
        _ => Err("must be a number above 0, or inf".to_owned()),
    }
}

fn fault(text: &str) -> Result<Fault, String> {
    serde_json::from_str(text).map_err(|e| e.to_string())
}

impl Args {
    fn options(self) -> Options {
        let defaults = Options::default();
        Options {
            role: self.role,
            host: self.host,
            port: self.port,
            kv_port: self.kv_port,
            advertise: self.advertise,
            proxies: self.proxies,
            register: !self.no_register,
            ping_interval: self.ping_interval,
            model: self.model,
            max_model_len: self.max_model_len,
            max_num_seqs: self.max_num_seqs,
            seed: self.seed,
            speed: self.speed,
            strict: self.strict,
            api_key: self.api_key,
            keep_alive: self.keep_alive,
            ready_after: self.ready_after,
            vllm_version: self.vllm_version,
            random_ids: self.random_ids,
            prefix_cache_blocks: if self.no_prefix_cache {
                0
            } else {
                defaults.prefix_cache_blocks
            },
            faults: self.faults,
            ..defaults
        }
    }
}

/// Runs `pd-sim` with these arguments, the program's name first, until it dies or is told to end by
/// SIGTERM or SIGINT.
///
/// Prints one line, `Ready role=… http=… kv=…`, once its ports are bound. The exit status is 1 when
/// the engine died, when `--strict` found something, or when the node could not start; 2 for wrong
/// arguments.
pub fn main_with_args(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args = match Args::try_parse_from(args) {
        Ok(args) => args,
        Err(error) => {
            // Help and version are "errors" too, with status 0.
            error.print().ok();
            return u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from);
        }
    };
    let strict = args.strict;
    match run(args.options()) {
        Ok(ledger) => finish(&ledger, strict),
        Err(error) => {
            writeln!(std::io::stderr(), "pd-sim: {error}").ok();
            ExitCode::FAILURE
        }
    }
}

fn run(options: Options) -> std::io::Result<Ledger> {
    // Before the node starts, so that no signal is missed.
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    let mut sim = Sim::start(options)?;
    let stopper = sim.stopper();
    let handle = signals.handle();
    let listener = std::thread::Builder::new()
        .name("pd-sim-signals".to_owned())
        .spawn(move || {
            if signals.forever().next().is_some() {
                stopper.stop();
            }
        })?;
    let mut out = std::io::stdout().lock();
    let role = match sim.options().role {
        Role::Prefill => "prefill",
        Role::Decode => "decode",
        Role::Both => "both",
    };
    writeln!(
        out,
        "Ready role={role} http={} kv={}",
        sim.http_addr(),
        sim.kv_addr()
    )?;
    out.flush()?;
    drop(out);
    sim.wait();
    handle.close();
    // The thread only waits for signals and has nothing to report.
    listener.join().ok();
    Ok(sim.ledger())
}

/// Reports what matters and turns it into an exit status.
fn finish(ledger: &Ledger, strict: bool) -> ExitCode {
    let dead = ledger.state == State::Dead;
    let dirty = strict && !ledger.is_clean();
    if strict || dead {
        writeln!(std::io::stderr(), "{}", ledger.report().trim_end()).ok();
    }
    if dead || dirty {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Options {
        let args = std::iter::once("pd-sim").chain(args.iter().copied());
        Args::try_parse_from(args).unwrap().options()
    }

    #[test]
    fn arguments_become_options() {
        let options = parse(&[
            "--role",
            "decode",
            "--proxy",
            "a:1",
            "--proxy",
            "b:2",
            "--speed",
            "inf",
            "--keep-alive",
            "0.5",
            "--fault",
            r#"{"action":"freeze","count":1}"#,
        ]);

        assert_eq!(options.role, Role::Decode);
        assert_eq!(options.proxies, ["a:1", "b:2"]);
        assert!(options.speed.is_infinite());
        assert_eq!(options.keep_alive, Duration::from_millis(500));
        assert_eq!(options.faults.len(), 1);
    }

    #[test]
    fn life_size_speed_is_the_default_of_the_command() {
        assert!((parse(&[]).speed - 1.0).abs() < f64::EPSILON);
        assert!(Args::try_parse_from(["pd-sim", "--speed", "0"]).is_err());
    }

    #[test]
    fn strict_exit_depends_on_the_ledger() {
        let mut ledger = Ledger::new(Role::Decode, 0);
        assert_eq!(finish(&ledger, true), ExitCode::SUCCESS);

        ledger.violate(super::super::Rule::PromptMismatch, "x", "x".to_owned());
        assert_eq!(finish(&ledger, false), ExitCode::SUCCESS);
        assert_eq!(finish(&ledger, true), ExitCode::FAILURE);
    }
}
