use proptest::prelude::*;

use super::*;

const PREFILL: &str = "10.0.1.2:21001";
const DECODE: &str = "10.0.1.3:22001";
const RANDOM: [u8; 16] = [0, 0xab, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 0xff];

/// What a node puts around the id before it reads it (vLLM 0.9 to 0.23).
const AROUND: [(&str, &str); 8] = [
    ("", ""),
    ("cmpl-", "-0"),
    ("cmpl-", "-3"),
    ("chatcmpl-", ""),
    ("0_cmpl-", "-0"),
    ("1_chatcmpl-", ""),
    ("generate-tokens-", ""),
    ("cmpl-", "-0-a1b2c3d4"),
];

fn id(prefill: &str, decode: &str) -> RequestId {
    let parse = |text| KvAddress::parse(text).expect("a valid address");
    RequestId::new(&parse(prefill), &parse(decode), RANDOM)
}

/// `{marker}(.*):(\d+){end}`, greedy: what vLLM's P2pNccl connector looks for.
fn host_and_port<'a>(id: &'a str, marker: &str, end: &str) -> Option<(&'a str, &'a str)> {
    let (_, rest) = id.split_once(marker)?;
    rest.rmatch_indices(':').find_map(|(colon, _)| {
        let (host, behind) = rest.split_at(colon);
        let behind = behind.strip_prefix(':')?;
        let after = behind.trim_start_matches(|c: char| c.is_ascii_digit());
        let port = behind.strip_suffix(after)?;
        (!port.is_empty() && after.starts_with(end)).then_some((host, port))
    })
}

/// As the prefill node reads the decode node's address.
fn decode_address(id: &str) -> Option<(&str, &str)> {
    host_and_port(id, "___decode_addr_", "")
}

/// As the decode node reads the prefill node's address.
fn prefill_address(id: &str) -> Option<(&str, &str)> {
    host_and_port(id, "___prefill_addr_", "___")
}

/// `___prefill_addr_(.+?)___decode_addr_` and `___decode_addr_(.+)_[0-9a-f]{32}(?:-.*)?$`: what vLLM's
/// MoRIIO connector looks for.
fn moriio_addresses(id: &str) -> Option<(&str, &str)> {
    const MARKER: &str = "___decode_addr_";
    let (_, from_prefill) = id.split_once("___prefill_addr_")?;
    let (prefill, _) = from_prefill
        .split_once(MARKER)
        .filter(|(prefill, _)| !prefill.is_empty())?;
    let (_, rest) = id.split_once(MARKER)?;
    let decode = rest.rmatch_indices('_').find_map(|(at, _)| {
        let (decode, behind) = rest.split_at(at);
        let (hex, after) = behind.strip_prefix('_')?.split_at_checked(32)?;
        let is_hex = hex
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let is_end = after.is_empty() || after.starts_with('-');
        (!decode.is_empty() && is_hex && is_end).then_some(decode)
    })?;
    Some((prefill, decode))
}

fn assert_readable(prefill: &str, decode: &str) {
    let id = id(prefill, decode);
    for (before, after) in AROUND {
        let engine_id = format!("{before}{id}{after}");
        assert_eq!(
            decode_address(&engine_id),
            decode.rsplit_once(':'),
            "{engine_id}"
        );
        assert_eq!(
            prefill_address(&engine_id),
            prefill.rsplit_once(':'),
            "{engine_id}"
        );
        assert_eq!(
            moriio_addresses(&engine_id),
            Some((prefill, decode)),
            "{engine_id}"
        );
    }
}

#[test]
fn id_has_the_form_that_nodes_expect() {
    insta::assert_snapshot!(
        id(PREFILL, DECODE),
        @"___prefill_addr_10.0.1.2:21001___decode_addr_10.0.1.3:22001_00ab02030405060708090a0b0c0d0eff"
    );
}

#[test]
fn random_part_is_always_32_digits() {
    let parse = |text| KvAddress::parse(text).unwrap();
    let id = RequestId::new(&parse(PREFILL), &parse(DECODE), [0; 16]);

    assert!(id.as_str().ends_with(&format!("_{}", "0".repeat(32))));
}

#[test]
fn ordinary_addresses_are_read_back() {
    assert_readable(PREFILL, DECODE);
    assert_readable("vllm-prefill-0.prod.svc:14580", "gpu_host__7:14579");
    assert_readable("[2001:db8::2]:22001", "[2001:db8::3]:22001");
    assert_readable("2001:db8::2:22001", "2001:db8::3:22001");
}

#[test]
fn address_of_a_moriio_node_is_read_back() {
    let prefill = "host:10.0.1.2,handshake:7301,notify:7501";
    let decode = "host:10.0.1.3,handshake:7301,notify:7501";
    let id = id(prefill, decode);

    for (before, after) in AROUND {
        let engine_id = format!("{before}{id}{after}");
        assert_eq!(moriio_addresses(&engine_id), Some((prefill, decode)));
    }
}

#[test]
fn text_is_the_same_in_the_field_and_in_logs() {
    let id = id(PREFILL, DECODE);

    assert_eq!(id.as_str(), id.to_string());
    assert!(
        id.as_str().bytes().all(|byte| byte.is_ascii_graphic()),
        "it goes into a header field"
    );
}

proptest! {
    #[test]
    fn any_addresses_are_read_back(
        prefill in "[a-z0-9][a-z0-9._-]{0,20}:[1-9][0-9]{0,3}",
        decode in "[a-z0-9][a-z0-9._-]{0,20}:[1-9][0-9]{0,3}",
    ) {
        prop_assume!(!prefill.contains("___") && !decode.contains("___"));
        prop_assume!(KvAddress::parse(&prefill).is_ok() && KvAddress::parse(&decode).is_ok());
        assert_readable(&prefill, &decode);
    }
}
