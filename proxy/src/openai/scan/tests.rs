use proptest::prelude::*;

use super::*;
use crate::limits;
use crate::openai::oracle;

const CHAT: &str = r#"{
  "model": "Qwen/Qwen2.5-7B-Instruct",
  "messages": [
    {"role": "user", "content": "Say \"max_tokens\": 5, then stop.\n", "max_tokens": 9},
    {"role": "assistant", "content": [{"type": "text", "text": "na\u00efve \ud83e\udd80 \ud800"}]}
  ],
  "temperature": 0.70, "max_tokens" : 128 ,"stream":true,
  "stream_options": {"include_usage": true}, "n": 1, "seed": 123456789012345678901234567890,
  "logprobs": null, "echo": false, "stop": [], "metadata": {}
}"#;

fn text(body: &str, key: Key) -> Option<(Kind, &str)> {
    let value = scan(body.as_bytes()).unwrap().value(key)?;
    Some((
        value.kind,
        std::str::from_utf8(value.text(body.as_bytes())).unwrap(),
    ))
}

fn error(body: impl AsRef<[u8]>) -> (JsonErrorKind, usize) {
    let error = scan(body.as_ref()).unwrap_err();
    (error.kind, error.offset)
}

#[test]
fn values_are_found_where_they_stand() {
    assert_eq!(text(CHAT, Key::MaxTokens), Some((Kind::Number, "128")));
    assert_eq!(text(CHAT, Key::Stream), Some((Kind::True, "true")));
    assert_eq!(text(CHAT, Key::Echo), Some((Kind::False, "false")));
    assert_eq!(text(CHAT, Key::Logprobs), Some((Kind::Null, "null")));
    assert_eq!(text(CHAT, Key::N), Some((Kind::Number, "1")));
    let options = r#"{"include_usage": true}"#;
    assert_eq!(
        text(CHAT, Key::StreamOptions),
        Some((Kind::Object, options))
    );
    assert_eq!(text(CHAT, Key::Messages).unwrap().0, Kind::Array);
    assert_eq!(text(CHAT, Key::MinTokens), None);
}

#[test]
fn model_is_read_for_logs() {
    let scan = scan(CHAT.as_bytes()).unwrap();

    assert_eq!(
        scan.model(CHAT.as_bytes()),
        Some("Qwen/Qwen2.5-7B-Instruct")
    );
    assert_eq!(
        super::scan(b"{\"model\":5}")
            .unwrap()
            .model(b"{\"model\":5}"),
        None
    );
}

#[test]
fn namesakes_inside_of_values_are_not_ours() {
    let body = r#"{"a":{"max_tokens":1,"max_tokens":2},"b":[{"stream":false}],"c":"\"stream\":1"}"#;

    let scan = scan(body.as_bytes()).unwrap();

    assert!(Key::ALL.into_iter().all(|key| scan.value(key).is_none()));
}

#[test]
fn end_of_the_object_is_noted() {
    for (body, close, is_empty) in [
        ("{}", 1, true),
        (" { } \n", 3, true),
        ("{\"a\":{}}\n", 7, false),
        ("{\"a\":1 }", 7, false),
    ] {
        let scan = scan(body.as_bytes()).unwrap();
        assert_eq!((scan.close(), scan.is_empty()), (close, is_empty), "{body}");
    }
}

