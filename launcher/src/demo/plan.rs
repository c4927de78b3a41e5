//! Which processes the demo has, and on which ports.

use std::ffi::OsString;
use std::io;
use std::net::Ipv4Addr;

use crate::command::{Proxy, Role, Sim};
use crate::embedded::Program;
use crate::ports::Ports;
use crate::probe::Wanted;

/// The model that the simulated nodes serve.
pub(super) const MODEL: &str = "Qwen/Qwen2.5-7B-Instruct";
/// Simulated nodes take the time that real ones do.
pub(super) const SPEED: u32 = 1;

const HOST: Ipv4Addr = Ipv4Addr::LOCALHOST;
/// The ports that people know from the testbed and from vLLM's example.
const PROXY_HTTP_PORT: u16 = 10001;
const PROXY_ZMQ_PORTS: [u16; 2] = [30001, 30002];
const DECODE_HTTP_PORT: u16 = 8200;
const DECODE_KV_PORT: u16 = 14579;
const PREFILL_HTTP_PORT: u16 = 8100;
const PREFILL_KV_PORT: u16 = 14580;

/// All processes of a demo, and the ports they were given.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) proxy: Proxy,
    /// Decode nodes, then prefill nodes.
    pub(super) nodes: Vec<Sim>,
    /// Ports that were taken.
    pub(super) moved: Vec<Moved>,
    /// Holds the ports against other launchers.
    _ports: Ports,
}

/// A port that was taken, and what is used instead.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Moved {
    pub(super) who: String,
    pub(super) wanted: u16,
    pub(super) port: u16,
}

/// One process of the plan.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) name: String,
    pub(super) program: Program,
    pub(super) args: Vec<OsString>,
    /// Where it serves HTTP.
    pub(super) port: u16,
    /// What its `/health` answers once it is up.
    pub(super) up_when: Wanted,
    /// What else it listens on.
    pub(super) detail: String,
}

impl Plan {
    /// Finds a port for everything.
    pub(super) fn new(prefill: u16, decode: u16) -> io::Result<Self> {
        let mut ports = Ports::default();
        let mut moved = Vec::new();
        let mut claim = |who: &str, wanted: u16| -> io::Result<u16> {
            let port = ports.claim(wanted)?;
            if port != wanted {
                moved.push(Moved {
                    who: who.to_owned(),
                    wanted,
                    port,
                });
            }
            Ok(port)
        };
        let http_port = claim("proxy", PROXY_HTTP_PORT)?;
        let mut zmq_ports = Vec::new();
        for wanted in PROXY_ZMQ_PORTS {
            zmq_ports.push(claim("registration", wanted)?);
        }
        let mut nodes = Vec::new();
        for (role, count) in [(Role::Decode, decode), (Role::Prefill, prefill)] {
            let (http, kv) = match role {
                Role::Decode => (DECODE_HTTP_PORT, DECODE_KV_PORT),
                Role::Prefill => (PREFILL_HTTP_PORT, PREFILL_KV_PORT),
            };
            for index in 0..count {
                let name = node_name(role, index);
                nodes.push(Sim {
                    role,
                    host: HOST,
                    http_port: claim(&name, http + index)?,
                    // The two roles' defaults are neighbours: every other port belongs to each.
                    kv_port: claim(&name, kv + 2 * index)?,
                    model: MODEL.to_owned(),
                    speed: SPEED,
                });
            }
        }
        let proxy = Proxy {
            host: HOST.into(),
            http_port,
            zmq_ports,
        };
        Ok(Self {
            proxy,
            nodes,
            moved,
            _ports: ports,
        })
    }

    /// The processes in the order of their start: the proxy, then decode, then prefill nodes, as the
    /// testbed starts them.
    pub(super) fn processes(&self) -> Vec<Process> {
        let zmq: Vec<String> = self.proxy.zmq_ports.iter().map(u16::to_string).collect();
        let mut processes = vec![Process {
            name: "proxy".to_owned(),
            program: Program::Proxy,
            args: self.proxy.args(),
            port: self.proxy.http_port,
            // Its health is that of the pair, which it can only have after the nodes are up.
            up_when: Wanted::Any,
            detail: format!("registration {}", zmq.join(", ")),
        }];
        for role in [Role::Decode, Role::Prefill] {
            let nodes = self.nodes.iter().filter(|node| node.role == role);
            processes.extend((0..).zip(nodes).map(|(index, node)| Process {
                name: node_name(role, index),
                program: Program::Sim,
                args: node.args(&self.proxy),
                port: node.http_port,
                up_when: Wanted::Ok,
                detail: format!("KV {}", node.kv_port),
            }));
        }
        processes
    }

    /// Where OpenAI clients are pointed at.
    pub(super) fn base_url(&self) -> String {
        format!("http://{}:{}/v1", self.proxy.host, self.proxy.http_port)
    }

    /// Where the demo sends its own requests.
    pub(super) fn chat_url(&self) -> String {
        format!("{}/chat/completions", self.base_url())
    }
}

fn node_name(role: Role, index: u16) -> String {
    format!("{}-{}", role.name(), index + 1)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn proxy_starts_before_decode_and_decode_before_prefill() {
        let plan = Plan::new(2, 3).unwrap();

        let names: Vec<String> = plan
            .processes()
            .into_iter()
            .map(|process| process.name)
            .collect();

        assert_eq!(
            names,
            [
                "proxy",
                "decode-1",
                "decode-2",
                "decode-3",
                "prefill-1",
                "prefill-2"
            ]
        );
    }

    #[test]
    fn every_port_of_a_large_plan_is_its_own() {
        let plan = Plan::new(16, 16).unwrap();

        let mut ports = HashSet::from([plan.proxy.http_port]);
        ports.extend(&plan.proxy.zmq_ports);
        ports.extend(
            plan.nodes
                .iter()
                .flat_map(|node| [node.http_port, node.kv_port]),
        );
        assert_eq!(ports.len(), 3 + 2 * 32);
    }

    #[test]
    fn second_plan_takes_other_ports_and_says_so() {
        let first = Plan::new(1, 1).unwrap();
        let second = Plan::new(1, 1).unwrap();

        assert_ne!(first.proxy.http_port, second.proxy.http_port);
        let port = second.proxy.http_port;
        let moved = Moved {
            who: "proxy".to_owned(),
            wanted: PROXY_HTTP_PORT,
            port,
        };
        assert!(second.moved.contains(&moved));
        assert!(
            second
                .chat_url()
                .contains(&format!(":{port}/v1/chat/completions"))
        );
    }
}
