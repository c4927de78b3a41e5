use proptest::prelude::*;

use super::*;

const GOOD: &str = concat!(
    "data: {\"id\":\"cmpl-1\",\"object\":\"text_completion\",\"choices\":[{\"index\":0,\"text\":",
    "\"an \\\"error\\\": {} and data: [DONE]\",\"finish_reason\":null}]}\n\n",
    "data: {\"id\":\"cmpl-1\",\"choices\":[{\"index\":0,\"text\":\"\",\"finish_reason\":\"length\"}]}\n\n",
    "data: {\"id\":\"cmpl-1\",\"choices\":[],\"usage\":{\"error\":1},\"error\":null}\n\n",
    "data: [DONE]\n\n",
);

const BAD: &str = concat!(
    "data: {\"id\":\"cmpl-1\",\"choices\":[]}\n\n",
    "data: {\"error\": {\"message\": \"no blocks\", \"type\": \"BadRequestError\", \"param\": null, ",
    "\"code\": 400}}\n\n",
    "data: {\"error\": {\"message\": \"later\", \"code\": 500}}\n\n",
    "data: [DONE]\n\n",
);

fn verdict(stream: impl AsRef<[u8]>) -> Verdict {
    let mut scan = EventScan::new();
    scan.feed(stream.as_ref());
    scan.finish()
}

fn error_status(data: &str) -> Option<u16> {
    verdict(format!("data: {data}\n\n"))
        .error
        .expect("an error")
        .status
}

#[test]
fn good_stream_is_a_success() {
    let verdict = verdict(GOOD);

    assert_eq!(
        verdict,
        Verdict {
            error: None,
            aborted: false,
            done: true
        }
    );
    assert!(verdict.is_success());
}

#[test]
fn error_event_is_kept_with_its_status() {
    let verdict = verdict(BAD);

    assert!(verdict.done && !verdict.is_success());
    let error = verdict.error.unwrap();
    assert_eq!(error.status, Some(400));
    insta::assert_snapshot!(
        String::from_utf8(error.json.unwrap()).unwrap(),
        @r#"{"error": {"message": "no blocks", "type": "BadRequestError", "param": null, "code": 400}}"#
    );
}

#[test]
fn stream_without_done_is_no_success() {
    assert!(!verdict("").is_success());
    assert!(!verdict(GOOD.replace("[DONE]", "[DONE")).is_success());
}

#[test]
fn verdict_is_the_same_wherever_the_stream_is_cut() {
    for stream in [GOOD, BAD] {
        for line_end in ["\n", "\r", "\r\n"] {
            let stream = stream.replace('\n', line_end);
            let expected = verdict(&stream);
            assert!(expected.done);
            assert_eq!(expected.error.is_some(), stream.contains("no blocks"));
            for cut in 0..=stream.len() {
                let (before, after) = stream.as_bytes().split_at(cut);
                let mut scan = EventScan::new();
                scan.feed(before);
                scan.feed(b"");
                scan.feed(after);
                assert_eq!(scan.finish(), expected, "cut at {cut}");
            }
        }
    }
}

#[test]
fn only_a_top_level_error_that_is_not_null_counts() {
    for data in [
        r#"{"choices":[{"error":{"code":500}}]}"#,
        r#"{"error":null}"#,
        r#"{"text":"\"error\":{}"}"#,
        r#"["error"]"#,
        r#""error""#,
        r#"{"errors":1}"#,
    ] {
        assert_eq!(verdict(format!("data: {data}\n\n")).error, None, "{data}");
    }
    for data in [
        r#"{"error":"text"}"#,
        r#"{"choices":[],"error":{}}"#,
        r#"{"\u0065rror":{}}"#,
        r#"{"error":null,"error":1}"#,
        r#"{"error":false}"#,
    ] {
        assert!(
            verdict(format!("data: {data}\n\n")).error.is_some(),
            "{data}"
        );
    }
}