#[test]
fn second_occurrence_of_our_key_is_refused() {
    for key in Key::ALL {
        let name = key.name();
        let body = format!(r#"{{"{name}":1,"other":2,"{name}":1}}"#);
        let at = body.rfind(&format!("\"{name}\"")).unwrap();

        assert_eq!(error(&body), (JsonErrorKind::DuplicateKey(name), at));
    }
}

#[test]
fn our_key_written_with_escapes_is_refused() {
    for spelling in [
        r"max\u005ftokens",
        r"max\u005Ftokens",
        r"\u006d\u0061\u0078\u005f\u0074\u006f\u006b\u0065\u006e\u0073",
    ] {
        let kind = JsonErrorKind::EscapedKey("max_tokens");
        assert_eq!(
            error(format!(r#"{{"{spelling}":1}}"#)),
            (kind, 1),
            "{spelling}"
        );
    }
    for key in Key::ALL {
        let (first, rest) = key.name().split_at(1);
        let body = format!(r#"{{"a":0, "\u{:04x}{rest}":1}}"#, first.as_bytes()[0]);
        assert_eq!(error(body), (JsonErrorKind::EscapedKey(key.name()), 8));
    }
}

#[test]
fn other_keys_may_repeat_and_be_escaped() {
    for key in [
        r"max\\u005ftokens",
        r"max\ntokens",
        r"max_tokens\u0000",
        r"max_token\u0073s",
        r"\ud800",
    ] {
        let body = format!(r#"{{"{key}":1,"{key}":2,"x":3,"x":4}}"#);
        assert!(scan(body.as_bytes()).is_ok(), "{key}");
    }
}

#[test]
fn every_key_is_known_by_its_name() {
    for key in Key::ALL {
        assert_eq!(Key::from_name(key.name().as_bytes()), Some(key));
        assert_eq!(Key::ALL[key as usize], key);
    }
    assert_eq!(Key::from_name(b"Max_Tokens"), None);
}

#[test]
fn every_form_of_value_is_accepted() {
    for value in [
        "0",
        "-0",
        "10",
        "-1",
        "1.0",
        "0.1",
        "1e5",
        "1E+5",
        "1e-5",
        "0e0",
        "-0.0e-0",
        "1e999999",
        "12345678",
        "123456789012345678901234567890.123456789e10",
        "true",
        "false",
        "null",
        "\"\"",
        r#""\"\\\/\b\f\n\r\t\u00e4\uD834\uDD1E""#,
        r#""\ud800""#,
        r#""\udc00\ud800""#,
        "\"\u{7f}\"",
        "\"\u{feff}\"",
        "\"ä€🦀\"",
        "[]",
        "[ ]",
        "{}",
        "{ }",
        "[[],[{}],{\"a\":[]}]",
        "[1 , 2\n,\t3\r]",
    ] {
        let body = format!("{{\"value\":{value}}}");
        assert!(scan(body.as_bytes()).is_ok(), "{value}");
        check_scan(body.as_bytes(), oracle::is_object);
    }
}

#[test]
fn what_breaks_the_grammar_is_refused_where_it_does() {
    use JsonErrorKind as E;
    let cases: [(&[u8], E, usize); 44] = [
        (b"", E::NotAnObject, 0),
        (b"  ", E::NotAnObject, 2),
        (b"[]", E::NotAnObject, 0),
        (b"null", E::NotAnObject, 0),
        (b"\xef\xbb\xbf{}", E::NotAnObject, 0),
        (b"{", E::UnexpectedEnd, 1),
        (b"{}x", E::TrailingCharacters, 2),
        (b"{}{}", E::TrailingCharacters, 2),
        (b"{}\0", E::TrailingCharacters, 2),
        (b"{\0}", E::ExpectedKey, 1),
        (b"{a:1}", E::ExpectedKey, 1),
        (b"{'a':1}", E::ExpectedKey, 1),
        (b"{,}", E::ExpectedKey, 1),
        (b"{\"a\":1,}", E::ExpectedKey, 7),
        (b"{\"a\":1,,\"b\":2}", E::ExpectedKey, 7),
        (b"{\"a\" 1}", E::ExpectedColon, 5),
        (b"{\"a\":}", E::ExpectedValue, 5),
        (b"{\"a\":NaN}", E::ExpectedValue, 5),
        (b"{\"a\":nul}", E::ExpectedValue, 5),
        (b"{\"a\":Infinity}", E::ExpectedValue, 5),
        (b"{\"a\":truefalse}", E::ExpectedObjectEnd, 9),
        (b"{\"a\":1 \"b\":2}", E::ExpectedObjectEnd, 7),
        (b"{\"a\":1]", E::ExpectedObjectEnd, 6),
        (b"{\"a\":[1}}", E::ExpectedArrayEnd, 7),
        (b"{\"a\":[1 2]}", E::ExpectedArrayEnd, 8),
        (b"{\"a\":[1,]}", E::ExpectedValue, 8),
        (b"{\"a\":[,]}", E::ExpectedValue, 6),
        (b"{\"a\":{\"b\":1]}", E::ExpectedObjectEnd, 11),
        (b"{\"a\":{1:1}}", E::ExpectedKey, 6),
        (b"{\"a\":+1}", E::ExpectedValue, 5),
        (b"{\"a\":.5}", E::ExpectedValue, 5),
        (b"{\"a\":-}", E::InvalidNumber, 6),
        (b"{\"a\":-x}", E::InvalidNumber, 6),
        (b"{\"a\":01}", E::InvalidNumber, 5),
        (b"{\"a\":-00}", E::InvalidNumber, 6),
        (b"{\"a\":1.}", E::InvalidNumber, 7),
        (b"{\"a\":1.e5}", E::InvalidNumber, 7),
        (b"{\"a\":1e}", E::InvalidNumber, 7),
        (b"{\"a\":1e+}", E::InvalidNumber, 8),
        (b"{\"a\":\"\\x\"}", E::InvalidEscape, 6),
        (b"{\"a\":\"\\u12g4\"}", E::InvalidEscape, 6),
        (b"{\"a\":\"\n\"}", E::ControlCharacter, 6),
        (b"{\"a\":\"ab\xff\"}", E::InvalidUtf8, 8),
        (b"{\"\xc0\x80\":1}", E::InvalidUtf8, 2),
    ];
    for (body, kind, at) in cases {
        let shown = String::from_utf8_lossy(body);
        assert_eq!(error(body), (kind, at), "{shown}");
        assert!(!oracle::is_object(body), "{shown}");
    }
}

#[test]
fn every_cut_body_is_refused_at_its_end() {
    for len in 1..CHAT.len() {
        let (kind, at) = error(&CHAT.as_bytes()[..len]);
        assert!(at <= len);
        // A cut word, escape or number is noticed where it stands.
        let is_expected = matches!(
            kind,
            JsonErrorKind::UnexpectedEnd
                | JsonErrorKind::InvalidEscape
                | JsonErrorKind::ExpectedValue
        );
        assert!(is_expected, "{kind} at {at} of {len}");
    }
}

#[test]
fn depth_is_bounded() {
    let nested = |open: &str, close: &str, depth: usize| {
        // The outermost object is one of them.
        let inside = depth - 1;
        format!("{{\"a\":{}0{}}}", open.repeat(inside), close.repeat(inside)).into_bytes()
    };
    for (open, close) in [("[", "]"), ("{\"b\":", "}")] {
        assert!(scan(&nested(open, close, limits::JSON_DEPTH_MAX)).is_ok());
        let (kind, _) = error(nested(open, close, limits::JSON_DEPTH_MAX + 1));
        assert_eq!(kind, JsonErrorKind::TooDeep);
        let (kind, _) = error(nested(open, close, 1_000_000));
        assert_eq!(kind, JsonErrorKind::TooDeep);
    }
}

#[test]
fn brackets_must_match_at_every_depth() {
    let mut open = String::new();
    let mut close = String::new();
    for depth in 0..limits::JSON_DEPTH_MAX - 1 {
        // An irregular pattern, so that a wrong bit of the stack shows.
        let is_array = (depth * depth / 7) % 3 == 0;
        open.push_str(if is_array { "[" } else { "{\"k\":" });
        close.insert(0, if is_array { ']' } else { '}' });
    }
    let body = format!("{{\"a\":{open}1{close}}}");
    assert!(scan(body.as_bytes()).is_ok());

    let first_close = body.len() - close.len() - 1;
    for at in first_close..body.len() - 1 {
        let mut wrong = body.clone().into_bytes();
        wrong[at] = if wrong[at] == b']' { b'}' } else { b']' };
        assert_eq!(error(&wrong).1, at);
    }
}

#[test]
fn errors_say_what_and_where() {
    let message = |body: &str| scan(body.as_bytes()).unwrap_err().to_string();

    insta::assert_snapshot!(
        message(r#"{"model": "m", "max_tokens": 5, "max_tokens": 6}"#),
        @"The request body cannot be used: duplicate key `max_tokens` at byte 32."
    );
    insta::assert_snapshot!(
        message(r#"{"max\u005ftokens": 5}"#),
        @"The request body cannot be used: key `max_tokens` written with escapes at byte 1."
    );
    insta::assert_snapshot!(
        message(r#"{"model": "m""#),
        @"The request body cannot be used: unexpected end of JSON at byte 13."
    );
    insta::assert_snapshot!(
        message(r#"{"model": "m"]"#),
        @"The request body cannot be used: expected `,` or `}` at byte 13."
    );
    let error = scan(br#"{"echo":1,"echo":1}"#).unwrap_err();
    assert_eq!(error.param(), Some("echo"));
}

proptest! {
    #[test]
    fn bodies_are_read_as_another_reader_reads_them(body in oracle::body()) {
        prop_assert!(oracle::is_object(body.as_bytes()), "the generator makes bad JSON");
        check_scan(body.as_bytes(), oracle::is_object);
    }

    #[test]
    fn broken_bodies_are_refused_as_another_reader_refuses_them(body in oracle::broken_body()) {
        check_scan(&body, oracle::is_object);
    }

    #[test]
    fn token_ids_are_read_as_another_reader_reads_them(
        good in prop::collection::vec("[1-9][0-9]{0,5}, ?|0, ?", 0..60),
        odd in "|0|00,|01,|,|  1,|1 ,|-1,|1.5,|1e5, |x|]|\"a\",|\\[\\],",
        more in prop::collection::vec("[1-9][0-9]{0,5}, ?|0, ?", 0..60),
        end in "7|0|",
    ) {
        let body = format!("{{\"prompt\":[{}{odd}{}{end}]}}", good.concat(), more.concat());
        check_scan(body.as_bytes(), oracle::is_object);
    }

    #[test]
    fn any_bytes_are_refused_or_read(body in prop::collection::vec(any::<u8>(), 0..64)) {
        check_scan(&body, oracle::is_object);
    }
}
