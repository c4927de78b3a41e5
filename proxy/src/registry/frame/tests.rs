use proptest::prelude::*;

use super::*;

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex
        .chars()
        .map(|digit| u8::try_from(digit.to_digit(16).unwrap()).unwrap())
        .collect();
    let (pairs, rest) = digits.as_chunks::<2>();
    assert!(rest.is_empty());
    pairs.iter().map(|[high, low]| high << 4 | low).collect()
}

fn decoded(hex: &str) -> Result<(&'static str, String, String), FrameError> {
    let body = bytes(hex);
    check_registration(&body);
    let Registration { role, http, kv } = decode(&body)?;
    Ok((role.name(), http.to_string(), kv.to_string()))
}

fn accepted(
    role: &'static str,
    http: &str,
    kv: &str,
) -> Result<(&'static str, String, String), FrameError> {
    Ok((role, http.to_owned(), kv.to_owned()))
}

/// A map of the three entries with the texts as fixstr or str8.
fn map(role: &str, http: &str, kv: &str) -> Vec<u8> {
    let mut body = vec![0x83];
    for text in ["type", role, "http_address", http, "zmq_address", kv] {
        rmp::encode::write_str(&mut body, text).unwrap();
    }
    body
}

#[test]
fn prefill_node_is_decoded() {
    assert_eq!(
        decoded(
            "83a474797065a150ac687474705f61646472657373ae31302e302e312e323a3230303031ab7a6d715f61646472657373ae31302e302e312e323a3231303031"
        ),
        accepted("prefill", "10.0.1.2:20001", "10.0.1.2:21001")
    );
}

#[test]
fn decode_node_is_decoded() {
    assert_eq!(
        decoded(
            "83a474797065a144ac687474705f61646472657373ae31302e302e312e333a3230303032ab7a6d715f61646472657373ae31302e302e312e333a3232303031"
        ),
        accepted("decode", "10.0.1.3:20002", "10.0.1.3:22001")
    );
}

#[test]
fn loopback_node_is_decoded() {
    assert_eq!(
        decoded(
            "83a474797065a150ac687474705f61646472657373ae3132372e302e302e313a38313030ab7a6d715f61646472657373af3132372e302e302e313a3134353739"
        ),
        accepted("prefill", "127.0.0.1:8100", "127.0.0.1:14579")
    );
}

#[test]
fn raw_ipv6_is_split_at_its_last_colon() {
    assert_eq!(
        decoded(
            "83a474797065a144ac687474705f61646472657373b1323030313a6462383a3a313a3230303032ab7a6d715f61646472657373b1323030313a6462383a3a313a3232303031"
        ),
        accepted("decode", "[2001:db8::1]:20002", "2001:db8::1:22001")
    );
}

#[test]
fn fixstr_of_31_and_str8_of_32_are_read() {
    assert_eq!(
        decoded(
            "83a474797065a150ac687474705f61646472657373bf616161616161616161616161616161616161616161616161613a3230303031ab7a6d715f61646472657373d92062626262626262626262626262626262626262626262626262623a3230303031"
        ),
        accepted(
            "prefill",
            "aaaaaaaaaaaaaaaaaaaaaaaaa:20001",
            "bbbbbbbbbbbbbbbbbbbbbbbbbb:20001"
        )
    );
}

#[test]
fn kubernetes_names_are_read() {
    let address = "vllm-decode-0.vllm-decode.prod.svc.cluster.local";
    assert_eq!(
        decoded(
            "83a474797065a144ac687474705f61646472657373d936766c6c6d2d6465636f64652d302e766c6c6d2d6465636f64652e70726f642e7376632e636c75737465722e6c6f63616c3a3230303032ab7a6d715f61646472657373d936766c6c6d2d6465636f64652d302e766c6c6d2d6465636f64652e70726f642e7376632e636c75737465722e6c6f63616c3a3232303031"
        ),
        accepted(
            "decode",
            &format!("{address}:20002"),
            &format!("{address}:22001")
        )
    );
}

#[test]
fn unknown_type_is_refused() {
    assert_eq!(
        decoded(
            "83a474797065a158ac687474705f61646472657373aa31302e302e312e393a31ab7a6d715f61646472657373aa31302e302e312e393a32"
        ),
        Err(FrameError::UnknownType)
    );
}

#[test]
fn binary_values_are_read_as_text() {
    assert_eq!(
        decoded(
            "83a474797065c40150ac687474705f61646472657373c40e31302e302e312e323a3230303031ab7a6d715f61646472657373c40e31302e302e312e323a3231303031"
        ),
        accepted("prefill", "10.0.1.2:20001", "10.0.1.2:21001")
    );
}

#[test]
fn extra_integer_is_skipped() {
    assert_eq!(
        decoded(
            "84a474797065a150ac687474705f61646472657373a3683a31ab7a6d715f61646472657373a3683a32a4706f7274cd4e21"
        ),
        accepted("prefill", "h:1", "h:2")
    );
}

