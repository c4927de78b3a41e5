//! Another reader of JSON to agree with, and bodies to agree on.

use proptest::prelude::*;
use serde::de::IgnoredAny;

/// Whether `text` is one object in valid JSON and valid UTF-8. `serde_json` skipping a value checks the
/// grammar without limits of its own: not of depth, not of the range of numbers, not on surrogates.
pub(super) fn is_object(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok_and(|text| {
        let begins_as_object = text
            .trim_start_matches([' ', '\t', '\n', '\r'])
            .starts_with('{');
        begins_as_object && serde_json::from_str::<IgnoredAny>(text).is_ok()
    })
}

fn space() -> impl Strategy<Value = String> {
    prop_oneof![8 => Just(String::new()), 2 => "[ \t\r\n]{1,3}"]
}

fn string() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[a-zA-Z ,.:{}\\[\\]]{0,40}",
        1 => "[äß€🦀]{1,4}",
        1 => r#"\\["\\/bfnrt]"#,
        1 => r"\\u[0-9a-fA-F]{4}",
    ];
    prop::collection::vec(piece, 0..4).prop_map(|pieces| format!("\"{}\"", pieces.concat()))
}

fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "0|[1-9][0-9]{0,5}",
        1 => r"-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,4})?",
    ]
}

fn scalar() -> impl Strategy<Value = String> {
    prop_oneof![string(), number(), "true|false|null"]
}

/// Any JSON value, as text.
pub(super) fn value() -> impl Strategy<Value = String> {
    scalar().prop_recursive(4, 32, 6, |inner| {
        let array = prop::collection::vec(inner.clone(), 0..6);
        let members = prop::collection::vec((key(), space(), inner, space()), 0..6);
        prop_oneof![
            (array, space()).prop_map(|(values, gap)| {
                format!("[{gap}{}{gap}]", values.join(&format!("{gap},{gap}")))
            }),
            members.prop_map(|members| object(&members)),
        ]
    })
}

/// Keys as clients send them; ours are frequent, sometimes with an escape.
fn key() -> impl Strategy<Value = String> {
    let ours = prop::sample::select(super::Key::ALL.to_vec());
    prop_oneof![
        20 => ours.clone().prop_map(|key| format!("\"{}\"", key.name())),
        1 => ours.prop_map(|key| {
            let (first, rest) = key.name().split_at(1);
            format!("\"\\u{:04x}{rest}\"", first.as_bytes()[0])
        }),
        10 => string(),
    ]
}

fn object(members: &[(String, String, String, String)]) -> String {
    let members: Vec<String> = members
        .iter()
        .map(|(key, before, value, after)| format!("{before}{key}{after}:{before}{value}{after}"))
        .collect();
    format!("{{{}}}", members.join(","))
}

/// A request body: an object whose keys are often ours.
pub(super) fn body() -> impl Strategy<Value = String> {
    let member = (key(), space(), value(), space());
    (space(), prop::collection::vec(member, 0..8), space())
        .prop_map(|(before, members, after)| format!("{before}{}{after}", object(&members)))
}

/// A body with one byte removed, added or changed.
pub(super) fn broken_body() -> impl Strategy<Value = Vec<u8>> {
    (
        body(),
        any::<prop::sample::Index>(),
        0..3,
        prop_oneof![any::<u8>(), Just(b'"'), Just(b',')],
    )
        .prop_map(|(body, index, how, byte)| {
            let mut bytes = body.into_bytes();
            let at = index.index(bytes.len());
            match how {
                0 => drop(bytes.remove(at)),
                1 => bytes.insert(at, byte),
                _ => bytes[at] = byte,
            }
            bytes
        })
}
