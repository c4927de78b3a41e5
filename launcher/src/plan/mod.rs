//! Which nodes there are, on which GPUs and ports; pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::command::Role;
use crate::settings::{Base, Gpus, RoleSettings, Settings};

/// The port on which vLLM's own example has nodes register.
const EXAMPLE_ZMQ_PORT: u16 = 30001;
/// The GPUs of the testbed's pair; its machine keeps GPU 0 for something else.
const TESTBED_PREFILL_GPU: &str = "1";
const TESTBED_DECODE_GPU: &str = "2";
/// Shares are given with two digits; sums of them are not exact.
const SHARE_SLACK: f64 = 1e-6;

/// All processes of a stack.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Plan {
    pub(crate) proxy_http_port: u16,
    /// The one that nodes are told, then the one of vLLM's example unless it is the same.
    pub(crate) proxy_zmq_ports: Vec<u16>,
    /// Decode nodes, then prefill nodes: the order of their start.
    pub(crate) nodes: Vec<Node>,
}

/// One node.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) role: Role,
    /// Also the name of its log: the testbed's `consumer` or `producer`, numbered if there are more.
    pub(crate) name: String,
    pub(crate) http_port: u16,
    /// Of the first rank; the others follow.
    pub(crate) kv_port: u16,
    /// Empty where vLLM shall see what it sees.
    pub(crate) gpus: Vec<String>,
    pub(crate) tensor_parallel: u16,
}

/// Why there is no plan.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(crate) enum Error {
    #[error("{who} cannot have port {port}: {owner} has it")]
    Taken {
        who: String,
        port: u16,
        owner: String,
    },
    #[error("no ports are left for {0}")]
    NoPorts(String),
    #[error("--{role}-gpu names {given} GPUs, but {nodes} nodes of {each} need {}", nodes * each)]
    Gpus {
        role: &'static str,
        given: usize,
        nodes: usize,
        each: usize,
    },
    #[error(
        "--max-num-batched-tokens {given} is less than --max-model-len {needed}: a prefill node that \
         cuts a prompt into chunks dies"
    )]
    BatchedTokens { given: u32, needed: u32 },
    #[error("GPU {gpu} would be filled to {share:.2}: {names} share it")]
    Overfull {
        gpu: String,
        share: f64,
        names: String,
    },
}

impl Plan {
    /// Lays out everything.
    pub(crate) fn new(settings: &Settings) -> Result<Self, Error> {
        let mut ports = PortMap::default();
        ports.exactly("proxy", settings.proxy_http_port, 1)?;
        let mut proxy_zmq_ports = vec![settings.proxy_zmq_port];
        ports.exactly("registration", settings.proxy_zmq_port, 1)?;
        let mut nodes = nodes(settings)?;
        ports.place(settings, &mut nodes)?;
        // A service to those who come from elsewhere: it gives way to everything that was asked for.
        if ports.exactly("registration", EXAMPLE_ZMQ_PORT, 1).is_ok() {
            proxy_zmq_ports.push(EXAMPLE_ZMQ_PORT);
        }
        check_shares(settings, &nodes)?;
        check_batched_tokens(settings)?;
        Ok(Self {
            proxy_http_port: settings.proxy_http_port,
            proxy_zmq_ports,
            nodes,
        })
    }

    /// Every port that something will listen on, in the order of the starts.
    pub(crate) fn ports(&self) -> Vec<u16> {
        let mut ports = vec![self.proxy_http_port];
        ports.extend(&self.proxy_zmq_ports);
        for node in &self.nodes {
            let last = node.kv_port.saturating_add(node.tensor_parallel - 1);
            ports.push(node.http_port);
            ports.extend(node.kv_port..=last);
        }
        ports
    }

