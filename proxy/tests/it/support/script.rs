//! What scripted nodes say, and a proxy in front of them.

use std::io::Write;
use std::net::TcpStream;
use std::sync::mpsc::{Receiver, Sender, channel};

use super::client::reset_on_close;
use super::eventually;
use super::node::{Node, Seen, events};
use super::proxy::Proxy;

/// Writes the answer to a request; false closes the connection.
pub(crate) type Script = Box<dyn FnMut(&Seen, &mut TcpStream) -> bool + Send>;

/// A request that streams five tokens.
pub(crate) const STREAM: &str = r#"{"prompt":"hi","max_tokens":5,"stream":true}"#;

/// Answers every request with `bytes`.
pub(crate) fn says(bytes: impl Into<Vec<u8>>) -> Script {
    let bytes = bytes.into();
    Box::new(move |_, stream| stream.write_all(&bytes).is_ok())
}

/// Answers with `bytes`, then closes.
pub(crate) fn says_and_closes(bytes: impl Into<Vec<u8>>) -> Script {
    let bytes = bytes.into();
    Box::new(move |_, stream| {
        stream.write_all(&bytes).ok();
        false
    })
}

/// Answers with `bytes`, then resets the connection.
pub(crate) fn says_and_resets(bytes: impl Into<Vec<u8>>) -> Script {
    let bytes = bytes.into();
    Box::new(move |_, stream| {
        stream.write_all(&bytes).ok();
        reset_on_close(stream);
        false
    })
}

/// Answers as a prefill that succeeded.
pub(crate) fn prefills() -> Script {
    says(events(&[r#"{"choices":[{"index":0,"text":"x"}]}"#]))
}

/// Answers one request with each, in this order.
pub(crate) fn in_turn(scripts: impl IntoIterator<Item = Script>) -> Script {
    let mut scripts: Vec<Script> = scripts.into_iter().collect();
    scripts.reverse();
    Box::new(move |seen, stream| {
        let mut script = scripts.pop().expect("a request too many");
        script(seen, stream)
    })
}

/// Answers a drain as a decode does, and anything else with `script`.
pub(crate) fn drained(mut script: Script) -> Script {
    let mut drain = prefills();
    Box::new(move |seen, stream| {
        if seen.json()["max_tokens"] == 1 {
            drain(seen, stream)
        } else {
            script(seen, stream)
        }
    })
}

/// Writes each of `parts` when the test says so, then does as `last` says.
pub(crate) fn on_cue(parts: Vec<Vec<u8>>, mut last: Script) -> (Sender<()>, Script) {
    let (cue, cues): (_, Receiver<()>) = channel();
    let script = move |seen: &Seen, stream: &mut TcpStream| {
        for part in &parts {
            if cues.recv().is_err() || stream.write_all(part).is_err() {
                return false;
            }
        }
        cues.recv().is_ok() && last(seen, stream)
    };
    (cue, Box::new(script))
}

/// A proxy and scripted nodes.
#[derive(Debug)]
pub(crate) struct Scripted {
    pub(crate) proxy: Proxy,
    pub(crate) prefill: Vec<Node>,
    pub(crate) decode: Vec<Node>,
}

impl Scripted {
    /// Nodes behind `proxy`, ready and registered in this order.
    pub(crate) fn behind(
        proxy: Proxy,
        prefill: impl IntoIterator<Item = Script>,
        decode: impl IntoIterator<Item = Script>,
    ) -> Self {
        let mut scripted = Self {
            proxy,
            prefill: Vec::new(),
            decode: Vec::new(),
        };
        for script in prefill {
            let node = Node::start(&scripted.proxy, "P", script);
            scripted.prefill.push(node);
            scripted.wait_until_ready();
        }
        for script in decode {
            let node = Node::start(&scripted.proxy, "D", script);
            scripted.decode.push(node);
            scripted.wait_until_ready();
        }
        scripted
    }

    /// Nodes behind a proxy of their own.
    pub(crate) fn of(
        prefill: impl IntoIterator<Item = Script>,
        decode: impl IntoIterator<Item = Script>,
    ) -> Self {
        Self::behind(Proxy::start(), prefill, decode)
    }

    /// One prefill node that succeeds, and one decode node that does as `script` says.
    pub(crate) fn decoding(script: Script) -> Self {
        Self::of([prefills()], [script])
    }

    fn wait_until_ready(&self) {
        let is_ready = |role, nodes: &[Node]| {
            let ready = format!("nodes{{role=\"{role}\",state=\"ready\"}}");
            self.proxy.metric(&ready) == nodes.len() as u64
        };
        eventually("the nodes are ready", || {
            is_ready("prefill", &self.prefill) && is_ready("decode", &self.decode)
        });
    }

    /// Requests at `node` now, as the proxy counts them.
    pub(crate) fn in_flight(&self, role: &str, node: &Node) -> u64 {
        let sample = format!("in_flight{{role=\"{role}\",node=\"{}\"}}", node.http);
        self.proxy.metric(&sample)
    }

    /// Ends the test: nothing is in flight, and no node got more than the test has looked at.
    #[track_caller]
    pub(crate) fn assert_idle(&self) {
        eventually("nothing is in flight", || {
            let is_idle = |role, nodes: &[Node]| {
                let mut nodes = nodes.iter();
                nodes.all(|node| self.in_flight(role, node) == 0)
            };
            is_idle("prefill", &self.prefill) && is_idle("decode", &self.decode)
        });
        self.prefill
            .iter()
            .chain(&self.decode)
            .for_each(Node::assert_idle);
    }
}
