//! Each line here is what a process gets to see.

use super::*;
use crate::connector::{CONNECTORS, Verdict, Version};
use crate::settings::tests::settings;

fn loopback() -> Proxy {
    Proxy {
        host: Ipv4Addr::LOCALHOST.into(),
        http_port: 10001,
        zmq_ports: vec![30001, 30002],
    }
}

fn line(args: &[OsString]) -> String {
    args.join(" ".as_ref()).into_string().unwrap()
}

#[test]
fn proxy_listens_on_loopback_with_all_its_ports() {
    insta::assert_snapshot!(
        line(&loopback().args()),
        @"--host 127.0.0.1 --port 10001 --zmq-port 30001 --zmq-port 30002 --log-level info"
    );
}

#[test]
fn sim_is_told_its_role_ports_model_and_proxy() {
    let sim = Sim {
        role: Role::Decode,
        host: Ipv4Addr::LOCALHOST,
        http_port: 8200,
        kv_port: 14579,
        model: "Qwen/Qwen2.5-7B-Instruct".to_owned(),
        speed: 1,
    };

    insta::assert_snapshot!(
        line(&sim.args(&loopback())),
        @"--role decode --host 127.0.0.1 --port 8200 --kv-port 14579 --proxy 127.0.0.1:30001 --model Qwen/Qwen2.5-7B-Instruct --speed 1"
    );
}

fn version_env(version: &str) -> &'static [(&'static str, &'static str)] {
    match CONNECTORS[0].verdict(Version::parse(version)) {
        Verdict::Works(env) => env,
        Verdict::Refused(reason) => panic!("{reason}"),
    }
}

