//! Who may import whom.

use std::collections::BTreeSet;

use crate::source::{Source, has_word};

/// The rooms from the ground up, each with the rooms it may import: none that stands above it.
const ROOMS: &[(&str, &[&str])] = &[
    ("limits", &[]),
    ("secret", &[]),
    ("io", &["limits"]),
    ("http1", &["limits"]),
    ("openai", &["limits"]),
    ("nodes", &["limits"]),
    ("kv_transfer", &["nodes"]),
    ("balance", &["limits", "nodes"]),
    ("telemetry", &["nodes"]),
    ("registry", &["limits", "nodes"]),
    ("upstream", &["http1", "io", "limits", "nodes", "telemetry"]),
    (
        "error",
        &["http1", "nodes", "openai", "telemetry", "upstream"],
    ),
    (
        "relay",
        &[
            "balance",
            "error",
            "http1",
            "io",
            "kv_transfer",
            "limits",
            "nodes",
            "openai",
            // Its counters alone, for a scrape.
            "registry",
            "secret",
            "telemetry",
            "upstream",
        ],
    ),
    ("shard", &["io", "limits", "relay", "telemetry"]),
    // Names of drivers and networks, as they are typed.
    ("args", &["io", "limits", "registry", "secret"]),
    (
        "config",
        &["args", "io", "limits", "registry", "relay", "secret"],
    ),
    (
        "control",
        &[
            "args",
            "config",
            "io",
            "limits",
            "nodes",
            "registry",
            "relay",
            "shard",
            "telemetry",
        ],
    ),
];

/// The crates that not every room may know, each with the rooms that may.
const FENCES: &[(&str, &[&str])] = &[
    ("monoio", &["io"]),
    ("io_uring", &["io"]),
    ("zmq", &["registry"]),
    ("rmp", &["registry"]),
    ("httparse", &["http1", "registry"]),
    ("simd_json", &["openai", "relay"]),
    ("httpdate", &["relay"]),
    ("arc_swap", &["control", "registry", "relay"]),
    ("clap", &["args", "control", "io"]),
    ("core_affinity", &["control", "shard"]),
    ("signal_hook", &["control"]),
    ("tracing_subscriber", &["control"]),
    ("mimalloc", &["main"]),
];

/// What a file of `proxy/src` imports that its room may not.
pub(crate) fn check_imports(source: &Source) -> Vec<String> {
    let Some(inner) = source.path.strip_prefix("proxy/src/") else {
        return Vec::new();
    };
    let mut modules: Vec<&str> = inner.trim_end_matches(".rs").split('/').collect();
    modules.retain(|module| *module != "mod");
    let room = modules.first().copied().unwrap_or_default();
    let mut findings = check_fences(source, room);
    // The map and the program stand above all rooms.
    if ["lib", "main"].contains(&room) {
        return findings;
    }
    let Some((_, allowed)) = ROOMS.iter().find(|(name, _)| *name == room) else {
        findings.push(format!(
            "{}: {room} is a room that the table does not know",
            source.path
        ));
        return findings;
    };
    for (line, code) in source.product() {
        let place = format!("{}:{line}", source.path);
        for other in rooms_named(code) {
            if other.is_empty() {
                findings.push(format!("{place}: one `use` names one room"));
            } else if other != room && !allowed.contains(&other) {
                findings.push(format!("{place}: {room} must not import {other}"));
            }
        }
        if longest_super_chain(code) >= modules.len() {
            findings.push(format!("{place}: another room is named by crate::"));
        }
    }
    findings
}

/// What is wrong with the table itself, given the rooms there are.
pub(crate) fn check_table(sources: &[Source]) -> Vec<String> {
    let mut findings = Vec::new();
    let mut below = BTreeSet::new();
    for (room, allowed) in ROOMS {
        for other in *allowed {
            if !below.contains(other) {
                findings.push(format!("{room} may import {other}, which is not below it"));
            }
        }
        below.insert(room);
        let is_there = |source: &Source| {
            source.path == format!("proxy/src/{room}.rs")
                || source.path.starts_with(&format!("proxy/src/{room}/"))
        };
        if !sources.iter().any(is_there) {
            findings.push(format!("there is no room {room}"));
        }
    }
    findings
}