    /// The plan as a table.
    pub(crate) fn table(&self) -> Vec<String> {
        let head = ["NODE", "ROLE", "GPU", "HTTP", "KV OR REGISTRATION"].map(str::to_owned);
        let zmq: Vec<String> = self.proxy_zmq_ports.iter().map(u16::to_string).collect();
        let proxy = [
            "proxy".to_owned(),
            "proxy".to_owned(),
            "-".to_owned(),
            self.proxy_http_port.to_string(),
            zmq.join(", "),
        ];
        let nodes = self.nodes.iter().map(Node::row);
        let rows: Vec<[String; 5]> = [head, proxy].into_iter().chain(nodes).collect();
        let mut widths = [0; 5];
        for row in &rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.len().max(*width);
            }
        }
        let line = |row: &[String; 5]| {
            let cells = row.iter().zip(widths);
            let cells: Vec<String> = cells
                .map(|(cell, width)| format!("{cell:width$}"))
                .collect();
            cells.join("  ").trim_end().to_owned()
        };
        rows.iter().map(line).collect()
    }
}

impl Node {
    fn row(&self) -> [String; 5] {
        let kv = match self.tensor_parallel {
            1 => self.kv_port.to_string(),
            ranks => format!(
                "{}-{}",
                self.kv_port,
                self.kv_port.saturating_add(ranks - 1)
            ),
        };
        let gpus = if self.gpus.is_empty() {
            "-".to_owned()
        } else {
            self.gpus.join(",")
        };
        let role = self.role.name().to_owned();
        [
            self.name.clone(),
            role,
            gpus,
            self.http_port.to_string(),
            kv,
        ]
    }
}

/// All nodes with names and GPUs, still without ports.
fn nodes(settings: &Settings) -> Result<Vec<Node>, Error> {
    let (prefill_gpus, decode_gpus) = gpus(settings)?;
    let mut nodes = Vec::new();
    for (role, gpus) in [(Role::Decode, decode_gpus), (Role::Prefill, prefill_gpus)] {
        let of_role = settings.role(role);
        let mut gpus = gpus.chunks(usize::from(of_role.tensor_parallel));
        for number in 1..=of_role.count {
            let name = match of_role.count {
                1 => role.testbed_name().to_owned(),
                _ => format!("{}-{number}", role.testbed_name()),
            };
            nodes.push(Node {
                role,
                name,
                http_port: 0,
                kv_port: 0,
                gpus: gpus.next().unwrap_or_default().to_vec(),
                tensor_parallel: of_role.tensor_parallel,
            });
        }
    }
    Ok(nodes)
}

/// The GPUs of the prefill and of the decode nodes, those of one node after those of the other.
fn gpus(settings: &Settings) -> Result<(Vec<String>, Vec<String>), Error> {
    let (prefill, decode) = (&settings.prefill, &settings.decode);
    let single = |role: &RoleSettings| needed(role) == 1;
    let named = |role: &RoleSettings| match &role.gpus {
        Gpus::These(gpus) => gpus.clone(),
        Gpus::Any | Gpus::Unsaid => Vec::new(),
    };
    let testbed = single(prefill) && single(decode);
    let mut used: BTreeSet<String> = named(prefill).into_iter().chain(named(decode)).collect();
    let mut choose = |role: &RoleSettings, name: &'static str, testbed_gpu: &str| match &role.gpus {
        Gpus::Unsaid => Ok(Vec::new()),
        Gpus::These(gpus) if gpus.len() == needed(role) => Ok(gpus.clone()),
        Gpus::These(gpus) => Err(Error::Gpus {
            role: name,
            given: gpus.len(),
            nodes: usize::from(role.count),
            each: usize::from(role.tensor_parallel),
        }),
        // The testbed's own defaults, whatever the other role was given.
        Gpus::Any if testbed => Ok(vec![testbed_gpu.to_owned()]),
        Gpus::Any => {
            let free = (0_u32..).map(|index| index.to_string());
            let free = free.filter(|gpu| !used.contains(gpu));
            let chosen: Vec<String> = free.take(needed(role)).collect();
            used.extend(chosen.iter().cloned());
            Ok(chosen)
        }
    };
    let prefill = choose(prefill, Role::Prefill.name(), TESTBED_PREFILL_GPU)?;
    let decode = choose(decode, Role::Decode.name(), TESTBED_DECODE_GPU)?;
    Ok((prefill, decode))
}

fn needed(role: &RoleSettings) -> usize {
    usize::from(role.count) * usize::from(role.tensor_parallel)
}

