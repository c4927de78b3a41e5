//! The command lines and environments of the children; pure, so that each can be read in a test.

mod shell;
pub(crate) mod vllm;

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::embedded::Program;
use crate::plan::{Node, Plan};
use crate::settings::Settings;

/// What a node is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Fills the KV cache.
    Prefill,
    /// Generates tokens from it.
    Decode,
}

impl Role {
    /// The role as it is written everywhere.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Prefill => "prefill",
            Self::Decode => "decode",
        }
    }

    /// The role as the testbed names its logs: by what happens to the KV cache.
    pub(crate) fn testbed_name(self) -> &'static str {
        match self {
            Self::Prefill => "producer",
            Self::Decode => "consumer",
        }
    }
}

/// What a command runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    /// A program that this binary carries.
    Carried(Program),
    /// The vllm command, a name or a path.
    Vllm(String),
}

/// What to run, and with what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Command {
    pub(crate) what: What,
    /// Without the program's own name.
    pub(crate) args: Vec<String>,
    /// On top of what is inherited.
    pub(crate) env: Vec<(String, String)>,
}

impl Command {
    /// The command as it can be pasted into a shell, one option a line.
    pub(crate) fn shell(&self) -> String {
        let mut text = String::new();
        for (name, value) in &self.env {
            // A real key is not written where others read; the shell has it where it came from.
            let value = match (name.as_str(), value.as_str()) {
                ("OPENAI_API_KEY", key) if key != TESTBED_API_KEY => {
                    "\"$OPENAI_API_KEY\"".to_owned()
                }
                (_, value) => shell::quote(value),
            };
            text.push_str(&format!("{name}={value} \\\n"));
        }
        text.push_str(&match &self.what {
            What::Carried(program) => program.name().to_owned(),
            What::Vllm(command) => shell::quote(command),
        });
        for word in &self.args {
            let gap = if word.starts_with("--") {
                " \\\n  "
            } else {
                " "
            };
            text.push_str(gap);
            text.push_str(&shell::quote(word));
        }
        text
    }
}

/// The key that the testbed uses where there is none.
const TESTBED_API_KEY: &str = "sk-noop";

/// The proxy of a plan: on all addresses, as the testbed's.
pub(crate) fn proxy(settings: &Settings, plan: &Plan) -> Command {
    let proxy = Proxy {
        host: all_addresses(settings),
        http_port: plan.proxy_http_port,
        zmq_ports: plan.proxy_zmq_ports.clone(),
    };
    let key = settings.api_key.value.clone();
    Command {
        what: What::Carried(Program::Proxy),
        args: proxy.words(),
        env: vec![("OPENAI_API_KEY".to_owned(), key)],
    }
}

/// A node of a plan, with what its connector needs on the installed version.
pub(crate) fn node(settings: &Settings, node: &Node, version_env: &[(&str, &str)]) -> Command {
    if !settings.simulate {
        return vllm::command(settings, node, version_env);
    }
    let mut args = Args::default();
    args.option("--role", node.role.name());
    args.option("--host", all_addresses(settings));
    args.option("--port", node.http_port);
    args.option("--kv-port", node.kv_port);
    args.option("--advertise", &settings.srv_ip);
    args.option(
        "--proxy",
        authority(&settings.srv_ip, settings.proxy_zmq_port),
    );
    args.option("--model", &settings.model);
    args.option("--max-model-len", settings.max_model_len);
    Command {
        what: What::Carried(Program::Sim),
        args: args.0,
        env: Vec::new(),
    }
}

/// A host and a port as URLs have them: IPv6 addresses in brackets (RFC 3986 §3.2.2).
pub(crate) fn authority(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

fn all_addresses(settings: &Settings) -> IpAddr {
    if settings.srv_ip.contains(':') {
        Ipv6Addr::UNSPECIFIED.into()
    } else {
        Ipv4Addr::UNSPECIFIED.into()
    }
}

/// Where the proxy listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Proxy {
    pub(crate) host: IpAddr,
    /// For clients.
    pub(crate) http_port: u16,
    /// For registrations of nodes.
    pub(crate) zmq_ports: Vec<u16>,
}

impl Proxy {
    /// Arguments of `pd-proxy`.
    pub(crate) fn args(&self) -> Vec<OsString> {
        self.words().into_iter().map(OsString::from).collect()
    }

    fn words(&self) -> Vec<String> {
        let mut args = Args::default();
        args.option("--host", self.host);
        args.option("--port", self.http_port);
        for port in &self.zmq_ports {
            args.option("--zmq-port", port);
        }
        args.option("--log-level", "info");
        args.0
    }
}

/// A simulated node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sim {
    pub(crate) role: Role,
    pub(crate) host: Ipv4Addr,
    pub(crate) http_port: u16,
    pub(crate) kv_port: u16,
    /// The model it serves.
    pub(crate) model: String,
    /// How much faster than life.
    pub(crate) speed: u32,
}

impl Sim {
    /// Arguments of `pd-sim` that registers with this proxy.
    pub(crate) fn args(&self, proxy: &Proxy) -> Vec<OsString> {
        let mut args = Args::default();
        args.option("--role", self.role.name());
        args.option("--host", self.host);
        args.option("--port", self.http_port);
        args.option("--kv-port", self.kv_port);
        // Every proxy port leads to the same fleet.
        if let Some(port) = proxy.zmq_ports.first() {
            args.option("--proxy", format_args!("{}:{port}", proxy.host));
        }
        args.option("--model", &self.model);
        args.option("--speed", self.speed);
        args.0.into_iter().map(OsString::from).collect()
    }
}

#[derive(Default)]
struct Args(Vec<String>);

impl Args {
    fn option(&mut self, name: &str, value: impl std::fmt::Display) {
        self.0.push(name.to_owned());
        self.0.push(value.to_string());
    }
}

#[cfg(test)]
mod tests;
