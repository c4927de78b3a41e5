//! `sweep`, `collect` and `plot`, from requests to pictures.

use std::fs;
use std::path::Path;
use std::process::Output;

use tempfile::TempDir;

use crate::command::{pd_bench, stdout, well};
use crate::scripted::{Answer, Server, json};

/// The log of one run, as the testbed's benchmark writes it.
const SEED_LOG: &str = "\
[THR] HTTP 500 body=Internal Server Error

== TTFT (stream=true) N=100 ==
  p50=0.656s  p95=0.796s  min=0.101s  max=0.810s

== Throughput (stream=false) N=99, errors=1 ==
  per-request tokens/sec: p50=61.0  p95=66.4  mean=60.7
  total generated tokens = 12672
  wall time (whole run)   = 13.14s
  aggregate throughput    = 964.1 tokens/sec
";

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// A sweep of two models and two concurrencies over this folder.
fn sweep(server: &Server, folder: &Path, more: &[&str]) -> Output {
    let url = format!("--url={}", server.url());
    let grid = ["--model=a/b", "--model=c:d", "--concurrencies=1 2"];
    pd_bench(&["sweep", &url, "--prompt-tokens=4", "--max-tokens=8", "-n3"])
        .args(grid)
        .args(more)
        .arg("--output-dir")
        .arg(folder)
        .output()
        .unwrap()
}

/// The ten columns, found in a log by their description alone: no code in common with the program.
fn collected_by_description(log: &str) -> String {
    let between = |from: &str, key: &str, end: char| {
        let section = log.split_once(from).map_or("", |(_, rest)| rest);
        let value = section.split_once(key).map_or("", |(_, rest)| rest);
        value.split(end).next().unwrap().to_owned()
    };
    let (ttft, rates) = ("(stream=true)", "per-request tokens/sec:");
    let cells = [
        between(ttft, "p50=", 's'),
        between(ttft, "p95=", 's'),
        between(ttft, "min=", 's'),
        between(ttft, "max=", 's'),
        between(rates, "p50=", ' '),
        between(rates, "p95=", ' '),
        between(rates, "mean=", '\n'),
        between(rates, "total generated tokens = ", '\n'),
        between(rates, "wall time (whole run)   = ", 's'),
        between(rates, "aggregate throughput    = ", ' '),
    ];
    format!(
        "p50_ttft,p95_ttft,min_ttft,max_ttft,p50_tps,p95_tps,mean_tps,total_tokens,wall_time_sec,\
         aggregate_throughput\r\n{}\r\n",
        cells.join(",")
    )
}

#[test]
fn sweep_names_logs_and_csvs_as_the_testbed_does() {
    let server = Server::start(well);
    let folder = TempDir::new().unwrap();
    let results = folder.path().join("results/bench_runs");

    let output = sweep(&server, &results, &[]);

    assert_eq!(output.status.code(), Some(0));
    let ids = [
        "model_a_b_conc1_pt4_mt8",
        "model_a_b_conc2_pt4_mt8",
        "model_c_d_conc1_pt4_mt8",
        "model_c_d_conc2_pt4_mt8",
    ];
    let files: Vec<String> = ids
        .iter()
        .flat_map(|id| [format!("run_{id}.csv"), format!("run_{id}.log")])
        .collect();
    assert_eq!(names(&results), files);
    let results = results.display();
    let said: String = ids
        .iter()
        .map(|id| format!("=== Running {id} ===\nSaved CSV to {results}/run_{id}.csv\n"))
        .collect();
    assert_eq!(stdout(&output), said);
    let models: Vec<_> = server
        .seen()
        .iter()
        .map(|seen| seen.body["model"].clone())
        .collect();
    assert_eq!(models.len(), 24);
    assert!(models[..12].iter().all(|model| model == "a/b"));
}

#[test]
fn csv_of_a_sweep_is_what_the_description_finds_in_its_log() {
    let server = Server::start(well);
    let folder = TempDir::new().unwrap();

    sweep(&server, folder.path(), &[]);

    for name in names(folder.path())
        .iter()
        .filter(|name| name.ends_with(".log"))
    {
        let log = fs::read_to_string(folder.path().join(name)).unwrap();
        let csv = folder.path().join(name.replace(".log", ".csv"));
        assert_eq!(
            fs::read_to_string(csv).unwrap(),
            collected_by_description(&log)
        );
    }
}

