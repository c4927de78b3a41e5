use crate::http1::{
    HeadError, HeadScan, ResponseBody, ResponseHead, Version, check_response_head, end_to_end,
};
use crate::limits::HEAD_FIELDS_MAX;

/// Scans and parses `head`, as a connection does; the parser must not need the scan.
fn parse(head: impl AsRef<[u8]>) -> Result<ResponseHead, HeadError> {
    let head = head.as_ref();
    check_response_head(head);
    let parsed = ResponseHead::parse(head);
    match HeadScan::response().find(head) {
        Ok(found) => {
            assert_eq!(
                found,
                Some(head.len()),
                "{:?}",
                head.escape_ascii().to_string()
            );
            parsed
        }
        Err(error) => {
            assert!(
                parsed.is_err(),
                "{:?}: {error}",
                head.escape_ascii().to_string()
            );
            Err(error)
        }
    }
}

fn with(status: &str, lines: &str) -> Result<ResponseHead, HeadError> {
    parse(format!("HTTP/1.1 {status}\r\n{lines}\r\n\r\n"))
}

fn ok(lines: &str) -> Result<ResponseHead, HeadError> {
    with("200 OK", lines)
}

#[test]
fn a_response_is_read_field_by_field() {
    let text = b"HTTP/1.1 404 Not \xFF Found\r\nserver: uvicorn\r\ncontent-length: 7\r\n\r\n";

    let head = parse(text).unwrap();

    assert_eq!(head.status, 404);
    assert_eq!(head.reason.get(text), b"Not \xFF Found");
    assert_eq!(head.version, Version::Http11);
    assert_eq!(head.fields.get(text, "Server"), Some(&b"uvicorn"[..]));
    assert_eq!(head.body(false), ResponseBody::Length(7));
    assert!(head.keep_alive && !head.is_interim());
    let passed_on: Vec<_> = end_to_end(&head.fields, text)
        .map(|(name, _)| name)
        .collect();
    assert_eq!(passed_on, [b"server"]);
}

#[test]
fn a_reason_may_be_empty_or_missing() {
    for line in ["HTTP/1.1 200 ", "HTTP/1.1 200"] {
        let text = format!("{line}\r\nContent-Length: 0\r\n\r\n");
        let head = parse(&text).unwrap();
        assert_eq!(head.status, 200);
        assert_eq!(head.reason.get(text.as_bytes()), b"");
    }
    assert!(parse("HTTP/1.1 200\r\n\r\n").is_ok());
}

#[test]
fn a_status_that_is_not_three_digits_from_100_to_599_is_refused() {
    for status in ["600 A", "999 A", "099 A", "000 A"] {
        assert_eq!(
            with(status, "A: b").unwrap_err(),
            HeadError::Status,
            "{status}"
        );
    }
    for status in [
        "20 OK", "2000 OK", "+200 OK", "abc", "", " 200 OK", "200OK", "20x OK", "-20 A", "200\tOK",
    ] {
        assert_eq!(
            with(status, "A: b").unwrap_err(),
            HeadError::StatusLine,
            "{status:?}"
        );
    }
}

#[test]
fn another_version_or_no_status_line_is_refused() {
    for line in [
        "HTTP/2.0 200 OK",
        "HTTP/0.9 200 OK",
        "HTTP/1.2 200 OK",
        "HTTP/1.10 200 OK",
        "http/1.1 200 OK",
        "HTTP/1.1  200 OK",
        "HTTP/1.1\t200 OK",
        " HTTP/1.1 200 OK",
        "ICY 200 OK",
        "HTTP/1.1",
        "200 OK",
        "GET / HTTP/1.1",
        "\r\nHTTP/1.1 200 OK",
    ] {
        let error = parse(format!("{line}\r\nA: b\r\n\r\n")).unwrap_err();
        assert_eq!(error, HeadError::StatusLine, "{line:?}");
    }
}

#[test]
fn control_bytes_and_lone_line_ends_are_refused() {
    for (text, error) in [
        (&b"HTTP/1.1 200 O\0K\r\n\r\n"[..], HeadError::ControlByte),
        (
            b"HTTP/1.1 200 OK\r\nA: \x1B[0m\r\n\r\n",
            HeadError::ControlByte,
        ),
        (
            b"HTTP/1.1 200 OK\r\nA: b\x7F\r\n\r\n",
            HeadError::ControlByte,
        ),
        (b"HTTP/1.1 200 OK\nA: b\r\n\r\n", HeadError::BareLf),
        (b"HTTP/1.1 200 OK\r\nA: b\nC: d\r\n\r\n", HeadError::BareLf),
        (b"HTTP/1.1 200 OK\r\nA: b\n\r\n", HeadError::BareLf),
        (b"HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n", HeadError::BareCr),
        (
            b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
            HeadError::FoldedField,
        ),
        (
            b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
            HeadError::SpaceBeforeColon,
        ),
        (b"HTTP/1.1 200 OK\r\n: b\r\n\r\n", HeadError::EmptyFieldName),
        (b"HTTP/1.1 200 OK\r\nA\r\n\r\n", HeadError::FieldLine),
    ] {
        assert_eq!(
            parse(text).unwrap_err(),
            error,
            "{:?}",
            text.escape_ascii().to_string()
        );
    }
}

