//! What was typed for `up` and `config show`: a shape, and flags that are the table of keys.

use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;
use std::{env, fs};

use anyhow::Context;
use clap::{ArgMatches, Args, FromArgMatches};

use crate::cli::Color;
use crate::settings::Settings;
use crate::settings::keys::{KEYS, Kind};
use crate::settings::layers::{Layer, Layers, read_file};

/// Read from the working directory when nobody names another.
const FILE: &str = "pd-launcher.toml";

/// What makes up a stack, however it is given.
#[derive(Debug, Args)]
pub(crate) struct StackArgs {
    /// How many nodes, such as 2P6D for two prefill and six decode nodes
    #[arg(value_name = "xPyD", conflicts_with_all = ["prefill", "decode"])]
    shape: Option<Shape>,
    #[command(flatten)]
    typed: Typed,
    /// Settings, keys as the flags here [default: pd-launcher.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Start the proxy, decode and prefill nodes, watch them, and stop them together.
///
/// Takes the variables of the testbed's script, with the same defaults. However it ends, no process of
/// it stays.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  pd-launcher up
  pd-launcher up --simulate
  pd-launcher up 2P6D --vllm-version 0.23.0 --dry-run
  pd-launcher up 1P1D --decode-tensor-parallel-size 2 --decode-gpu 2,3 --dry-run

Flags win over variables, those over the file, that over defaults; `pd-launcher config show --origin`
tells which it was.

Exit status: 1 when something did not start or died, 2 when a request through the whole system failed,
64 when a setting is wrong, 130 or 143 after Ctrl-C or SIGTERM.")]
pub(crate) struct UpArgs {
    #[command(flatten)]
    pub(crate) stack: StackArgs,
    /// Print the plan and the exact commands, and start nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Colours and line drawing
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: Color,
    /// Further arguments of `vllm serve` for all nodes
    #[arg(last = true, value_name = "VLLM ARGS")]
    pub(crate) rest: Vec<String>,
}

/// Print the settings that `up` would use.
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    #[command(flatten)]
    pub(crate) stack: StackArgs,
    /// Tell where each came from
    #[arg(long)]
    pub(crate) origin: bool,
}

impl StackArgs {
    /// All layers of settings: flags, variables, the file, defaults, and what the machine says.
    pub(crate) fn layers(&self, rest: &[String]) -> anyhow::Result<Layers> {
        let mut flags = self.typed.0.clone();
        if let Some(shape) = self.shape {
            flags.insert("prefill", vec![shape.prefill.to_string()]);
            flags.insert("decode", vec![shape.decode.to_string()]);
        }
        if !rest.is_empty() {
            let all = flags.entry("vllm-arg").or_default();
            all.extend_from_slice(rest);
        }
        let file = self.file()?;
        let mut layers = Layers::new(&flags, &|name| env::var(name).ok(), file);
        layers.fill("srv-ip", first_address);
        layers.fill("cache-dir", || {
            let home = env::var("HOME").unwrap_or_default();
            format!("{home}/.cache/vllm")
        });
        Ok(layers)
    }

    /// The settings themselves.
    pub(crate) fn settings(&self, rest: &[String]) -> anyhow::Result<Settings> {
        Ok(Settings::read(&self.layers(rest)?)?)
    }

    fn file(&self) -> anyhow::Result<Option<(PathBuf, Layer)>> {
        let path = match &self.config {
            Some(path) => path.as_path(),
            None if Path::new(FILE).exists() => Path::new(FILE),
            None => return Ok(None),
        };
        let name = || path.display().to_string();
        let text = fs::read_to_string(path).with_context(name)?;
        let layer = read_file(&text).with_context(name)?;
        Ok(Some((path.to_owned(), layer)))
    }
}

/// The first address of `hostname -I`, as the testbed has it; else the one that leads outside.
fn first_address() -> String {
    let said = Command::new("hostname").arg("-I").output();
    let said = said.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    if let Some(address) = said.unwrap_or_default().split_whitespace().next() {
        return address.to_owned();
    }
    // A datagram socket that is connected sends nothing, but has a source address (RFC 5737 §3).
    let outside = UdpSocket::bind("0.0.0.0:0").and_then(|socket| {
        socket.connect("192.0.2.1:9")?;
        socket.local_addr()
    });
    outside.map_or_else(
        |_| "127.0.0.1".to_owned(),
        |address| address.ip().to_string(),
    )
}

/// Prefill and decode nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shape {
    prefill: u16,
    decode: u16,
}

impl FromStr for Shape {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "must look like 1P1D or 2P6D".to_owned();
        let text = text.to_ascii_uppercase();
        let (prefill, decode) = text
            .strip_suffix('D')
            .and_then(|text| text.split_once('P'))
            .ok_or_else(wrong)?;
        let number = |text: &str| match text.parse() {
            Ok(number @ 1..) => Ok(number),
            _ => Err(wrong()),
        };
        Ok(Self {
            prefill: number(prefill)?,
            decode: number(decode)?,
        })
    }
}

/// The flags of the table of keys, as they were typed.
#[derive(Debug, Clone, Default)]
struct Typed(Layer);

impl Args for Typed {
    fn augment_args(command: clap::Command) -> clap::Command {
        command.args(KEYS.iter().map(|key| key.arg()))
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Typed {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut typed = Self::default();
        typed.update_from_arg_matches(matches)?;
        Ok(typed)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for key in KEYS {
            let values: Vec<String> = match key.kind {
                Kind::Switch if matches.get_flag(key.flag) => vec!["true".to_owned()],
                Kind::Switch => Vec::new(),
                Kind::Value | Kind::List => matches
                    .get_many::<String>(key.flag)
                    .map_or_else(Vec::new, |values| values.cloned().collect()),
            };
            if !values.is_empty() {
                self.0.insert(key.flag, values);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_count_prefill_then_decode() {
        let shape = |text: &str| text.parse::<Shape>().map(|s| (s.prefill, s.decode));

        assert_eq!(shape("2P6D"), Ok((2, 6)));
        assert_eq!(shape("1p1d"), Ok((1, 1)));
        for wrong in ["", "P", "PD", "1P", "1D", "0P1D", "1P-1D", "2D6P", "1P1D1"] {
            assert!(shape(wrong).is_err(), "{wrong}");
        }
    }
}
