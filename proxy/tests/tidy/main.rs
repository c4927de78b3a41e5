//! House rules that no lint can hold, read off the source: who imports whom, where nothing waits, where
//! `unsafe` stands, what is left over, what stands where, what the manual is silent about.
//!
//! Each rule is a function from text to findings, and has a test of its own that it can fail.
#![cfg(test)]

mod layout;
mod leftovers;
mod manual;
mod rooms;
mod source;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use source::Source;

fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    root.expect("the proxy stands in a workspace").to_owned()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn workspace() -> Vec<Source> {
    ["bench", "fuzz", "launcher", "proxy"]
        .into_iter()
        .flat_map(|directory| source::read_all(&root(), directory))
        .collect()
}

/// The names in a directory; extensions are cut off.
fn stems(path: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    entries
        .map(|entry| {
            let path = entry.expect("a readable entry").path();
            let stem = path.file_stem().expect("a name");
            stem.to_str().expect("a name in UTF-8").to_owned()
        })
        .collect()
}

#[track_caller]
fn assert_none(findings: impl IntoIterator<Item = String>) {
    let findings: Vec<String> = findings.into_iter().collect();
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

#[test]
fn rooms_import_only_what_stands_below_them() {
    let sources = workspace();
    let imports = sources.iter().flat_map(rooms::check_imports);
    assert_none(rooms::check_table(&sources).into_iter().chain(imports));
}

#[test]
fn dry_rooms_neither_wait_nor_send() {
    let sources = workspace();
    let wet = sources.iter().flat_map(leftovers::check_dry);
    assert_none(leftovers::check_dry_places(&sources).into_iter().chain(wet));
}

#[test]
fn files_are_short() {
    assert_none(workspace().iter().filter_map(leftovers::check_length));
}

#[test]
fn unsafe_stands_in_one_file() {
    assert_none(workspace().iter().flat_map(leftovers::check_unsafe));
}

#[test]
fn nothing_is_left_over() {
    assert_none(workspace().iter().flat_map(leftovers::check_leftovers));
}

#[test]
fn top_level_holds_what_it_should() {
    assert_none(layout::check_top(&top()));
}

/// What stands at the top: what git knows of, or without git what is there and not ignored.
fn top() -> BTreeSet<String> {
    let first = |path: &str| path.split('/').next().unwrap_or(path).to_owned();
    let git = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output();
    let known: BTreeSet<String> = match &git {
        Ok(output) => {
            let listed = String::from_utf8_lossy(&output.stdout);
            listed.lines().map(first).collect()
        }
        Err(_) => BTreeSet::new(),
    };
    if !known.is_empty() {
        return known;
    }
    let ignored = ["target", "logs", "results"];
    let entries = fs::read_dir(root()).expect("a readable repository");
    entries
        .map(|entry| entry.expect("a readable entry").file_name())
        .map(|name| name.to_string_lossy().into_owned())
        .filter(|name| !ignored.contains(&name.as_str()))
        .collect()
}

#[test]
fn simulator_knows_nothing_of_the_proxy() {
    let sources = workspace();
    let uses = sources.iter().flat_map(layout::check_independence);
    let manifest = read("bench/Cargo.toml");
    let depends = layout::names_in(&manifest, "dependencies").contains(&"pd-proxy");
    let depends = depends.then(|| "bench depends on pd-proxy".to_owned());
    assert_none(uses.chain(depends));
}

#[test]
fn proxy_does_not_carry_the_simulator() {
    let manifest = read("proxy/Cargo.toml");
    assert!(!layout::names_in(&manifest, "dependencies").contains(&"pd-bench"));
}

#[test]
fn every_fuzz_target_is_built_and_has_a_corpus() {
    let targets = layout::targets(&read("fuzz/Cargo.toml"));
    assert!(!targets.is_empty());
    assert_none(layout::check_targets(
        &targets,
        &stems("fuzz/fuzz_targets"),
        &stems("fuzz/corpus"),
    ));
}

#[test]
fn manual_tells_of_every_flag_label_and_bound() {
    let flags = manual::flags(&read("proxy/src/args/mod.rs"));
    let labels = manual::labels(&read("proxy/src/telemetry/counters.rs"));
    let bounds = manual::bounds(&read("proxy/src/limits.rs"));
    assert!(flags.len() > 5 && labels.len() > 20 && bounds.len() > 20);
    let operations = read("proxy/docs/operations.md");
    let words = [flags.as_slice(), labels.as_slice()].concat();
    let findings = manual::check_page("operations.md", &operations, &words);
    let readme = manual::check_page("README.md", &read("README.md"), &flags);
    let limits = manual::check_page("limits.md", &read("proxy/docs/limits.md"), &bounds);
    assert_none(findings.into_iter().chain(readme).chain(limits));
}
