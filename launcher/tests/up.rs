//! `up` and `config show` from outside.

#![cfg(test)]

use std::fs;
use std::process::{Command, Output};

use tempfile::TempDir;

/// A launcher in an empty directory, without any variable of the tester's.
fn launcher(directory: &TempDir, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pd-launcher"));
    command
        .args(args)
        .current_dir(directory.path())
        .env_clear()
        .env("HOME", "/home/me")
        .env("SRV_IP", "10.0.0.1");
    command
}

fn output(directory: &TempDir, args: &[&str]) -> Output {
    launcher(directory, args).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn complained(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn dry_run_prints_every_command_and_starts_nothing() {
    let directory = tempfile::tempdir().unwrap();
    // There is no vllm: the PATH is empty.
    let output = output(
        &directory,
        &["up", "2P1D", "--dry-run", "--", "--seed", "7"],
    );

    assert_eq!(output.status.code(), Some(0), "{}", complained(&output));
    let said = said(&output);
    assert_eq!(
        said.matches("vllm serve Qwen/Qwen2.5-7B-Instruct").count(),
        3,
        "{said}"
    );
    assert_eq!(said.matches("\n  --seed 7").count(), 3, "{said}");
    assert!(
        said.contains("# consumer    decode   2    8200   14579\n"),
        "{said}"
    );
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn dry_run_is_a_script_that_a_shell_accepts() {
    let directory = tempfile::tempdir().unwrap();
    let script = said(&output(&directory, &["up", "--dry-run", "--simulate"]));

    let checked = Command::new("sh")
        .args(["-n", "-c", &script])
        .status()
        .unwrap();

    assert!(checked.success(), "{script}");
    assert!(script.contains("pd-sim \\\n  --role decode"), "{script}");
}

#[test]
fn refused_version_is_named_with_the_reason() {
    let directory = tempfile::tempdir().unwrap();
    let output = output(&directory, &["up", "--dry-run", "--vllm-version", "0.33.0"]);

    assert_eq!(output.status.code(), Some(1));
    let complained = complained(&output);
    assert!(
        complained.contains("vLLM 0.33.0 cannot run"),
        "{complained}"
    );
    assert!(complained.contains("was removed"), "{complained}");
}

#[test]
fn file_of_the_working_directory_is_read_and_another_can_be_named() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(
        directory.path().join("pd-launcher.toml"),
        "model = \"here\"\nprefill = 2",
    )
    .unwrap();
    fs::write(directory.path().join("other.toml"), "model = \"there\"").unwrap();

    let here = said(&output(&directory, &["config", "show", "--origin"]));
    let there = said(&output(
        &directory,
        &["config", "show", "--config", "other.toml"],
    ));

    let line = |name: &str| {
        let found = here.lines().find(|line| line.starts_with(name)).unwrap();
        found.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(line("model"), "model = \"here\" # file pd-launcher.toml");
    assert_eq!(line("srv-ip"), "srv-ip = \"10.0.0.1\" # environment SRV_IP");
    assert_eq!(line("decode ="), "decode = 1 # default");
    assert!(there.starts_with("model = \"there\"\n"), "{there}");
}

#[test]
fn wrong_settings_exit_64_and_say_where() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("bad.toml"), "prefil = 2").unwrap();

    for (args, why) in [
        (
            &["up", "--dry-run", "--config", "bad.toml"][..],
            "did you mean `prefill`?",
        ),
        (&["up", "--dry-run", "--config", "none.toml"], "none.toml"),
        (&["up", "--dry-run", "--prefill=0"], "must be 1 to 64"),
        (&["up", "--dry-run", "0P1D"], "must look like 1P1D"),
        (
            &["up", "--dry-run", "1P1D", "--decode=2"],
            "cannot be used with",
        ),
        (&["up", "--dry-run", "--modle=x"], "--model"),
        (
            &["up", "--dry-run", "--prefill-gpu=0", "--decode-gpu=0"],
            "GPU 0 would be filled",
        ),
        (&["config", "show", "--kv-connector=nixl"], "p2p-nccl"),
    ] {
        let output = output(&directory, args);

        assert_eq!(output.status.code(), Some(64), "{args:?}");
        assert!(
            complained(&output).contains(why),
            "{args:?}: {}",
            complained(&output)
        );
    }
}

#[test]
fn key_of_the_user_is_never_printed() {
    let directory = tempfile::tempdir().unwrap();
    for args in [&["up", "--dry-run"][..], &["config", "show"]] {
        let output = launcher(&directory, args)
            .env("OPENAI_API_KEY", "sk-mine")
            .output()
            .unwrap();

        assert_eq!(output.status.code(), Some(0));
        assert!(!said(&output).contains("sk-mine"), "{}", said(&output));
    }
}
