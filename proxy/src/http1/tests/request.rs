use super::{parse, post, refusal, to};
use crate::http1::{HeadError, HeadScan, Method, RequestBody, RequestHead, Version};
use crate::limits::{HEAD_BYTES_MAX, METHOD_BYTES_MAX};

#[test]
fn a_request_is_read_field_by_field() {
    let text = "POST /v1/completions?a=b HTTP/1.1\r\nHost: a:8000\r\nX-A:  b\tc \t\r\nx-a:\r\n\
        Content-Length: 12\r\n\r\n";
    let buf = text.as_bytes();

    let head = parse(buf).unwrap();

    assert_eq!(head.method, Method::Post);
    assert_eq!(head.target.get(buf), b"/v1/completions?a=b");
    assert_eq!(head.path.get(buf), b"/v1/completions");
    assert_eq!(head.version, Version::Http11);
    assert_eq!(head.body, RequestBody::Length(12));
    assert!(head.keep_alive && !head.expects_continue);
    assert_eq!(head.fields.count(), 4);
    assert_eq!(head.fields.get(buf, "HOST"), Some(&b"a:8000"[..]));
    assert_eq!(head.fields.get(buf, "x-a"), Some(&b"b\tc"[..]));
    assert_eq!(
        head.fields.get_all(buf, "X-a").collect::<Vec<_>>(),
        [&b"b\tc"[..], b""]
    );
    assert_eq!(head.fields.get(buf, "x-b"), None);
    assert_eq!(head.fields.iter(buf).nth(2), Some((&b"x-a"[..], &b""[..])));
}

#[test]
fn places_count_from_the_empty_line_before_the_request() {
    let text = b"\r\nGET /a HTTP/1.1\r\nHost: b\r\n\r\n";

    let head = parse(text).unwrap();

    assert_eq!(head.target.get(text), b"/a");
    assert_eq!(head.fields.get(text, "host"), Some(&b"b"[..]));
}

#[test]
fn a_second_empty_line_before_the_request_is_refused() {
    let head = b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n";

    assert_eq!(refusal(head), HeadError::EmptyLines);
    assert_eq!(RequestHead::parse(head).unwrap_err(), HeadError::EmptyLines);
}

#[test]
fn what_is_not_exactly_one_head_is_refused() {
    let head = post("A: b").into_bytes();
    for seen in 0..head.len() {
        assert!(RequestHead::parse(&head[..seen]).is_err(), "{seen}");
    }
    let behind = [&head[..], b"x"].concat();
    assert_eq!(
        RequestHead::parse(&behind).unwrap_err(),
        HeadError::Incomplete
    );
    let huge = post(&format!("A: {}", "b".repeat(HEAD_BYTES_MAX)));
    assert_eq!(
        RequestHead::parse(huge.as_bytes()).unwrap_err(),
        HeadError::TooLarge
    );
}

#[test]
fn the_parser_alone_refuses_every_bare_lf() {
    let head = post("A: b\r\nC: d").into_bytes();
    let line_ends = head
        .windows(2)
        .enumerate()
        .filter(|(_, pair)| pair == b"\r\n");
    for (at, _) in line_ends {
        let mut damaged = head.clone();
        damaged.remove(at);
        assert!(RequestHead::parse(&damaged).is_err(), "{at}");
    }
    let all = String::from_utf8(head).unwrap().replace("\r\n", "\n");
    assert!(RequestHead::parse(all.as_bytes()).is_err());
}

#[test]
fn methods_are_tokens_in_their_case() {
    for (text, method) in [
        ("GET", Method::Get),
        ("HEAD", Method::Head),
        ("POST", Method::Post),
        ("PUT", Method::Put),
        ("DELETE", Method::Delete),
        ("OPTIONS", Method::Options),
        ("PATCH", Method::Patch),
        ("TRACE", Method::Trace),
        ("get", Method::Other),
        ("Post", Method::Other),
        ("PROPFIND", Method::Other),
        ("M-SEARCH", Method::Other),
        ("A!#$%&'*+.^_`|~", Method::Other),
    ] {
        let head = parse(to(text, "/", "a").as_bytes()).unwrap();
        assert_eq!(head.method, method, "{text}");
    }
    let longest = "A".repeat(METHOD_BYTES_MAX);
    assert!(parse(to(&longest, "/", "a").as_bytes()).is_ok());
}

#[test]
fn a_method_that_is_no_token_is_refused() {
    for method in [
        "", "GE(T", "G/T", "GET:", "\"GET\"", "G\u{e9}T", "{\"a\"", "GET,",
    ] {
        assert_eq!(
            refusal(to(method, "/", "a")),
            HeadError::Method,
            "{method:?}"
        );
    }
    let too_long = "A".repeat(METHOD_BYTES_MAX + 1);
    assert_eq!(refusal(to(&too_long, "/", "a")), HeadError::Method);
    assert_eq!(
        RequestHead::parse(to(&too_long, "/", "a").as_bytes()).unwrap_err(),
        HeadError::Method
    );
}

#[test]
fn request_lines_have_single_spaces() {
    for line in [
        "GET  / HTTP/1.1",
        "GET /  HTTP/1.1",
        "GET / HTTP/1.1 ",
        "GET\t/ HTTP/1.1",
        "GET /\tHTTP/1.1",
        "GET / HTTP/1.1\t",
        "GET /a b HTTP/1.1",
        "GET /",
        "GET",
        "GET /HTTP/1.1",
    ] {
        let error = refusal(format!("{line}\r\nHost: a\r\n\r\n"));
        assert_eq!(error, HeadError::RequestLine, "{line:?}");
        assert_eq!(error.status(), 400);
    }
    assert_eq!(
        refusal(" GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        HeadError::Method
    );
    assert_eq!(refusal("GET / \r\nHost: a\r\n\r\n"), HeadError::Version);
}

#[test]
fn a_malformed_version_is_refused_with_400() {
    for version in [
        "http/1.1",
        "HTTP/1.10",
        "HTTP/01.1",
        "HTTP/1",
        "HTTP/1.",
        "HTTP/1.1x",
        "HTTP/1,1",
        "HTP/1.1",
        "HTTP/11",
        "HTTP/-1.1",
        "HTTP/1.\u{661}",
        "1.1",
        "HTTP",
        "HTTP 1.1",
        "HTTP/ 1.1",
        "Http/1.1",
        "XHTTP/1.1",
        "HTTP/1.1\u{b}",
    ] {
        let status = refusal(format!("GET / {version}\r\nHost: a\r\n\r\n")).status();
        assert_eq!(
            status,
            if version == "HTTP/1" { 505 } else { 400 },
            "{version:?}"
        );
    }
}

#[test]
fn another_version_is_refused_with_505() {
    for version in [
        "HTTP/2.0", "HTTP/0.9", "HTTP/3", "HTTP/3.0", "HTTP/1.2", "HTTP/9.9", "HTTP/2",
    ] {
        let error = refusal(format!("GET / {version}\r\nHost: a\r\n\r\n"));
        assert_eq!(
            (error, error.status()),
            (HeadError::UnsupportedVersion, 505),
            "{version}"
        );
    }
    assert_eq!(
        refusal("PRI * HTTP/2.0\r\n\r\n"),
        HeadError::UnsupportedVersion
    );
}

#[test]
fn a_client_that_speaks_tls_or_the_proxy_protocol_is_refused() {
    let tls = HeadScan::request().find(b"\x16\x03\x01\x02\x00\x01");
    assert_eq!(tls, Err(HeadError::Method));
    let proxy = HeadScan::request().find(b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n");
    assert_eq!(proxy, Err(HeadError::RequestLine));
}