#[test]
fn nil_addresses_are_refused() {
    assert_eq!(
        decoded("83a474797065a150ac687474705f61646472657373c0ab7a6d715f61646472657373c0"),
        Err(FrameError::NotText)
    );
}

#[test]
fn array_is_refused() {
    assert_eq!(
        decoded("93a150ae31302e302e312e323a3230303031ae31302e302e312e323a3231303031"),
        Err(FrameError::NotMap)
    );
}

#[test]
fn moriio_read_prefill_node_is_decoded() {
    assert_eq!(
        decoded(
            "86a474797065a150ac687474705f61646472657373ad31302e302e312e323a38313030ab7a6d715f61646472657373d929686f73743a31302e302e312e322c68616e647368616b653a363330312c6e6f746966793a3631303035a764705f73697a6508a774705f73697a6501ad7472616e736665725f6d6f6465a452454144"
        ),
        accepted(
            "prefill",
            "10.0.1.2:8100",
            "host:10.0.1.2,handshake:6301,notify:61005"
        )
    );
}

#[test]
fn moriio_write_decode_node_is_decoded() {
    assert_eq!(
        decoded(
            "86a474797065a144ac687474705f61646472657373ad31302e302e312e333a38323030ab7a6d715f61646472657373d928686f73743a31302e302e312e332c68616e647368616b653a373330312c6e6f746966793a37353031a764705f73697a6501a774705f73697a6508ad7472616e736665725f6d6f6465a55752495445"
        ),
        accepted(
            "decode",
            "10.0.1.3:8200",
            "host:10.0.1.3,handshake:7301,notify:7501"
        )
    );
}

#[test]
fn moriio_legacy_hello_is_ignored() {
    assert_eq!(decoded("81a474797065a548454c4c4f"), Err(FrameError::Legacy));
}

#[test]
fn empty_body_is_refused() {
    assert_eq!(decoded(""), Err(FrameError::Truncated));
}

#[test]
fn reserved_byte_is_refused() {
    assert_eq!(decoded("c1"), Err(FrameError::NotMap));
    assert_eq!(decoded("81a474797065c1"), Err(FrameError::Malformed));
}

#[test]
fn truncated_map_is_refused() {
    assert_eq!(decoded("83a474797065"), Err(FrameError::Truncated));
}

#[test]
fn trailing_byte_is_refused() {
    assert_eq!(decoded("81a474797065a15000"), Err(FrameError::Trailing));
}

#[test]
fn every_proper_prefix_is_refused_as_truncated() {
    let body = map("P", "10.0.1.2:20001", "10.0.1.2:21001");
    for cut in 0..body.len() {
        assert_eq!(
            decode(&body[..cut]),
            Err(FrameError::Truncated),
            "cut at {cut}"
        );
    }
}

#[test]
fn map16_and_map32_are_read() {
    let body = map("P", "h:1", "h:2");
    for head in [&[0xde, 0, 3][..], &[0xdf, 0, 0, 0, 3]] {
        let body = [head, &body[1..]].concat();
        assert!(decode(&body).is_ok());
    }
}

#[test]
fn every_width_of_text_is_read() {
    for width in [1, 2, 4] {
        for first in [0xd9, 0xc4] {
            let mut body = vec![0x83];
            for text in ["type", "D", "http_address", "h:1", "zmq_address", "h:2"] {
                body.push(first + [0, 0, 1, 0, 2][width]);
                body.extend(&u32::try_from(text.len()).unwrap().to_be_bytes()[4 - width..]);
                body.extend(text.as_bytes());
            }
            assert!(
                decode(&body).is_ok(),
                "marker {first:x}, {width} bytes of length"
            );
        }
    }
}

#[test]
fn extra_entries_of_every_kind_are_skipped() {
    let extras = [
        "c0",
        "c2",
        "c3",
        "00",
        "ff",
        "cc01",
        "cd0001",
        "ce00000001",
        "cf0000000000000001",
        "d001",
        "d10001",
        "d200000001",
        "d30000000000000001",
        "ca00000000",
        "cb0000000000000000",
        "d40102",
        "d5010203",
        "d60102030405",
        "d7010203040506070809",
        "d80100112233445566778899aabbccddeeff",
        "c702010101",
        "c80002010101",
        "c9000000010100",
        "90",
        "9201a161",
        "dc000101",
        "dd0000000101",
        "80",
        "81a16193c0c0c0",
        "de000101c0",
        "df00000001c001",
        "a161",
        "c40100",
    ];
    for extra in extras {
        // As a value under an unknown key, and as a key.
        for entry in [format!("a178{extra}"), format!("{extra}c0")] {
            let mut body = map("P", "h:1", "h:2");
            body[0] = 0x84;
            body.extend(bytes(&entry));
            assert!(decode(&body).is_ok(), "{entry}");
        }
    }
}

