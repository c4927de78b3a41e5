//! Plans are made of settings as people write them.

use super::*;
use crate::settings::tests::settings;
use proptest::prelude::*;

fn plan(flags: &[(&'static str, &str)]) -> Result<Plan, Error> {
    Plan::new(&settings(flags))
}

fn kv_ports(plan: &Plan) -> Vec<u16> {
    plan.nodes.iter().map(|node| node.kv_port).collect()
}

#[test]
fn plan_without_wishes_is_the_testbed_s() {
    insta::assert_snapshot!(plan(&[]).unwrap().table().join("\n"), @r"
    NODE      ROLE     GPU  HTTP   KV OR REGISTRATION
    proxy     proxy    -    10001  30002, 30001
    consumer  decode   2    8200   14579
    producer  prefill  1    8100   14580
    ");
}

#[test]
fn large_plan_numbers_its_nodes_and_fills_the_gpus_from_0() {
    let plan = plan(&[("prefill", "2"), ("decode", "6")]).unwrap();

    insta::assert_snapshot!(plan.table().join("\n"), @r"
    NODE        ROLE     GPU  HTTP   KV OR REGISTRATION
    proxy       proxy    -    10001  30002, 30001
    consumer-1  decode   2    8200   14579
    consumer-2  decode   3    8201   14581
    consumer-3  decode   4    8202   14582
    consumer-4  decode   5    8203   14583
    consumer-5  decode   6    8204   14584
    consumer-6  decode   7    8205   14585
    producer-1  prefill  0    8100   14580
    producer-2  prefill  1    8101   14586
    ");
}

#[test]
fn ranks_of_a_node_have_neighbouring_kv_ports_and_gpus() {
    let plan = plan(&[
        ("decode", "2"),
        ("decode-tensor-parallel-size", "2"),
        ("decode-gpu", "4,5,6,7"),
        ("prefill-gpu", "0"),
    ])
    .unwrap();

    insta::assert_snapshot!(plan.table().join("\n"), @r"
    NODE        ROLE     GPU  HTTP   KV OR REGISTRATION
    proxy       proxy    -    10001  30002, 30001
    consumer-1  decode   4,5  8200   14579-14580
    consumer-2  decode   6,7  8201   14582-14583
    producer    prefill  0    8100   14581
    ");
}

#[test]
fn port_that_someone_asked_for_is_kept_and_defaults_give_way() {
    let plan = plan(&[("prefill-kv-port", "14579")]).unwrap();

    assert_eq!(kv_ports(&plan), [14580, 14579]);
}

#[test]
fn two_wishes_for_one_port_are_refused() {
    let error = plan(&[("prefill-kv-port", "21000"), ("decode-http-port", "21000")]).unwrap_err();

    insta::assert_snapshot!(error, @"producer cannot have port 21000: consumer has it");
}

#[test]
fn rank_s_port_inside_another_node_s_range_is_refused() {
    let wishes = [
        ("decode-kv-port", "21000"),
        ("decode-tensor-parallel-size", "4"),
        ("prefill-kv-port", "21003"),
    ];

    assert!(matches!(
        plan(&wishes),
        Err(Error::Taken { port: 21003, .. })
    ));
}

#[test]
fn ports_end_at_65535() {
    let error = plan(&[("decode", "2"), ("decode-http-port", "65535")]).unwrap_err();

    insta::assert_snapshot!(error, @"no ports are left for consumer-2");
}

#[test]
fn example_s_registration_port_gives_way() {
    let of = |flags| plan(flags).unwrap().proxy_zmq_ports;

    assert_eq!(of(&[]), [30002, 30001]);
    assert_eq!(of(&[("proxy-zmq-port", "30001")]), [30001]);
    assert_eq!(of(&[("decode-kv-port", "30001")]), [30002]);
}

#[test]
fn gpus_must_be_as_many_as_the_ranks() {
    let error = plan(&[
        ("decode", "3"),
        ("decode-tensor-parallel-size", "2"),
        ("decode-gpu", "0,1"),
    ]);

    insta::assert_snapshot!(
        error.unwrap_err(),
        @"--decode-gpu names 2 GPUs, but 3 nodes of 2 need 6"
    );
}

#[test]
fn gpu_is_shared_only_as_far_as_its_memory_goes() {
    let shared = [("prefill-gpu", "0"), ("decode-gpu", "0")];
    insta::assert_snapshot!(
        plan(&shared).unwrap_err(),
        @"GPU 0 would be filled to 1.60: consumer, producer share it"
    );

    let half = [
        ("prefill-gpu-memory-utilization", "0.5"),
        ("decode-gpu-memory-utilization", "0.5"),
    ];
    assert!(plan(&[shared, half].concat()).is_ok());
}

#[test]
fn no_gpus_are_named_where_none_are_wanted() {
    let plan = plan(&[("prefill-gpu", "none"), ("decode-gpu", "none")]).unwrap();

    assert!(plan.nodes.iter().all(|node| node.gpus.is_empty()));
}

#[test]
fn prefill_node_must_not_be_told_to_cut_prompts_into_chunks() {
    let with = |arg| plan(&[("max-model-len", "4096"), ("prefill-arg", arg)]);

    insta::assert_snapshot!(
        with("--max-num-batched-tokens=2048").unwrap_err(),
        @"--max-num-batched-tokens 2048 is less than --max-model-len 4096: a prefill node that cuts a prompt into chunks dies"
    );
    assert!(with("--max-num-batched-tokens=4096").is_ok());
    assert!(plan(&[("decode-arg", "--max-num-batched-tokens=16")]).is_ok());
}

proptest! {
    #[test]
    fn no_port_is_given_twice(
        prefill in 1..=16_u16,
        decode in 1..=16_u16,
        prefill_ranks in 1..=8_u16,
        decode_ranks in 1..=8_u16,
        base in 10_000..60_000_u16,
    ) {
        let numbers = [prefill, decode, prefill_ranks, decode_ranks, base].map(|n| n.to_string());
        let [prefill, decode, prefill_ranks, decode_ranks, base] = numbers;
        let plan = plan(&[
            ("prefill", &prefill),
            ("decode", &decode),
            ("prefill-tensor-parallel-size", &prefill_ranks),
            ("decode-tensor-parallel-size", &decode_ranks),
            ("decode-kv-port", &base),
        ]);
        // The wish may hit the proxy's own ports.
        prop_assume!(plan.is_ok());
        let ports = plan.unwrap().ports();

        prop_assert_eq!(ports.iter().collect::<BTreeSet<_>>().len(), ports.len());
    }
}