#[test]
fn every_point_has_prompts_of_its_own() {
    let server = Server::start(well);
    let folder = TempDir::new().unwrap();

    sweep(&server, folder.path(), &["--seed=1"]);

    let mut prompts: Vec<String> = server
        .seen()
        .iter()
        .map(|seen| seen.body["messages"].to_string())
        .collect();
    prompts.sort();
    prompts.dedup();
    assert_eq!(prompts.len(), 12);
}

#[test]
fn resumed_sweep_repeats_only_what_has_no_figures() {
    let server = Server::start(well);
    let folder = TempDir::new().unwrap();
    sweep(&server, folder.path(), &[]);
    let file = |name: &str| folder.path().join(name);
    fs::remove_file(file("run_model_a_b_conc2_pt4_mt8.csv")).unwrap();
    // The CSV of a run that failed altogether.
    let empty = collected_by_description("");
    fs::write(file("run_model_c_d_conc1_pt4_mt8.csv"), empty).unwrap();
    server.seen();

    let output = sweep(&server, folder.path(), &["--resume"]);

    let said = stdout(&output);
    let of = |start: &str| said.lines().filter(|line| line.starts_with(start)).count();
    assert_eq!(
        (of("=== Running"), of("=== Skipping"), of("Saved")),
        (2, 2, 2)
    );
    assert!(said.contains("=== Running model_a_b_conc2_pt4_mt8 ==="));
    assert!(said.contains("=== Running model_c_d_conc1_pt4_mt8 ==="));
    assert_eq!(server.seen().len(), 12);
}

#[test]
fn failed_runs_leave_their_log_and_empty_cells_and_exit_1() {
    let server = Server::start(|_| Answer::Close(json("503 Service Unavailable", "{}")));
    let folder = TempDir::new().unwrap();

    let output = sweep(&server, folder.path(), &["--format=wide", "--mode=agg"]);

    assert_eq!(output.status.code(), Some(1));
    let stem = "run_agg_model_a_b_conc1_pt4_mt8";
    let read = |extension| fs::read_to_string(folder.path().join(format!("{stem}.{extension}")));
    assert!(
        read("log")
            .unwrap()
            .starts_with("[TTFT] HTTP 503 body={}\n")
    );
    assert!(
        read("csv")
            .unwrap()
            .ends_with("\r\nagg,a_b,1,4,8,,,,,,,,,,,,,\r\n")
    );
}

#[test]
fn grid_of_the_testbed_is_the_default() {
    let output = pd_bench(&["sweep", "--dry-run"]).output().unwrap();

    let said = stdout(&output);
    let ids: Vec<&str> = said.lines().collect();
    assert_eq!(ids.len(), 24);
    assert_eq!(ids[0], "model_Qwen_Qwen2.5-7B-Instruct_conc1_pt32_mt128");
    assert_eq!(ids[23], "model_Qwen_Qwen2.5-7B-Instruct_conc8_pt128_mt256");
}

#[test]
fn environment_of_the_testbeds_later_sweep_is_understood() {
    let output = pd_bench(&["sweep", "--dry-run"])
        .env("MODEL", "m")
        .env("CONCURRENCIES", "1 32")
        .env("PROMPT_TOKENS", "256")
        .env("MAX_TOKENS", "512")
        .env("RESUME", "1")
        .output()
        .unwrap();

    assert_eq!(
        stdout(&output),
        "model_m_conc1_pt256_mt512\nmodel_m_conc32_pt256_mt512\n"
    );
}

#[test]
fn log_of_the_testbed_becomes_its_csv() {
    let folder = TempDir::new().unwrap();
    let (log, csv) = (folder.path().join("x.log"), folder.path().join("x.csv"));
    fs::write(&log, SEED_LOG).unwrap();

    let output = pd_bench(&["collect", "--input"])
        .arg(&log)
        .arg("--output")
        .arg(&csv)
        .output()
        .unwrap();

    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        stdout(&output),
        format!("[OK] Extracted metrics saved to {}\n", csv.display())
    );
    let text = fs::read_to_string(csv).unwrap();
    assert_eq!(text, collected_by_description(SEED_LOG));
    assert!(text.ends_with("\r\n0.656,0.796,0.101,0.810,61.0,66.4,60.7,12672,13.14,964.1\r\n"));
}