#[test]
fn key_that_is_there_twice_is_refused() {
    for key in ["type", "http_address", "zmq_address"] {
        let mut body = map("P", "h:1", "h:2");
        body[0] = 0x84;
        rmp::encode::write_str(&mut body, key).unwrap();
        rmp::encode::write_str(&mut body, "P").unwrap();
        assert_eq!(decode(&body), Err(FrameError::DuplicateKey), "{key}");
    }
}

#[test]
fn missing_key_is_refused() {
    let mut body = map("P", "h:1", "h:2");
    body[0] = 0x82;
    body.truncate(1 + 5 + 2 + 13 + 4);
    assert_eq!(decode(&body), Err(FrameError::MissingKey));
}

#[test]
fn text_that_is_no_utf8_is_refused() {
    let mut body = map("P", "h:1", "h:2");
    let at = body.len() - 1;
    body[at] = 0xff;
    assert_eq!(decode(&body), Err(FrameError::NotText));
}

#[test]
fn claimed_lengths_cost_nothing() {
    for hex in [
        "ddffffffff",
        "dfffffffff",
        "dbffffffff",
        "c9ffffffff",
        "9f9f9f9f9f",
    ] {
        assert_eq!(
            decoded(&format!("81a178{hex}")),
            Err(FrameError::Truncated),
            "{hex}"
        );
    }
}

#[test]
fn deep_nesting_is_walked_without_a_stack() {
    let mut body = bytes("84a178");
    body.extend(std::iter::repeat_n(
        0x91,
        limits::REGISTRATION_BYTES_MAX - 200,
    ));
    body.push(0xc0);
    body.extend(&map("P", "h:1", "h:2")[1..]);
    assert!(decode(&body).is_ok());
}

#[test]
fn too_many_entries_are_refused_before_they_are_read() {
    assert_eq!(decoded("de0041"), Err(FrameError::TooManyEntries));
    assert_eq!(decoded("de0040"), Err(FrameError::Truncated));
}

#[test]
fn longer_frame_than_allowed_is_refused() {
    let body = vec![0x80; limits::REGISTRATION_BYTES_MAX + 1];
    assert_eq!(decode(&body), Err(FrameError::TooLong));
}

#[test]
fn hostile_addresses_are_refused() {
    let long = format!("{}:1", "a".repeat(limits::ADDRESS_BYTES_MAX));
    let hostile = [
        "",
        ":",
        "h",
        "h:",
        ":1",
        "h:0",
        "h:65536",
        "h:+1",
        "h:-1",
        "h: 1",
        " h:1",
        "h:1 ",
        "h:1\r\n",
        "h\r\nX-Evil: 1:1",
        "h\0:1",
        "h/path:1",
        "h:1/v1",
        "http://h:1",
        "user@h:1",
        "h#:1",
        "h?:1",
        "hé:1",
        "[::1:1",
        "::g:1",
        "a:b:1",
        "2130706433:1",
        "0x7f.1:1",
        "1.2.3:1",
        "256.1.1.1:1",
        "h:99999999999999999999",
        &long,
    ];
    for address in hostile {
        let http = decode(&map("P", address, "h:1"));
        assert_eq!(http, Err(FrameError::HttpAddress), "{address:?}");
        let kv = decode(&map("P", "h:1", address));
        assert_eq!(kv, Err(FrameError::KvAddress), "{address:?}");
    }
    let kv = decode(&map("P", "h:1", "h___decode_addr_x:1"));
    assert_eq!(kv, Err(FrameError::KvAddress));
}

#[test]
fn http_addresses_have_one_spelling() {
    for (sent, held) in [
        ("Node-A:0080", "node-a:80"),
        ("2001:DB8:0:0::1:80", "[2001:db8::1]:80"),
        ("[::1]:80", "[::1]:80"),
    ] {
        let registration = decode(&map("D", sent, "h:2")).unwrap();
        assert_eq!(registration.http.as_str(), held);
    }
}

#[test]
fn every_seed_keeps_the_property() {
    let seeds = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/registration");
    for seed in std::fs::read_dir(seeds).unwrap() {
        check_registration(&std::fs::read(seed.unwrap().path()).unwrap());
    }
}

proptest! {
    #[test]
    fn any_bytes_end_in_a_registration_or_a_refusal(data in proptest::collection::vec(any::<u8>(), 0..300)) {
        check_registration(&data);
    }

    #[test]
    fn registration_with_one_byte_changed_keeps_the_property(at in 0_usize..63, byte in any::<u8>()) {
        let mut body = map("P", "10.0.1.2:20001", "10.0.1.2:21001");
        body[at] = byte;
        check_registration(&body);
    }

    #[test]
    fn any_addresses_keep_the_property(http in "[a-c0-9:.\\[\\]_-]{0,20}:[0-9]{1,6}", kv in "(host:)?[a-c0-9:._,-]{0,20}:[0-9]{1,6}") {
        check_registration(&map("D", &http, &kv));
    }
}
