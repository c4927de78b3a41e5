//! What must not stand in the source.

use crate::source::{Source, has_word, numbered};

/// Lines of a file, and of a file of tests.
const LINES_MAX: usize = 500;
const TEST_LINES_MAX: usize = 900;

/// The one file where `unsafe` is opened.
const UNSAFE: &str = "proxy/src/io/stream.rs";

/// Where nothing waits and nothing is sent: files, and rooms with a slash behind them.
const DRY: &[&str] = &[
    "args/",
    "balance/",
    "config/",
    "error.rs",
    "http1/",
    "kv_transfer/",
    "limits.rs",
    "nodes/",
    "openai/",
    "registry/frame/",
    "registry/table/",
    "relay/body.rs",
    "relay/ledger.rs",
    "relay/route.rs",
    "telemetry/",
];

/// The words that a dry room does not know.
const WET: &[&str] = &[
    "async",
    "await",
    "spawn",
    "sleep",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
];

/// Files that have grown too long.
pub(crate) fn check_length(source: &Source) -> Option<String> {
    let limit = if source.is_test() {
        TEST_LINES_MAX
    } else {
        LINES_MAX
    };
    let lines = source.line_count();
    (lines > limit).then(|| format!("{}: {lines} lines are more than {limit}", source.path))
}

/// `unsafe` outside of its fence.
pub(crate) fn check_unsafe(source: &Source) -> Vec<String> {
    if source.path == UNSAFE {
        return Vec::new();
    }
    numbered(&source.code)
        .filter(|(_, code)| has_word(code, "unsafe"))
        .map(|(line, _)| format!("{}:{line}: unsafe stands in {UNSAFE} alone", source.path))
        .collect()
}

/// Waiting and sending in a dry room.
pub(crate) fn check_dry(source: &Source) -> Vec<String> {
    let Some(inner) = source.path.strip_prefix("proxy/src/") else {
        return Vec::new();
    };
    if !DRY.iter().any(|place| inner.starts_with(place)) {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for (line, code) in source.product() {
        for word in WET.iter().filter(|word| has_word(code, word)) {
            findings.push(format!("{}:{line}: {word} in a dry room", source.path));
        }
    }
    findings
}

/// Dry places that are not there any more.
pub(crate) fn check_dry_places(sources: &[Source]) -> Vec<String> {
    let is_there = |place: &str| {
        let path = format!("proxy/src/{place}");
        sources.iter().any(|source| source.path.starts_with(&path))
    };
    DRY.iter()
        .filter(|place| !is_there(place))
        .map(|place| format!("there is no dry place {place}"))
        .collect()
}

/// Things meant to be gone before anybody else reads them.
pub(crate) fn check_leftovers(source: &Source) -> Vec<String> {
    let mut findings = Vec::new();
    for (line, code) in numbered(&source.code) {
        let place = format!("{}:{line}", source.path);
        for name in ["todo!", "unimplemented!", "dbg!"] {
            if code.contains(name) {
                findings.push(format!("{place}: {name} is left over"));
            }
        }
        if code.contains("#[ignore]") {
            findings.push(format!("{place}: a test is ignored without a reason"));
        }
    }
    for (line, comment) in numbered(&source.comments) {
        let place = format!("{}:{line}", source.path);
        for word in ["TODO", "FIXME", "XXX", "HACK"] {
            if has_word(comment, word) {
                findings.push(format!("{place}: {word} is left over"));
            }
        }
        if is_commented_out(comment) {
            findings.push(format!("{place}: code is commented out"));
        }
    }
    findings
}

/// Whether a comment of one line, no documentation, looks like code: it ends as a statement or a block.
fn is_commented_out(comment: &str) -> bool {
    let Some(text) = comment.trim().strip_prefix("//") else {
        return false;
    };
    let is_doc = text.starts_with('/') || text.starts_with('!');
    !is_doc && (text.ends_with(';') || text.ends_with('{') || text.trim() == "}")
}

#[test]
fn file_that_is_too_long_is_found() {
    let text = "//\n".repeat(LINES_MAX + 1);

    assert!(check_length(&Source::parse("proxy/src/a.rs", &text)).is_some());
    assert!(check_length(&Source::parse("proxy/src/a/tests.rs", &text)).is_none());
    let text = "//\n".repeat(TEST_LINES_MAX + 1);
    assert!(check_length(&Source::parse("proxy/src/a/tests.rs", &text)).is_some());
}

#[test]
fn unsafe_outside_of_its_fence_is_found() {
    let text = "#![expect(unsafe_code)]\nfn a() { unsafe { b() } }\n";

    let findings = check_unsafe(&Source::parse("proxy/src/io/timer.rs", text));

    assert_eq!(findings.len(), 1, "{findings:?}");
    assert!(findings[0].starts_with("proxy/src/io/timer.rs:2:"));
    assert!(check_unsafe(&Source::parse(UNSAFE, text)).is_empty());
}

#[test]
fn waiting_in_a_dry_room_is_found() {
    let text = "async fn a() {\n    b.await\n}\n";

    for path in ["proxy/src/http1/a.rs", "proxy/src/relay/ledger.rs"] {
        assert_eq!(check_dry(&Source::parse(path, text)).len(), 2);
    }
    assert!(check_dry(&Source::parse("proxy/src/relay/leg.rs", text)).is_empty());
}

#[test]
fn dry_place_that_is_gone_is_found() {
    let findings = check_dry_places(&[Source::parse("proxy/src/http1/mod.rs", "")]);

    assert!(!findings.contains(&"there is no dry place http1/".to_owned()));
    assert!(findings.contains(&"there is no dry place openai/".to_owned()));
}

#[test]
fn leftover_is_found() {
    let leftovers = [
        "fn a() { todo!() }",
        "dbg!(1);",
        "unimplemented!(\"later\")",
        "#[ignore]",
        "// TODO: later",
        "/// FIXME",
        "/* XXX */",
        "// let a = 1;",
        "// if a {",
        "    // }",
    ];
    for text in leftovers {
        let findings = check_leftovers(&Source::parse("a.rs", text));
        assert_eq!(findings.len(), 1, "{text}: {findings:?}");
    }
}

#[test]
fn ignored_test_with_its_reason_is_no_leftover() {
    let text =
        "#[ignore = \"needs a GPU\"]\n/// ```\n/// let a = 1;\n/// ```\n// A reason; and more.\n";

    assert!(check_leftovers(&Source::parse("a.rs", text)).is_empty());
}
