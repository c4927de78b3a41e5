//! Where things stand: the top level, the workspace's crates, the fuzz targets.

use std::collections::BTreeSet;

use crate::source::{Source, has_word, numbered};

/// What stands at the top of the repository, beside dotfiles.
const TOP: &[&str] = &[
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "NOTICE.md",
    "README.md",
    "bench",
    "fuzz",
    "launcher",
    "proxy",
];

/// What does not belong at the top, given what is there, and what is missing.
pub(crate) fn check_top(names: &BTreeSet<String>) -> Vec<String> {
    let unknown = names
        .iter()
        .filter(|name| !name.starts_with('.') && !TOP.contains(&name.as_str()))
        .map(|name| format!("{name} does not belong at the top of the repository"));
    let missing = TOP
        .iter()
        .filter(|name| !names.contains(**name))
        .map(|name| format!("{name} is missing at the top of the repository"));
    unknown.chain(missing).collect()
}

/// The simulator must not know the proxy, or a misunderstanding could agree with itself: where it does.
pub(crate) fn check_independence(source: &Source) -> Vec<String> {
    let is_bench = source.path.starts_with("bench/");
    if !is_bench || source.path.starts_with("bench/benches/") {
        return Vec::new();
    }
    numbered(&source.code)
        .filter(|(_, code)| has_word(code, "pd_proxy"))
        .map(|(line, _)| format!("{}:{line}: bench must not know pd_proxy", source.path))
        .collect()
}

/// The names in the section `[section]` of a manifest.
pub(crate) fn names_in<'a>(manifest: &'a str, section: &str) -> Vec<&'a str> {
    let header = format!("[{section}]");
    manifest
        .lines()
        .skip_while(|line| line.trim() != header)
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split(['.', '=', ' ']).next())
        .filter(|name| !name.is_empty() && !name.starts_with('#'))
        .collect()
}

/// The fuzz targets that a manifest builds: the name and the path of each `[[bin]]`.
pub(crate) fn targets(manifest: &str) -> Vec<(String, String)> {
    let value = |block: &str, key: &str| {
        let line = block.lines().find_map(|line| line.strip_prefix(key))?;
        Some(
            line.trim_start_matches([' ', '='])
                .trim_matches('"')
                .to_owned(),
        )
    };
    manifest
        .split("[[bin]]")
        .skip(1)
        .map(|block| {
            let name = value(block, "name").unwrap_or_default();
            (name, value(block, "path").unwrap_or_default())
        })
        .collect()
}

/// Fuzz targets that are not built, or not there, or have no corpus; and corpora of no target.
pub(crate) fn check_targets(
    targets: &[(String, String)],
    files: &BTreeSet<String>,
    corpora: &BTreeSet<String>,
) -> Vec<String> {
    let mut findings = Vec::new();
    let mut names = BTreeSet::new();
    for (name, path) in targets {
        names.insert(name.clone());
        if *path != format!("fuzz_targets/{name}.rs") {
            findings.push(format!("fuzz target {name} is built from {path}"));
        }
        if !files.contains(name) {
            findings.push(format!("fuzz target {name} has no file"));
        }
        if !corpora.contains(name) {
            findings.push(format!("fuzz target {name} has no corpus"));
        }
    }
    for name in files.difference(&names) {
        findings.push(format!("fuzz_targets/{name}.rs has no [[bin]]"));
    }
    for name in corpora.difference(&names) {
        findings.push(format!("corpus/{name} belongs to no fuzz target"));
    }
    findings
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn stranger_and_absentee_at_the_top_are_found() {
    let mut names = set(TOP);
    names.insert(".gitignore".into());
    assert!(check_top(&names).is_empty());

    names.insert("notes.txt".into());
    names.remove("LICENSE");

    let findings = check_top(&names).join("\n");
    assert!(findings.contains("notes.txt does not belong"));
    assert!(findings.contains("LICENSE is missing"));
}

#[test]
fn simulator_that_knows_the_proxy_is_found() {
    let text = "use pd_proxy::http1;";

    assert_eq!(
        check_independence(&Source::parse("bench/src/sim/http.rs", text)).len(),
        1
    );
    assert!(check_independence(&Source::parse("bench/benches/head.rs", text)).is_empty());
    assert!(check_independence(&Source::parse("fuzz/fuzz_targets/a.rs", text)).is_empty());
}

#[test]
fn names_are_those_of_their_section() {
    let manifest = "[dependencies]\nhyper.workspace = true\n# c\nserde = \"1\"\n\n[dev-dependencies]\npd-proxy.workspace = true\n";

    assert_eq!(names_in(manifest, "dependencies"), ["hyper", "serde"]);
    assert_eq!(names_in(manifest, "dev-dependencies"), ["pd-proxy"]);
    assert!(names_in(manifest, "features").is_empty());
}

#[test]
fn fuzz_target_that_is_not_whole_is_found() {
    let manifest = concat!(
        "[[bin]]\nname = \"good\"\npath = \"fuzz_targets/good.rs\"\n",
        "[[bin]]\nname = \"gone\"\npath = \"fuzz_targets/other.rs\"\n",
    );

    let findings = check_targets(
        &targets(manifest),
        &set(&["good", "forgotten"]),
        &set(&["good", "stale"]),
    );

    assert_eq!(
        findings,
        [
            "fuzz target gone is built from fuzz_targets/other.rs",
            "fuzz target gone has no file",
            "fuzz target gone has no corpus",
            "fuzz_targets/forgotten.rs has no [[bin]]",
            "corpus/stale belongs to no fuzz target",
        ]
    );
}
