use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::*;
use crate::openai::oracle;

fn patched(body: &str) -> String {
    let scan = scan(body.as_bytes()).unwrap();
    let patch = Patch::prefill(&scan, body.as_bytes());
    check_patch(body.as_bytes());
    String::from_utf8(patch.slices(body.as_bytes()).collect::<Vec<_>>().concat()).unwrap()
}

#[test]
fn chat_is_limited_to_one_token_and_streams() {
    insta::assert_snapshot!(
        patched(r#"{"messages":[],"max_completion_tokens":512,"max_tokens":256,"min_tokens":10,"stream":false}"#),
        @r#"{"messages":[],"max_completion_tokens":1,"max_tokens":1,"min_tokens":0,"stream":true}"#
    );
}

#[test]
fn absent_members_are_added_at_the_end() {
    insta::assert_snapshot!(patched("{}"), @r#"{"max_tokens":1,"stream":true}"#);
    assert_eq!(
        patched(" { } \n"),
        " { \"max_tokens\":1,\"stream\":true} \n"
    );
    insta::assert_snapshot!(
        patched(r#"{"prompt":"x" }"#),
        @r#"{"prompt":"x" ,"max_tokens":1,"stream":true}"#
    );
    insta::assert_snapshot!(
        patched(r#"{"stream":true}"#),
        @r#"{"stream":true,"max_tokens":1}"#
    );
    insta::assert_snapshot!(
        patched(r#"{"max_tokens":7}"#),
        @r#"{"max_tokens":1,"stream":true}"#
    );
}

#[test]
fn max_completion_tokens_is_not_added() {
    assert!(!patched("{}").contains("max_completion_tokens"));
}

#[test]
fn null_limits_become_one() {
    assert_eq!(
        patched(r#"{"max_tokens":null,"max_completion_tokens":null,"stream":null}"#),
        r#"{"max_tokens":1,"max_completion_tokens":1,"stream":true}"#
    );
}

#[test]
fn min_tokens_is_cleared_only_when_a_node_would_take_it() {
    for taken in ["5", "0", "2.0", "\"5\"", "\" 7 \""] {
        let body = format!("{{\"min_tokens\":{taken}}}");
        assert_eq!(
            patched(&body),
            r#"{"min_tokens":0,"max_tokens":1,"stream":true}"#
        );
    }
    for refused in [
        "-1",
        "1.5",
        "1e1",
        "null",
        "true",
        "[2]",
        "\"many\"",
        "99999999999999999999",
    ] {
        let body = format!("{{\"min_tokens\":{refused}}}");
        let expected = format!("{{\"min_tokens\":{refused},\"max_tokens\":1,\"stream\":true}}");
        assert_eq!(patched(&body), expected);
    }
}

#[test]
fn stream_options_stay() {
    let body = r#"{"stream_options":{"include_usage":true},"max_tokens":1,"stream":true}"#;

    assert_eq!(patched(body), body);
}

#[test]
fn nothing_else_is_touched() {
    let rest = concat!(
        r#""seed":123456789012345678901234567890,"temperature":0.70,"#,
        "\"a\":\t1e-7 ,\n",
        r#""nested":{"max_tokens":5,"max_tokens":6,"stream":false,"s":"\u00e4\/"},"x":1,"x":2"#,
    );
    let body = format!(r#"{{"max_tokens":99,{rest},"stream":false}}"#);

    assert_eq!(
        patched(&body),
        format!(r#"{{"max_tokens":1,{rest},"stream":true}}"#)
    );
}

#[test]
fn length_is_that_of_the_slices() {
    let body = br#"{"max_tokens":1000,"prompt":"x"}"#;
    let scan = scan(body).unwrap();
    let patch = Patch::prefill(&scan, body);

    assert_eq!(
        patch.len(body),
        br#"{"max_tokens":1,"prompt":"x","stream":true}"#.len() as u64
    );
    assert!(patch.slices(body).all(|slice| !slice.is_empty()));
}

#[test]
fn most_scattered_body_fits_into_the_slices() {
    let body = concat!(
        r#"{"a":0,"stream":1,"b":0,"min_tokens":5,"c":0,"max_completion_tokens":2,"d":0}"#,
        "\n"
    );
    let scan = scan(body.as_bytes()).unwrap();
    let patch = Patch::prefill(&scan, body.as_bytes());

    assert!(patch.slices(body.as_bytes()).count() <= Patch::SLICES_MAX);
    check_patch(body.as_bytes());
}

/// The patched body by way of a tree, which forgets order and spelling and nothing else.
fn patched_tree(body: &str) -> Option<Json> {
    let mut tree: Json = serde_json::from_str(body).ok()?;
    let members = tree.as_object_mut()?;
    members.insert("max_tokens".to_owned(), json!(1));
    members.insert("stream".to_owned(), json!(true));
    if let Some(value) = members.get_mut("max_completion_tokens") {
        *value = json!(1);
    }
    if let Some(value) = members.get_mut("min_tokens") {
        let text = value.as_str().map(|text| text.trim_ascii().to_owned());
        let number = text.unwrap_or_else(|| value.to_string());
        let is_whole = number
            .parse::<f64>()
            .is_ok_and(|number| number >= 0.0 && number.fract() == 0.0);
        let is_plain = !number.contains(['e', 'E', '+']) && number.len() < 19;
        if (value.is_number() || value.is_string()) && is_whole && is_plain {
            *value = json!(0);
        }
    }
    Some(tree)
}

proptest! {
    #[test]
    fn any_body_is_patched_where_it_must_be(body in oracle::body()) {
        check_patch(body.as_bytes());
    }

    #[test]
    fn a_tree_would_be_patched_likewise(
        limit in "[1-9][0-9]{0,8}|null|\"5\"",
        least in "[0-9]|1[0-9]{1,8}|-[1-9]|null|1\\.5|\"3\"|\"x\"|\\[\\]",
        stream in "true|false|null|0",
        rest in oracle::value(),
        has in any::<[bool; 4]>(),
    ) {
        let members = [
            has[0].then(|| format!("\"max_tokens\":{limit}")),
            Some(format!("\"prompt\":{rest}")),
            has[1].then(|| format!("\"min_tokens\" : {least}")),
            has[2].then(|| format!("\"stream\":{stream}")),
            has[3].then(|| format!("\n\"max_completion_tokens\":{limit}")),
        ];
        let body = format!("{{{}}}", members.into_iter().flatten().collect::<Vec<_>>().join(","));
        // A tree cannot hold lone surrogates and numbers beyond a double.
        prop_assume!(serde_json::from_str::<Json>(&body).is_ok());

        let read: Json = serde_json::from_str(&patched(&body)).unwrap();

        prop_assert_eq!(Some(read), patched_tree(&body));
    }
}