#[test]
fn status_is_the_code_if_it_is_an_error_status() {
    assert_eq!(error_status(r#"{"error":{"code":404}}"#), Some(404));
    assert_eq!(error_status(r#"{"error":{"code":599}}"#), Some(599));
    assert_eq!(error_status(r#"{"error":{"code":200}}"#), None);
    assert_eq!(error_status(r#"{"error":{"code":65936}}"#), None);
    assert_eq!(
        error_status(r#"{"error":{"code":"invalid_api_key"}}"#),
        None
    );
    assert_eq!(error_status(r#"{"error":{"inner":{"code":404}}}"#), None);
    assert_eq!(error_status(r#"{"error":"code"}"#), None);
}

#[test]
fn aborted_choice_is_no_success() {
    let stream = "data: {\"choices\":[{\"finish_reason\":null},{\"finish_reason\": \"abort\"}]}\n\n\
                  data: [DONE]\n\n";

    let verdict = verdict(stream);

    assert_eq!(
        verdict,
        Verdict {
            error: None,
            aborted: true,
            done: true
        }
    );
    assert!(!verdict.is_success());
}

#[test]
fn word_abort_elsewhere_is_harmless() {
    let stream = "data: {\"choices\":[{\"text\":\"abort\",\"delta\":{\"finish_reason\":\"abort\"}},1],\
                  \"finish_reason\":\"abort\"}\n\ndata: [DONE]\n\n";

    assert!(verdict(stream).is_success());
}

#[test]
fn fields_are_read_as_the_standard_says() {
    let error = |stream: &str| verdict(stream).error.is_some();

    assert!(error("data:{\"error\":1}\n\n"), "the space is optional");
    assert!(
        error("\u{feff}data: {\"error\":1}\n\n"),
        "a byte order mark is skipped"
    );
    assert!(
        error("event: error\nid: 1\ndata: {\"error\":1}\n\n"),
        "other fields are skipped"
    );
    assert!(
        error("data: {\"error\":\ndata: 1}\n\n"),
        "lines of one event belong together"
    );
    assert!(
        error("data\ndata: {\"error\":1}\ndata\n\n"),
        "a field may have no colon"
    );
    assert!(
        error("data: {\"error\":1}"),
        "the end of the stream ends an event"
    );
    assert!(!error(": data: {\"error\":1}\n\n"), "a comment is no data");
    assert!(
        !error("datum: {\"error\":1}\n\n"),
        "another field is no data"
    );
    assert!(
        !error(" data: {\"error\":1}\n\n"),
        "a field begins its line"
    );
}

#[test]
fn event_that_cannot_be_read_is_judged_by_its_first_key() {
    for data in [
        r#"{"error":{"message":"cut"#,
        r#"{ "error" : NaN}"#,
        r#"{"error":"#,
    ] {
        let error = verdict(format!("data: {data}\n\n")).error.unwrap();
        assert_eq!(
            error,
            ErrorEvent {
                json: None,
                status: None
            },
            "{data}"
        );
    }
    for data in [
        "",
        "{",
        "not json",
        r#"{"choices":[{"text":"cut"#,
        r#"{"a":NaN,"error":1}"#,
    ] {
        assert_eq!(verdict(format!("data: {data}\n\n")).error, None, "{data}");
    }
}

#[test]
fn long_events_take_bounded_memory() {
    let long = "x".repeat(limits::SSE_LINE_BYTES_MAX);
    for (stream, is_error) in [
        (
            format!("data: {{\"error\":\"{long}\"}}\n\ndata: [DONE]\n\n"),
            true,
        ),
        (
            format!("data: {{\"prompt\":\"{long}\"}}\n\ndata: [DONE]\n\n"),
            false,
        ),
        (
            format!(
                "data: {{}}{}\ndata: {long}\n\ndata: [DONE]\n\n",
                long.replace('x', " ")
            ),
            false,
        ),
    ] {
        let mut scan = EventScan::new();
        for piece in stream.as_bytes().chunks(4096) {
            scan.feed(piece);
            assert!(scan.data.len() <= limits::SSE_LINE_BYTES_MAX);
        }
        let verdict = scan.finish();
        assert!(verdict.done);
        assert_eq!(verdict.error.is_some(), is_error);
    }
}

fn stream() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just("data: ".to_owned()),
        Just("data".to_owned()),
        Just(r#"{"error":{"code":429}}"#.to_owned()),
        Just(r#"{"choices":[{"finish_reason":"abort"}]}"#.to_owned()),
        Just("[DONE]".to_owned()),
        "\n|\r|\r\n|\n\n|\r\r|\r\n\r\n",
        "[ :{}\"\\[\\]a-z\u{feff}]{0,6}",
    ];
    prop::collection::vec(piece, 0..20).prop_map(|pieces| pieces.concat().into_bytes())
}

proptest! {
    #[test]
    fn any_stream_is_read_alike_in_pieces_and_whole(step: u8, stream in stream()) {
        check_sse(&[&[step], &stream[..]].concat());
    }
}
