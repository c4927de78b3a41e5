//! Settings as people write them, and the testbed's interface as it was measured.

use std::path::Path;

use super::layers::{Layer, read_file};
use super::*;

/// Settings of these flags on a machine that is known.
pub(crate) fn settings(flags: &[(&'static str, &str)]) -> Settings {
    read_all(flags, &[]).unwrap()
}

fn layer(values: &[(&'static str, &str)]) -> Layer {
    let values = values.iter();
    values
        .map(|(flag, value)| (*flag, vec![(*value).to_owned()]))
        .collect()
}

fn layers(flags: &[(&'static str, &str)], env: &[(&str, &str)], file: &str) -> Layers {
    let env = |name: &str| {
        let found = env.iter().find(|(key, _)| *key == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    let file = (
        Path::new("pd-launcher.toml").to_owned(),
        read_file(file).unwrap(),
    );
    let mut layers = Layers::new(&layer(flags), &env, Some(file));
    layers.fill("srv-ip", || "10.0.0.1".to_owned());
    layers.fill("cache-dir", || "/home/me/.cache/vllm".to_owned());
    layers
}

fn read_all(flags: &[(&'static str, &str)], env: &[(&str, &str)]) -> Result<Settings, Error> {
    Settings::read(&layers(flags, env, ""))
}

#[test]
fn defaults_are_the_testbed_s() {
    let settings = settings(&[]);

    assert_eq!(settings.model, "Qwen/Qwen2.5-7B-Instruct");
    assert_eq!(settings.api_key.value, "sk-noop");
    assert_eq!(
        (settings.proxy_http_port, settings.proxy_zmq_port),
        (10001, 30002)
    );
    for (role, http, kv) in [
        (&settings.decode, 8200, 14579),
        (&settings.prefill, 8100, 14580),
    ] {
        assert_eq!((role.http_port.port, role.kv_port.port), (http, kv));
        assert_eq!(role.gpu_memory_utilization, 0.8);
        assert_eq!(role.wait, Duration::from_secs(120));
        assert_eq!((role.count, role.tensor_parallel), (1, 1));
    }
    assert_eq!(settings.max_model_len, 2048);
    assert!(settings.safe_mode && !settings.simulate);
}

#[test]
fn every_variable_of_the_testbed_is_read() {
    let env = [
        ("SRV_IP", "192.168.0.7"),
        ("MODEL", "m"),
        ("CACHE_DIR", "/dev/shm/vllm_cache"),
        ("OPENAI_API_KEY", "k"),
        ("PROXY_HTTP_PORT", "1"),
        ("PROXY_ZMQ_PORT", "2"),
        ("CONS_HTTP_PORT", "3"),
        ("CONS_ZMQ_PORT", "4"),
        ("PROD_HTTP_PORT", "5"),
        ("PROD_ZMQ_PORT", "6"),
        ("CONS_GPU", "7"),
        ("PROD_GPU", "8"),
        ("CONS_UTIL", "0.1"),
        ("PROD_UTIL", "0.2"),
        ("CONS_WAIT", "9"),
        ("PROD_WAIT", "10"),
    ];
    let known: Vec<&str> = keys::KEYS.iter().filter_map(|key| key.env).collect();
    assert_eq!(known.len(), env.len());

    let settings = read_all(&[], &env).unwrap();

    assert_eq!(
        (settings.srv_ip.as_str(), settings.model.as_str()),
        ("192.168.0.7", "m")
    );
    assert_eq!(settings.cache_dir, Path::new("/dev/shm/vllm_cache"));
    assert!(settings.api_key.value == "k" && !settings.api_key.is_default);
    assert_eq!((settings.proxy_http_port, settings.proxy_zmq_port), (1, 2));
    for (role, http, kv, gpu, share, wait) in [
        (&settings.decode, 3, 4, "7", 0.1, 9),
        (&settings.prefill, 5, 6, "8", 0.2, 10),
    ] {
        assert_eq!(
            role.http_port,
            Base {
                port: http,
                explicit: true
            }
        );
        assert_eq!(
            role.kv_port,
            Base {
                port: kv,
                explicit: true
            }
        );
        assert_eq!(role.gpus, Gpus::These(vec![gpu.to_owned()]));
        assert_eq!(role.gpu_memory_utilization, share);
        assert_eq!(role.wait, Duration::from_secs(wait));
    }
}

#[test]
fn empty_variable_counts_as_not_set() {
    let settings = read_all(&[], &[("MODEL", ""), ("CONS_GPU", "")]).unwrap();

    assert_eq!(settings.model, "Qwen/Qwen2.5-7B-Instruct");
    assert_eq!(settings.decode.gpus, Gpus::Any);
}

#[test]
fn flags_win_over_variables_over_the_file_over_defaults() {
    let file = "model = \"file\"\nprefill = 3\ndecode = 3";
    let with = |flags: &[(&'static str, &str)], env: &[(&str, &str)]| {
        let layers = layers(flags, env, file);
        let entry = layers.get("model").unwrap().clone();
        (entry.values[0].clone(), entry.origin.to_string())
    };
    let of = |value: &str, origin: &str| (value.to_owned(), origin.to_owned());

    let env = [("MODEL", "env")];
    assert_eq!(with(&[("model", "flag")], &env), of("flag", "flag"));
    assert_eq!(with(&[], &env), of("env", "environment MODEL"));
    assert_eq!(with(&[], &[]), of("file", "file pd-launcher.toml"));
    let empty = layers(&[], &[], "");
    assert_eq!(empty.get("model").unwrap().origin, Origin::Default);
}

#[test]
fn file_has_numbers_lists_and_switches() {
    let file = r#"
        prefill = 2
        prefill-gpu = [0, 1]
        decode-gpu = "2"
        decode-gpu-memory-utilization = 0.9
        no-safe-mode = true
        vllm-arg = ["--seed", "1"]
        prefill-arg = ["--swap-space", "8"]
    "#;
    let settings = Settings::read(&layers(&[], &[], file)).unwrap();

    assert_eq!(
        settings.prefill.gpus,
        Gpus::These(vec!["0".to_owned(), "1".to_owned()])
    );
    assert_eq!(settings.decode.gpu_memory_utilization, 0.9);
    assert!(!settings.safe_mode);
    assert_eq!(settings.prefill.args, ["--seed", "1", "--swap-space", "8"]);
    assert_eq!(settings.decode.args, ["--seed", "1"]);
}

#[test]
fn unknown_keys_of_the_file_are_refused_with_the_nearest_name() {
    let error = |text: &str| read_file(text).unwrap_err().to_string();

    insta::assert_snapshot!(error("modle = 1"), @"unknown key `modle`; did you mean `model`?");
    insta::assert_snapshot!(
        error("max_model_len = 1"),
        @"unknown key `max_model_len`; did you mean `max-model-len`?"
    );
    insta::assert_snapshot!(error("xyzzy = 1"), @"unknown key `xyzzy`");
    insta::assert_snapshot!(error("simulate = 1"), @"`simulate` must be true or false");
    insta::assert_snapshot!(error("model = [1]"), @"`model` must be one value");
}

#[test]
fn wrong_values_are_refused_with_their_origin() {
    for (flag, value) in [
        ("prefill", "0"),
        ("decode", "65"),
        ("proxy-http-port", "0"),
        ("decode-kv-port", "65536"),
        ("prefill-gpu", "a"),
        ("prefill-gpu", "1,1"),
        ("prefill-gpu", "1,"),
        ("decode-gpu-memory-utilization", "1.1"),
        ("decode-gpu-memory-utilization", "NaN"),
        ("prefill-wait", "0"),
        ("prefill-wait", "inf"),
        ("kv-connector", "nixl"),
        ("kv-send-type", "put"),
        ("prefill-kv-buffer-size", "big"),
        ("max-model-len", "0"),
        ("srv-ip", "http://x"),
        ("model", " "),
    ] {
        assert!(read_all(&[(flag, value)], &[]).is_err(), "{flag} {value}");
    }
    let error = read_all(&[], &[("CONS_WAIT", "soon")]).unwrap_err();
    insta::assert_snapshot!(
        error,
        @r#"decode-wait = "soon" (environment CONS_WAIT): invalid float literal"#
    );
}

#[test]
fn shown_settings_can_be_read_back_and_hide_the_key() {
    let flags = [
        ("api-key", "sk-secret"),
        ("prefill-arg", "--a=\"b\""),
        ("prefill", "2"),
    ];
    let layers = layers(&flags, &[], "");

    let shown = layers.show(true).join("\n");
    let back = read_file(&layers.show(true).join("\n")).unwrap();

    assert!(!shown.contains("sk-secret"), "{shown}");
    assert_eq!(back["prefill-arg"], ["--a=\"b\""]);
    assert_eq!(back["prefill"], ["2"]);
    assert!(
        shown
            .lines()
            .any(|line| line.starts_with("prefill = 2 ") && line.ends_with("# flag"))
    );
}