fn shell(flags: &[(&'static str, &str)], name: &str, version: &str) -> String {
    let settings = settings(flags);
    let plan = Plan::new(&settings).unwrap();
    let found = plan.nodes.iter().find(|node| node.name == name).unwrap();
    node(&settings, found, version_env(version)).shell()
}

#[test]
fn consumer_of_vllm_0_11_gets_the_testbed_s_arguments() {
    insta::assert_snapshot!(shell(&[], "consumer", "0.11.0"), @r#"
    CUDA_VISIBLE_DEVICES=2 \
    VLLM_HOST_IP=10.0.0.1 \
    VLLM_HTTP_TIMEOUT_KEEP_ALIVE=120 \
    PYTHONUNBUFFERED=1 \
    vllm serve Qwen/Qwen2.5-7B-Instruct \
      --port 8200 \
      --download-dir /home/me/.cache/vllm \
      --gpu-memory-utilization 0.8 \
      --max-model-len 2048 \
      --kv-transfer-config '{"kv_connector":"P2pNcclConnector","kv_role":"kv_consumer","kv_rank":0,"kv_parallel_size":1,"kv_ip":"10.0.0.1","kv_port":14579,"kv_connector_extra_config":{"proxy_ip":"10.0.0.1","proxy_port":"30002","http_port":"8200"}}'
    "#);
}

#[test]
fn producer_of_vllm_0_11_runs_in_safe_mode_with_whole_prompts() {
    insta::assert_snapshot!(shell(&[], "producer", "0.11.0"), @r#"
    CUDA_VISIBLE_DEVICES=1 \
    VLLM_HOST_IP=10.0.0.1 \
    VLLM_HTTP_TIMEOUT_KEEP_ALIVE=120 \
    PYTHONUNBUFFERED=1 \
    VLLM_TORCH_COMPILE=0 \
    VLLM_USE_DYNAMO=0 \
    VLLM_DISABLE_CUDA_GRAPH=1 \
    vllm serve Qwen/Qwen2.5-7B-Instruct \
      --port 8100 \
      --download-dir /home/me/.cache/vllm \
      --gpu-memory-utilization 0.8 \
      --max-model-len 2048 \
      --max-num-batched-tokens 8192 \
      --kv-transfer-config '{"kv_connector":"P2pNcclConnector","kv_role":"kv_producer","kv_rank":0,"kv_parallel_size":1,"kv_ip":"10.0.0.1","kv_port":14580,"kv_connector_extra_config":{"proxy_ip":"10.0.0.1","proxy_port":"30002","http_port":"8100"}}' \
      --enforce-eager
    "#);
}

#[test]
fn consumer_of_vllm_0_23_keeps_plain_request_ids() {
    insta::assert_snapshot!(shell(&[], "consumer", "0.23.0"), @r#"
    CUDA_VISIBLE_DEVICES=2 \
    VLLM_HOST_IP=10.0.0.1 \
    VLLM_HTTP_TIMEOUT_KEEP_ALIVE=120 \
    PYTHONUNBUFFERED=1 \
    VLLM_DISABLE_REQUEST_ID_RANDOMIZATION=1 \
    vllm serve Qwen/Qwen2.5-7B-Instruct \
      --port 8200 \
      --download-dir /home/me/.cache/vllm \
      --gpu-memory-utilization 0.8 \
      --max-model-len 2048 \
      --kv-transfer-config '{"kv_connector":"P2pNcclConnector","kv_role":"kv_consumer","kv_rank":0,"kv_parallel_size":1,"kv_ip":"10.0.0.1","kv_port":14579,"kv_connector_extra_config":{"proxy_ip":"10.0.0.1","proxy_port":"30002","http_port":"8200"}}'
    "#);
}

#[test]
fn producer_of_vllm_0_23_keeps_plain_request_ids() {
    insta::assert_snapshot!(shell(&[], "producer", "0.23.0"), @r#"
    CUDA_VISIBLE_DEVICES=1 \
    VLLM_HOST_IP=10.0.0.1 \
    VLLM_HTTP_TIMEOUT_KEEP_ALIVE=120 \
    PYTHONUNBUFFERED=1 \
    VLLM_TORCH_COMPILE=0 \
    VLLM_USE_DYNAMO=0 \
    VLLM_DISABLE_CUDA_GRAPH=1 \
    VLLM_DISABLE_REQUEST_ID_RANDOMIZATION=1 \
    vllm serve Qwen/Qwen2.5-7B-Instruct \
      --port 8100 \
      --download-dir /home/me/.cache/vllm \
      --gpu-memory-utilization 0.8 \
      --max-model-len 2048 \
      --max-num-batched-tokens 8192 \
      --kv-transfer-config '{"kv_connector":"P2pNcclConnector","kv_role":"kv_producer","kv_rank":0,"kv_parallel_size":1,"kv_ip":"10.0.0.1","kv_port":14580,"kv_connector_extra_config":{"proxy_ip":"10.0.0.1","proxy_port":"30002","http_port":"8100"}}' \
      --enforce-eager
    "#);
}

#[test]
fn every_option_reaches_its_node() {
    let flags = [
        ("prefill-gpu", "GPU-1,GPU-2"),
        ("prefill-tensor-parallel-size", "2"),
        ("prefill-kv-buffer-size", "1e1"),
        ("prefill-gpu-memory-utilization", "0.95"),
        ("kv-send-type", "PUT"),
        ("kv-mem-pool-size-gb", "4"),
        ("kv-nccl-num-channels", "16"),
        ("max-model-len", "32768"),
        ("no-safe-mode", "true"),
        ("vllm-arg", "--trust-remote-code"),
        ("prefill-arg", "--seed=1"),
        ("cache-dir", "/my models"),
        ("srv-ip", "fd00::1"),
        ("vllm", "/opt/venv/bin/vllm"),
    ];

    insta::assert_snapshot!(shell(&flags, "producer", "0.9.2"), @r#"
    CUDA_VISIBLE_DEVICES=GPU-1,GPU-2 \
    VLLM_HOST_IP=fd00::1 \
    VLLM_HTTP_TIMEOUT_KEEP_ALIVE=120 \
    PYTHONUNBUFFERED=1 \
    /opt/venv/bin/vllm serve Qwen/Qwen2.5-7B-Instruct \
      --port 8100 \
      --download-dir '/my models' \
      --gpu-memory-utilization 0.95 \
      --max-model-len 32768 \
      --tensor-parallel-size 2 \
      --max-num-batched-tokens 32768 \
      --kv-transfer-config '{"kv_connector":"P2pNcclConnector","kv_role":"kv_producer","kv_rank":0,"kv_parallel_size":1,"kv_ip":"fd00::1","kv_port":14580,"kv_buffer_size":"1e1","kv_connector_extra_config":{"proxy_ip":"fd00::1","proxy_port":"30002","http_port":"8100","send_type":"PUT","nccl_num_channels":"16","mem_pool_size_gb":4}}' \
      --trust-remote-code \
      --seed=1
    "#);
}

#[test]
fn proxy_gets_the_key_and_all_addresses() {
    let settings = settings(&[]);
    let command = proxy(&settings, &Plan::new(&settings).unwrap());

    insta::assert_snapshot!(command.shell(), @r#"
    OPENAI_API_KEY=sk-noop \
    pd-proxy \
      --host 0.0.0.0 \
      --port 10001 \
      --zmq-port 30002 \
      --zmq-port 30001 \
      --log-level info
    "#);
}

#[test]
fn real_key_is_not_shown() {
    let settings = settings(&[("api-key", "sk-secret")]);
    let command = proxy(&settings, &Plan::new(&settings).unwrap());

    assert!(
        command
            .shell()
            .starts_with("OPENAI_API_KEY=\"$OPENAI_API_KEY\" ")
    );
    assert_eq!(
        command.env,
        [("OPENAI_API_KEY".to_owned(), "sk-secret".to_owned())]
    );
}

#[test]
fn simulated_node_takes_the_place_of_a_real_one() {
    insta::assert_snapshot!(shell(&[("simulate", "true")], "consumer", "0.11.0"), @r#"
    pd-sim \
      --role decode \
      --host 0.0.0.0 \
      --port 8200 \
      --kv-port 14579 \
      --advertise 10.0.0.1 \
      --proxy 10.0.0.1:30002 \
      --model Qwen/Qwen2.5-7B-Instruct \
      --max-model-len 2048
    "#);
}

#[test]
fn kv_transfer_config_has_the_types_that_vllm_wants() {
    let settings = settings(&[]);
    let plan = Plan::new(&settings).unwrap();
    let args = node(&settings, &plan.nodes[0], &[]).args;
    let json = &args[args
        .iter()
        .position(|arg| arg == "--kv-transfer-config")
        .unwrap()
        + 1];
    let config: serde_json::Value = serde_json::from_str(json).unwrap();

    assert!(config["kv_port"].is_u64());
    assert!(config["kv_ip"].is_string());
    for key in ["proxy_ip", "proxy_port", "http_port"] {
        assert!(
            config["kv_connector_extra_config"][key].is_string(),
            "{key}"
        );
    }
}