#[test]
fn what_is_not_exactly_one_head_is_refused() {
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n";
    for seen in 0..head.len() {
        assert!(ResponseHead::parse(&head[..seen]).is_err(), "{seen}");
    }
    let behind = [&head[..], b"ok"].concat();
    assert_eq!(
        ResponseHead::parse(&behind).unwrap_err(),
        HeadError::Incomplete
    );
}

#[test]
fn too_many_fields_are_refused() {
    let lines = |count: usize| vec!["A: b"; count].join("\r\n");

    assert!(ok(&lines(HEAD_FIELDS_MAX)).is_ok());
    assert_eq!(
        ok(&lines(HEAD_FIELDS_MAX + 1)).unwrap_err(),
        HeadError::TooManyFields
    );
}

#[test]
fn a_chunked_body_is_told() {
    let head = ok("transfer-encoding: chunked").unwrap();

    assert_eq!(head.body(false), ResponseBody::Chunked);
    assert!(head.keep_alive);
}

#[test]
fn a_body_without_framing_lasts_until_the_connection_ends() {
    let head = ok("Connection: keep-alive").unwrap();

    assert_eq!(head.body(false), ResponseBody::UntilClose);
    assert!(!head.keep_alive);
}

#[test]
fn doubtful_framing_is_refused() {
    for (lines, error) in [
        (
            "Content-Length: 5\r\nContent-Length: 5",
            HeadError::RepeatedContentLength,
        ),
        (
            "Content-Length: 5\r\nContent-Length: 6",
            HeadError::RepeatedContentLength,
        ),
        ("Content-Length: 5, 5", HeadError::ContentLength),
        ("Content-Length: +5", HeadError::ContentLength),
        (
            "Content-Length: 18446744073709551616",
            HeadError::ContentLength,
        ),
        ("Content-Length:", HeadError::ContentLength),
        (
            "Transfer-Encoding: chunked\r\nContent-Length: 5",
            HeadError::TransferEncodingWithContentLength,
        ),
        (
            "Content-Length: 5\r\nTransfer-Encoding: chunked",
            HeadError::TransferEncodingWithContentLength,
        ),
        (
            "Transfer-Encoding: gzip, chunked",
            HeadError::TransferEncoding,
        ),
        ("Transfer-Encoding: identity", HeadError::TransferEncoding),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            HeadError::RepeatedTransferEncoding,
        ),
        ("Content_Length: 5", HeadError::FramingLookalike),
    ] {
        assert_eq!(ok(lines).unwrap_err(), error, "{lines}");
        // Whether or not the response would have a body.
        assert_eq!(
            with("304 Not Modified", lines).unwrap_err(),
            error,
            "{lines}"
        );
    }
}

#[test]
fn transfer_encoding_in_http10_is_refused() {
    let error = parse("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap_err();
    assert_eq!(error, HeadError::TransferEncodingInHttp10);
}

#[test]
fn an_answer_to_head_has_no_body_whatever_its_fields_say() {
    for lines in ["Content-Length: 5", "Transfer-Encoding: chunked", "A: b"] {
        assert_eq!(ok(lines).unwrap().body(true), ResponseBody::None, "{lines}");
    }
}

#[test]
fn interim_204_and_304_responses_have_no_body() {
    for status in [
        "100 Continue",
        "103 Early Hints",
        "204 No Content",
        "304 Not Modified",
    ] {
        assert_eq!(
            with(status, "A: b").unwrap().body(false),
            ResponseBody::None,
            "{status}"
        );
    }
    for lines in ["Content-Length: 5", "Transfer-Encoding: chunked"] {
        let head = with("304 Not Modified", lines).unwrap();
        assert_eq!(head.body(false), ResponseBody::None);
        assert!(head.keep_alive);
    }
}

#[test]
fn transfer_encoding_where_no_body_can_be_is_refused() {
    for status in ["100 Continue", "101 Switching Protocols", "204 No Content"] {
        let error = with(status, "Transfer-Encoding: chunked").unwrap_err();
        assert_eq!(error, HeadError::BodyForbidden, "{status}");
    }
}

#[test]
fn a_length_where_no_body_can_be_ends_the_connection() {
    let keep_alive = |length: &str| with("204 No Content", length).unwrap().keep_alive;

    assert!(keep_alive("Content-Length: 0"));
    assert!(!keep_alive("Content-Length: 5"));
    assert_eq!(
        with("204 No Content", "Content-Length: 5")
            .unwrap()
            .body(false),
        ResponseBody::None
    );
}

#[test]
fn interim_responses_are_told_from_final_ones() {
    assert!(with("103 Early Hints", "A: b").unwrap().is_interim());
    assert!(!with("200 OK", "A: b").unwrap().is_interim());
}

#[test]
fn a_node_that_closes_is_not_used_again() {
    assert!(
        !ok("Content-Length: 0\r\nConnection: close")
            .unwrap()
            .keep_alive
    );
    let http10 = |line: &str| {
        parse(format!(
            "HTTP/1.0 200 OK\r\nContent-Length: 0{line}\r\n\r\n"
        ))
    };
    assert!(!http10("").unwrap().keep_alive);
    assert!(http10("\r\nConnection: keep-alive").unwrap().keep_alive);
}