#[test]
fn log_without_figures_becomes_empty_cells_and_exits_0() {
    let folder = TempDir::new().unwrap();
    let (log, csv) = (folder.path().join("x.log"), folder.path().join("x.csv"));
    fs::write(&log, b"\xff\xfe nothing\n").unwrap();

    let output = pd_bench(&["collect", "--input"])
        .arg(&log)
        .arg("--output")
        .arg(&csv)
        .output()
        .unwrap();

    assert_eq!(output.status.code(), Some(0));
    assert!(
        fs::read_to_string(csv)
            .unwrap()
            .ends_with("\r\n,,,,,,,,,\r\n")
    );
}

#[test]
fn collect_needs_both_paths_and_a_log() {
    let code = |args: &[&str]| pd_bench(args).output().unwrap().status.code();

    assert_eq!(code(&["collect", "--input=x"]), Some(2));
    assert_eq!(
        code(&["collect", "--input=/no/log", "--output=/no/csv"]),
        Some(1)
    );
}

#[cfg(feature = "plot")]
mod plot {
    use super::*;

    fn plot(input: &Path, output: &Path) -> Output {
        pd_bench(&["plot", "--input"])
            .arg(input)
            .arg("--output")
            .arg(output)
            .output()
            .unwrap()
    }

    #[test]
    fn csvs_of_the_testbed_become_both_figures() {
        let folder = TempDir::new().unwrap();
        let (runs, figures) = (folder.path().join("runs"), folder.path().join("figures"));
        fs::create_dir(&runs).unwrap();
        for concurrency in [1, 16, 2] {
            let name = format!("run_model_m_conc{concurrency}_pt32_mt128.csv");
            fs::write(runs.join(name), collected_by_description(SEED_LOG)).unwrap();
        }
        fs::write(runs.join("run_model_m_conc4_pt32_mt128.csv"), "broken").unwrap();
        fs::write(runs.join("notes.csv"), "not ours").unwrap();

        let output = plot(&runs, &figures);

        assert_eq!(output.status.code(), Some(0));
        let files = [
            "throughput_vs_concurrency.png",
            "throughput_vs_concurrency.svg",
            "ttft_vs_prompt_tokens.png",
            "ttft_vs_prompt_tokens.svg",
        ];
        assert_eq!(names(&figures), files);
        for file in files {
            let line = format!("Saved figure {}\n", figures.join(file).display());
            assert!(stdout(&output).contains(&line));
        }
        let complaints = String::from_utf8(output.stderr).unwrap();
        assert!(
            complaints.contains("run_model_m_conc4_pt32_mt128.csv left out: no column p50_ttft")
        );
        assert!(!complaints.contains("notes.csv"));
        let svg = fs::read_to_string(figures.join(files[1])).unwrap();
        assert_eq!(svg.matches("<circle").count(), 6);
    }

    #[test]
    fn sweep_can_be_drawn() {
        let server = Server::start(well);
        let folder = TempDir::new().unwrap();
        sweep(&server, folder.path(), &["--format=wide", "--mode=disagg"]);
        let figures = folder.path().join("figures");

        let output = plot(folder.path(), &figures);

        assert_eq!(output.status.code(), Some(0));
        assert!(
            figures
                .join("ttft_vs_prompt_tokens_disagg_model_a_b.png")
                .exists()
        );
    }

    #[test]
    fn nothing_to_draw_is_explained() {
        let folder = TempDir::new().unwrap();

        for input in [folder.path().to_owned(), folder.path().join("none")] {
            let output = plot(&input, folder.path());

            assert_eq!(output.status.code(), Some(1));
            let explained = String::from_utf8(output.stderr).unwrap();
            assert!(explained.contains("nothing to draw"), "{explained}");
            assert!(explained.contains("pd-bench sweep"), "{explained}");
        }
    }
}