/// The rooms that a line of code names by `crate::`; an empty name for anything else behind it.
fn rooms_named(code: &str) -> Vec<&str> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    code.split("crate::")
        .skip(1)
        .map(|rest| rest.split(|c| !is_word(c)).next().unwrap_or_default())
        .collect()
}

/// How many `super::` stand in a row at most.
fn longest_super_chain(code: &str) -> usize {
    let count = |at: usize| {
        let mut rest = code.get(at..).unwrap_or_default();
        let mut count = 0;
        while let Some(after) = rest.strip_prefix("super::") {
            (rest, count) = (after, count + 1);
        }
        count
    };
    code.match_indices("super::")
        .map(|(at, _)| count(at))
        .max()
        .unwrap_or(0)
}

fn check_fences(source: &Source, room: &str) -> Vec<String> {
    let mut findings = Vec::new();
    for (line, code) in source.product() {
        for (name, rooms) in FENCES {
            let path = format!("{name}::");
            if code.contains(&path) && has_word(code, name) && !rooms.contains(&room) {
                findings.push(format!(
                    "{}:{line}: {room} must not know {name}",
                    source.path
                ));
            }
        }
    }
    findings
}

fn imports(path: &str, text: &str) -> String {
    check_imports(&Source::parse(path, text)).join("\n")
}

#[test]
fn upward_import_is_found() {
    let text = "use crate::limits;\nuse crate::relay::Context;\n";

    assert_eq!(
        imports("proxy/src/http1/host.rs", text),
        "proxy/src/http1/host.rs:2: http1 must not import relay"
    );
    assert_eq!(imports("proxy/src/shard/accept.rs", text), "");
}

#[test]
fn import_inside_of_an_expression_is_found() {
    assert!(imports("proxy/src/nodes/node.rs", "fn a() { crate::io::now() }").contains("nodes"));
}

#[test]
fn import_of_tests_and_of_documentation_is_no_import() {
    let text =
        "//! See [`relay`](crate::relay).\n#[cfg(test)]\nmod tests {\n    use crate::relay;\n}\n";

    assert_eq!(imports("proxy/src/http1/host.rs", text), "");
}

#[test]
fn room_that_is_not_listed_is_found() {
    assert!(imports("proxy/src/attic.rs", "").contains("attic is a room"));
    assert!(imports("proxy/src/attic/mod.rs", "").contains("attic is a room"));
}

#[test]
fn import_of_several_rooms_at_once_is_found() {
    assert!(imports("proxy/src/relay/leg.rs", "use crate::{io, nodes};").contains("one room"));
}

#[test]
fn way_out_of_a_room_by_super_is_found() {
    assert!(imports("proxy/src/io/mod.rs", "use super::relay;").contains("by crate::"));
    assert!(imports("proxy/src/io/timer.rs", "use super::super::relay;").contains("by crate::"));
    assert_eq!(imports("proxy/src/io/timer.rs", "use super::clock;"), "");
}

#[test]
fn foreign_crate_beyond_its_fence_is_found() {
    let text = "use zmq::Socket;";

    assert!(imports("proxy/src/relay/leg.rs", text).contains("must not know zmq"));
    assert!(imports("proxy/src/lib.rs", text).contains("must not know zmq"));
    assert_eq!(imports("proxy/src/registry/socket.rs", text), "");
}

#[test]
fn table_without_its_rooms_is_found() {
    let findings = check_table(&[Source::parse("proxy/src/io/mod.rs", "")]);

    assert!(findings.contains(&"there is no room relay".to_owned()));
    assert!(!findings.iter().any(|finding| finding.contains("below")));
}
