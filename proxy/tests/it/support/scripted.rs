//! A proxy between two scripted nodes.

use std::io::Write;
use std::net::TcpStream;

use super::client::post;
use super::eventually;
use super::node::{Node, Seen, json};
use super::proxy::Proxy;

/// A proxy and one scripted node of each role.
#[derive(Debug)]
pub(crate) struct Scripted {
    pub(crate) proxy: Proxy,
    pub(crate) prefill: Node,
    pub(crate) decode: Node,
}

impl Scripted {
    /// Nodes that answer every request with its own body.
    pub(crate) fn echo() -> Self {
        Self::behind(Proxy::start(), echo)
    }

    /// A prefill node that always succeeds, and a decode node that does what `decode` says.
    pub(crate) fn behind(
        proxy: Proxy,
        decode: impl FnMut(&Seen, &mut TcpStream) -> bool + Send + 'static,
    ) -> Self {
        let prefill = Node::start(&proxy, "P", |_, stream| {
            stream.write_all(&json(200, "{}")).is_ok()
        });
        let decode = Node::start(&proxy, "D", decode);
        for role in ["prefill", "decode"] {
            wait_for_nodes(&proxy, role, 1);
        }
        Self {
            proxy,
            prefill,
            decode,
        }
    }

    /// Asserts that no request reached a node that this test has not looked at, by sending one more:
    /// what had been sent before it would have arrived before it.
    #[track_caller]
    pub(crate) fn assert_untouched(&self) {
        let body = r#"{"prompt":"the last"}"#;
        let response = self.proxy.post("/v1/completions", body);
        assert_eq!(response.status, 200);
        for node in [&self.prefill, &self.decode] {
            assert!(
                String::from_utf8(node.next().body)
                    .unwrap()
                    .contains("the last")
            );
            node.assert_idle();
        }
    }
}

/// Answers with the request's own body.
pub(crate) fn echo(seen: &Seen, stream: &mut TcpStream) -> bool {
    let body = String::from_utf8(seen.body.clone()).unwrap();
    stream.write_all(&json(200, &body)).is_ok()
}

/// Waits until so many nodes of `role` are ready.
pub(crate) fn wait_for_nodes(proxy: &Proxy, role: &str, count: u64) {
    let ready = format!("nodes{{role=\"{role}\",state=\"ready\"}}");
    eventually("the nodes are ready", || proxy.metric(&ready) == count);
}

/// A completion of `prompt`.
pub(crate) fn completion(prompt: &str) -> Vec<u8> {
    post("/v1/completions", &prompt_body(prompt))
}

/// The body of a completion of `prompt`.
pub(crate) fn prompt_body(prompt: &str) -> String {
    format!(r#"{{"prompt":"{prompt}","max_tokens":5}}"#)
}