/// Nodes may share a GPU, as on a small machine, if its memory is enough for what they take.
fn check_shares(settings: &Settings, nodes: &[Node]) -> Result<(), Error> {
    let mut users: BTreeMap<&str, Vec<&Node>> = BTreeMap::new();
    for node in nodes {
        for gpu in &node.gpus {
            users.entry(gpu).or_default().push(node);
        }
    }
    for (gpu, users) in users {
        let shares = users
            .iter()
            .map(|node| settings.role(node.role).gpu_memory_utilization);
        let share: f64 = shares.sum();
        if users.len() > 1 && share > 1.0 + SHARE_SLACK {
            let names: Vec<&str> = users.iter().map(|node| node.name.as_str()).collect();
            return Err(Error::Overfull {
                gpu: gpu.to_owned(),
                share,
                names: names.join(", "),
            });
        }
    }
    Ok(())
}

/// Arguments of the user's own win over ours, but not over what keeps a prefill node alive.
fn check_batched_tokens(settings: &Settings) -> Result<(), Error> {
    const FLAG: &str = "--max-num-batched-tokens";
    let words = &settings.prefill.args;
    let following = words.iter().skip(1).map(Some).chain([None]);
    for (word, next) in words.iter().zip(following) {
        let value = match word.split_once('=') {
            Some((FLAG, value)) => Some(value),
            _ if word == FLAG => next.map(String::as_str),
            _ => None,
        };
        // What is no number is vLLM's to refuse.
        if let Some(Ok(given)) = value.map(str::parse)
            && given < settings.max_model_len
        {
            let needed = settings.max_model_len;
            return Err(Error::BatchedTokens { given, needed });
        }
    }
    Ok(())
}

/// Who has which port.
#[derive(Debug, Default)]
struct PortMap {
    owners: BTreeMap<u16, String>,
}

impl PortMap {
    /// Gives every node its ports: first what someone asked for, then the first node of each role
    /// its role's default, then the others what is free behind it.
    fn place(&mut self, settings: &Settings, nodes: &mut [Node]) -> Result<(), Error> {
        let is_first = |nodes: &[Node], index: usize| {
            let role = nodes.get(index).map(|node| node.role);
            nodes.iter().position(|node| Some(node.role) == role) == Some(index)
        };
        let firsts: Vec<bool> = (0..nodes.len())
            .map(|index| is_first(nodes, index))
            .collect();
        for (first, explicit) in [(true, true), (true, false), (false, true), (false, false)] {
            for (node, is_first) in nodes.iter_mut().zip(&firsts) {
                if *is_first != first {
                    continue;
                }
                let role = settings.role(node.role);
                if role.http_port.explicit == explicit {
                    node.http_port = self.give(&node.name, role.http_port, first, 1)?;
                }
                if role.kv_port.explicit == explicit {
                    let ranks = node.tensor_parallel;
                    node.kv_port = self.give(&node.name, role.kv_port, first, ranks)?;
                }
            }
        }
        Ok(())
    }

    fn give(&mut self, who: &str, base: Base, first: bool, width: u16) -> Result<u16, Error> {
        if first && base.explicit {
            self.exactly(who, base.port, width)?;
            return Ok(base.port);
        }
        let mut port = base.port;
        loop {
            match self.exactly(who, port, width) {
                Ok(()) => return Ok(port),
                Err(Error::Taken { port: taken, .. }) => {
                    let next = taken.checked_add(1);
                    port = next.ok_or_else(|| Error::NoPorts(who.to_owned()))?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Gives these ports and no others.
    fn exactly(&mut self, who: &str, port: u16, width: u16) -> Result<(), Error> {
        let last = port.checked_add(width.saturating_sub(1));
        let last = last.ok_or_else(|| Error::NoPorts(who.to_owned()))?;
        if let Some((taken, owner)) = self.owners.range(port..=last).next_back() {
            return Err(Error::Taken {
                who: who.to_owned(),
                port: *taken,
                owner: owner.clone(),
            });
        }
        self.owners
            .extend((port..=last).map(|port| (port, who.to_owned())));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
