//! The command lines of the children; pure, so that each can be read in a test.

use std::ffi::OsString;
use std::net::Ipv4Addr;

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
}

/// Where the proxy listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Proxy {
    pub(crate) host: Ipv4Addr,
    /// For clients.
    pub(crate) http_port: u16,
    /// For registrations of nodes.
    pub(crate) zmq_ports: Vec<u16>,
}

impl Proxy {
    /// Arguments of `pd-proxy`.
    pub(crate) fn args(&self) -> Vec<OsString> {
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
        args.0
    }
}

#[derive(Default)]
struct Args(Vec<OsString>);

impl Args {
    fn option(&mut self, name: &str, value: impl std::fmt::Display) {
        self.0.push(name.into());
        self.0.push(value.to_string().into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy() -> Proxy {
        Proxy {
            host: Ipv4Addr::LOCALHOST,
            http_port: 10001,
            zmq_ports: vec![30001, 30002],
        }
    }

    fn line(args: &[OsString]) -> String {
        args.join(" ".as_ref()).into_string().unwrap()
    }

    #[test]
    fn proxy_listens_on_loopback_with_all_its_ports() {
        insta::assert_snapshot!(
            line(&proxy().args()),
            @"--host 127.0.0.1 --port 10001 --zmq-port 30001 --zmq-port 30002 --log-level info"
        );
    }

    #[test]
    fn sim_is_told_its_role_ports_model_and_proxy() {
        let sim = Sim {
            role: Role::Decode,
            host: Ipv4Addr::LOCALHOST,
            http_port: 8200,
            kv_port: 14579,
            model: "Qwen/Qwen2.5-7B-Instruct".to_owned(),
            speed: 1,
        };

        insta::assert_snapshot!(
            line(&sim.args(&proxy())),
            @"--role decode --host 127.0.0.1 --port 8200 --kv-port 14579 --proxy 127.0.0.1:30001 --model Qwen/Qwen2.5-7B-Instruct --speed 1"
        );
    }
}
