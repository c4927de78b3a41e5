use crate::http1::{
    HeadError, HeadScan, Method, RequestBody, RequestHead, Version, check_request_head, end_to_end,
};
use crate::limits::{CONNECTION_OPTIONS_MAX, HEAD_BYTES_MAX, HEAD_FIELDS_MAX, METHOD_BYTES_MAX};

/// Scans and parses `head`, as a connection does; the parser must not need the scan.
fn parse(head: &[u8]) -> Result<RequestHead, HeadError> {
    check_request_head(head);
    let parsed = RequestHead::parse(head);
    match HeadScan::request().find(head) {
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

/// The status of the refusal of a whole head.
fn refusal(head: impl AsRef<[u8]>) -> HeadError {
    let head = head.as_ref();
    match parse(head) {
        Err(error) => error,
        Ok(accepted) => panic!("{:?} gave {accepted:?}", head.escape_ascii().to_string()),
    }
}

/// A `POST` of HTTP/1.1 with these field lines, without their last line end.
fn post(lines: &str) -> String {
    format!("POST /v1/completions HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n")
}

fn accepted(lines: &str) -> RequestHead {
    parse(post(lines).as_bytes()).unwrap()
}

/// A request of HTTP/1.1 for this target.
fn to(method: &str, target: &str, host: &str) -> String {
    format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n\r\n")
}

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

#[test]
fn an_origin_form_target_is_path_and_query() {
    for (target, path) in [
        ("/", "/"),
        ("//", "//"),
        ("/a/../b", "/a/../b"),
        ("/a?b?c", "/a"),
        ("/?", "/"),
        ("/%2F%aa", "/%2F%aa"),
        ("/a;b=c,d:e@f!$&'()*+-._~[]", "/a;b=c,d:e@f!$&'()*+-._~[]"),
        ("//b/c?d", "//b/c"),
    ] {
        let text = to("GET", target, "a");
        let head = parse(text.as_bytes()).unwrap();
        assert_eq!(head.target.get(text.as_bytes()), target.as_bytes());
        assert_eq!(head.path.get(text.as_bytes()), path.as_bytes());
    }
}

#[test]
fn a_target_byte_that_must_be_encoded_is_refused() {
    for target in [
        "/a#b",
        "/#",
        "/\"",
        "/<a>",
        "/a\\b",
        "/^",
        "/`",
        "/{a}",
        "/|",
        "/%",
        "/%4",
        "/%zz",
        "/%%20",
        "/\u{e4}",
        "http://a/#b",
    ] {
        assert_eq!(
            refusal(to("GET", target, "a")),
            HeadError::TargetByte,
            "{target}"
        );
    }
    let raw = b"GET /\xFF HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(refusal(raw), HeadError::TargetByte);
    assert_eq!(RequestHead::parse(raw).unwrap_err(), HeadError::TargetByte);
    assert_eq!(refusal(to("GET", "/\0", "a")), HeadError::ControlByte);
    assert_eq!(refusal(to("GET", "/\u{7f}", "a")), HeadError::ControlByte);
}

#[test]
fn an_over_long_target_is_refused_with_414() {
    let target = format!("/{}", "a".repeat(crate::limits::TARGET_BYTES_MAX));

    assert_eq!(refusal(to("GET", &target, "a")).status(), 414);
    let error = RequestHead::parse(to("GET", &target, "a").as_bytes()).unwrap_err();
    assert_eq!(error, HeadError::TargetTooLong);
}

#[test]
fn an_absolute_form_target_is_reduced_to_its_path() {
    for (target, sent, path) in [
        ("http://a/b?c", "/b?c", "/b"),
        ("HTTP://A/", "/", "/"),
        ("https://a:443/b", "/b", "/b"),
        ("http://a", "/", "/"),
        ("http://a:80", "/", "/"),
        ("http://a:/?b", "/?b", "/"),
    ] {
        let text = to("POST", target, "a");
        let head = parse(text.as_bytes()).unwrap();
        assert_eq!(
            head.target.get(text.as_bytes()),
            sent.as_bytes(),
            "{target}"
        );
        assert_eq!(head.path.get(text.as_bytes()), path.as_bytes(), "{target}");
    }
}

#[test]
fn a_malformed_absolute_form_is_refused() {
    for target in [
        "http://",
        "http:///a",
        "http:/a",
        "http:a",
        "ftp://a/",
        "httpx://a/",
        "://a",
        "http://u@a/",
        "http://u:p@a/",
        "http://a:b/",
        "http://a,b/",
        "http://a?b",
        "http://[::1/",
        "http://:80/",
        "a",
        "a/b",
        "a:80",
        "?a",
        "*a",
        "ws://a/",
    ] {
        assert_eq!(
            refusal(to("GET", target, "a")),
            HeadError::TargetForm,
            "{target}"
        );
    }
}

#[test]
fn host_that_contradicts_the_target_is_refused() {
    for (target, host) in [
        ("http://a/", "b"),
        ("http://a:81/", "a"),
        ("http://a/", "a:443"),
        ("https://a/", "a:80"),
    ] {
        assert_eq!(
            refusal(to("GET", target, host)),
            HeadError::HostContradictsTarget,
            "{target}"
        );
    }
    let http10 = "GET http://a/ HTTP/1.0\r\nHost: b\r\n\r\n";
    assert_eq!(refusal(http10), HeadError::HostContradictsTarget);
}

#[test]
fn host_that_agrees_with_the_target_in_other_words_is_accepted() {
    for (target, host) in [
        ("http://A.b/", "a.B"),
        ("http://a/", "a:80"),
        ("https://a:443/", "a"),
        ("http://[::1]/", "[::1]"),
    ] {
        assert!(
            parse(to("GET", target, host).as_bytes()).is_ok(),
            "{target} {host}"
        );
    }
    assert!(parse(b"GET http://a/ HTTP/1.0\r\n\r\n").is_ok());
}

#[test]
fn the_asterisk_is_a_target_of_options_only() {
    let text = to("OPTIONS", "*", "a");

    assert_eq!(
        parse(text.as_bytes()).unwrap().target.get(text.as_bytes()),
        b"*"
    );
    assert_eq!(refusal(to("GET", "*", "a")), HeadError::TargetForm);
    assert_eq!(refusal(to("OPTIONS", "**", "a")), HeadError::TargetForm);
}

#[test]
fn an_authority_is_a_target_of_connect_only() {
    let text = to("CONNECT", "a:443", "a:443");

    assert_eq!(
        parse(text.as_bytes()).unwrap().target.get(text.as_bytes()),
        b"a:443"
    );
    for target in ["/", "a", "http://a:443/", "*", "u@a:443", ":443", "a:443/b"] {
        assert_eq!(
            refusal(to("CONNECT", target, "a")),
            HeadError::TargetForm,
            "{target}"
        );
    }
    assert_eq!(refusal(to("GET", "a:443", "a:443")), HeadError::TargetForm);
}

#[test]
fn http11_without_host_is_refused() {
    assert_eq!(refusal("GET / HTTP/1.1\r\n\r\n"), HeadError::MissingHost);
    assert_eq!(
        refusal("GET http://a/ HTTP/1.1\r\n\r\n"),
        HeadError::MissingHost
    );
    assert!(parse(b"GET / HTTP/1.0\r\n\r\n").is_ok());
}

#[test]
fn a_second_host_is_refused_in_any_version() {
    for version in ["HTTP/1.0", "HTTP/1.1"] {
        let head = format!("GET / {version}\r\nHost: a\r\nhOST: a\r\n\r\n");
        assert_eq!(refusal(head), HeadError::RepeatedHost);
    }
}

#[test]
fn a_malformed_host_is_refused_in_any_version() {
    for host in [
        "", "a b", "a,b", "a, b", "u@a", "a/b", "a:b", "a:80:80", "http://a", "[::1", "a?b",
        "\u{e4}",
    ] {
        assert_eq!(refusal(to("GET", "/", host)), HeadError::Host, "{host:?}");
        let http10 = format!("GET / HTTP/1.0\r\nHost: {host}\r\n\r\n");
        assert_eq!(refusal(http10), HeadError::Host, "{host:?}");
    }
}

#[test]
fn a_folded_field_is_refused() {
    for lines in [
        "A: b\r\n c",
        "A: b\r\n\tc",
        "A:\r\n b",
        "A: b\r\n ",
        "Transfer-Encoding:\r\n chunked",
    ] {
        assert_eq!(refusal(post(lines)), HeadError::FoldedField, "{lines:?}");
        assert_eq!(
            RequestHead::parse(post(lines).as_bytes()).unwrap_err(),
            HeadError::FoldedField
        );
    }
    assert_eq!(
        refusal("GET / HTTP/1.1\r\n Host: a\r\n\r\n"),
        HeadError::FoldedField
    );
}

#[test]
fn a_space_before_the_colon_is_refused() {
    for lines in [
        "A : b",
        "A\t: b",
        "Content-Length : 5",
        "Transfer-Encoding : chunked",
        "A  \t : b",
    ] {
        assert_eq!(
            refusal(post(lines)),
            HeadError::SpaceBeforeColon,
            "{lines:?}"
        );
    }
}

#[test]
fn a_field_without_a_name_is_refused() {
    for lines in [": b", ":", ":: b"] {
        assert_eq!(refusal(post(lines)), HeadError::EmptyFieldName, "{lines:?}");
        let alone = RequestHead::parse(post(lines).as_bytes()).unwrap_err();
        assert_eq!(alone, HeadError::EmptyFieldName);
    }
}

#[test]
fn a_field_name_that_is_no_token_is_refused() {
    for lines in [
        "A b: c",
        "A(: b",
        "A",
        "A=b",
        "\"A\": b",
        "A/B: c",
        "\u{e4}: b",
        "A@: b",
        "A[]: b",
        "{}",
    ] {
        assert_eq!(refusal(post(lines)), HeadError::FieldLine, "{lines:?}");
    }
}

#[test]
fn a_control_byte_in_a_field_is_refused() {
    for control in (0..0x20_u8)
        .chain([0x7F])
        .filter(|byte| !b"\t\r\n".contains(byte))
    {
        let control = char::from(control);
        for lines in [
            format!("A: b{control}c"),
            format!("A{control}: b"),
            format!("A: {control}"),
        ] {
            assert_eq!(refusal(post(&lines)), HeadError::ControlByte, "{lines:?}");
            let alone = RequestHead::parse(post(&lines).as_bytes()).unwrap_err();
            assert_eq!(alone, HeadError::ControlByte, "{lines:?}");
        }
    }
}

#[test]
fn a_bare_cr_in_a_field_is_refused() {
    for lines in [
        "A: b\rc",
        "A: \rb",
        "A\r: b",
        "A: b\r",
        "A: b\r\rc",
        "A: b\rTransfer-Encoding: chunked",
    ] {
        assert_eq!(refusal(post(lines)), HeadError::BareCr, "{lines:?}");
        assert_eq!(
            RequestHead::parse(post(lines).as_bytes()).unwrap_err(),
            HeadError::BareCr
        );
    }
}

#[test]
fn a_bare_lf_in_a_field_is_refused() {
    for lines in [
        "A: b\nC: d",
        "A: b\n",
        "A\n: b",
        "A: b\n c",
        "A: b\nTransfer-Encoding: chunked",
    ] {
        assert_eq!(refusal(post(lines)), HeadError::BareLf, "{lines:?}");
        assert!(RequestHead::parse(post(lines).as_bytes()).is_err());
    }
}

#[test]
fn tabs_and_opaque_bytes_in_values_are_accepted() {
    let text = b"GET / HTTP/1.1\r\nHost: a\r\nA: b\tc\x80\xFF\xC3\xA4\r\n\r\n";

    let head = parse(text).unwrap();

    assert_eq!(
        head.fields.get(text, "a"),
        Some(&b"b\tc\x80\xFF\xC3\xA4"[..])
    );
}

#[test]
fn too_many_fields_are_refused_with_431() {
    let fields = |count: usize| post(&vec!["A: b"; count - 1].join("\r\n"));

    assert_eq!(
        parse(fields(HEAD_FIELDS_MAX).as_bytes())
            .unwrap()
            .fields
            .count(),
        HEAD_FIELDS_MAX
    );
    let error = refusal(fields(HEAD_FIELDS_MAX + 1));
    assert_eq!((error, error.status()), (HeadError::TooManyFields, 431));
}

#[test]
fn a_request_without_framing_has_no_body() {
    assert_eq!(accepted("A: b").body, RequestBody::None);
}

#[test]
fn content_length_is_a_decimal_number() {
    for (value, bytes) in [
        ("0", 0),
        ("5", 5),
        ("0005", 5),
        ("18446744073709551615", u64::MAX),
        ("  5  ", 5),
    ] {
        let head = accepted(&format!("content-LENGTH: {value}"));
        assert_eq!(head.body, RequestBody::Length(bytes), "{value}");
    }
}

#[test]
fn content_length_that_is_no_decimal_number_is_refused() {
    for value in [
        "",
        " ",
        "+5",
        "-5",
        "5 5",
        "5, 5",
        "5,5",
        "5,",
        ",5",
        "0x5",
        "5.0",
        "5e0",
        "a",
        "5a",
        "\"5\"",
        "18446744073709551616",
        "99999999999999999999999",
        "\u{665}",
        "5;",
        "_5",
        "1_0",
        "5\t",
        "\t5",
    ] {
        let error = refusal(post(&format!("Content-Length: {value}")));
        assert_eq!(
            (error, error.status()),
            (HeadError::ContentLength, 400),
            "{value:?}"
        );
    }
}

#[test]
fn second_content_length_is_refused() {
    for lines in [
        "Content-Length: 5\r\nContent-Length: 5",
        "Content-Length: 5\r\nA: b\r\ncontent-length: 6",
    ] {
        assert_eq!(refusal(post(lines)), HeadError::RepeatedContentLength);
    }
}

#[test]
fn transfer_encoding_is_chunked_in_any_case() {
    for value in ["chunked", "Chunked", "CHUNKED", "  chunked "] {
        let head = accepted(&format!("transfer-encoding: {value}"));
        assert_eq!(head.body, RequestBody::Chunked, "{value}");
    }
}

#[test]
fn any_other_transfer_encoding_is_refused() {
    for value in [
        "",
        "xchunked",
        "chunkedx",
        "chunked, chunked",
        "chunked,",
        ",chunked",
        "identity, chunked",
        "gzip, chunked",
        "chunked, identity",
        "identity",
        "gzip",
        "chunked;q=1",
        "chunked ;a=b",
        "\"chunked\"",
        "'chunked'",
        "\tchunked",
        "chunked\t",
        " \t chunked",
        "chun ked",
        "chunked chunked",
        "\u{ff43}hunked",
        "chunk\u{212a}ed",
        "x: chunked",
        ": chunked",
        "chunked\u{a0}",
        "cow",
        "trailers",
    ] {
        let error = refusal(post(&format!("Transfer-Encoding: {value}")));
        assert_eq!(
            (error, error.status()),
            (HeadError::TransferEncoding, 400),
            "{value:?}"
        );
    }
    for value in ["\u{b}chunked", "chunked\u{b}", "chunked\0", "chu\u{8}nked"] {
        let error = refusal(post(&format!("Transfer-Encoding: {value}")));
        assert_eq!(error, HeadError::ControlByte, "{value:?}");
    }
}

#[test]
fn second_transfer_encoding_is_refused() {
    let lines = "Transfer-Encoding: chunked\r\nTransfer-encoding: chunked";
    assert_eq!(refusal(post(lines)), HeadError::RepeatedTransferEncoding);
    let lines = "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked";
    assert_eq!(refusal(post(lines)), HeadError::TransferEncoding);
}

#[test]
fn transfer_encoding_beside_content_length_is_refused() {
    for lines in [
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Content-Length: 0\r\nA: b\r\nTransfer-Encoding: chunked",
    ] {
        assert_eq!(
            refusal(post(lines)),
            HeadError::TransferEncodingWithContentLength
        );
    }
}

#[test]
fn transfer_encoding_in_http10_is_refused() {
    let head = "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(refusal(head), HeadError::TransferEncodingInHttp10);
    let head = "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n";
    assert_eq!(refusal(head), HeadError::TransferEncodingInHttp10);
}

#[test]
fn names_that_only_look_like_framing_are_refused() {
    for lines in ["Content_Length: 5", "transfer_encoding: chunked"] {
        assert_eq!(refusal(post(lines)), HeadError::FramingLookalike);
    }
    assert!(parse(post("X_Content_Length: 5\r\nTransfer.Encoding: a").as_bytes()).is_ok());
}

#[test]
fn close_ends_the_connection_wherever_it_stands() {
    for lines in [
        "Connection: close",
        "Connection: CLOSE",
        "Connection: keep-alive, close",
        "Connection: close\r\nConnection: keep-alive",
        "Connection: a ,, close",
    ] {
        assert!(!accepted(lines).keep_alive, "{lines:?}");
    }
    for lines in [
        "A: b",
        "Connection: keep-alive",
        "Connection: closed",
        "Connection:",
        "Close: a",
    ] {
        assert!(accepted(lines).keep_alive, "{lines:?}");
    }
}

#[test]
fn an_option_that_is_no_token_ends_the_connection() {
    for value in ["\"close\"", "keep-alive; timeout=5", "a b", "\u{e4}"] {
        assert!(
            !accepted(&format!("Connection: {value}")).keep_alive,
            "{value:?}"
        );
    }
}

#[test]
fn http10_closes_unless_it_asks_for_keep_alive() {
    let keep_alive = |line: &str| {
        parse(format!("GET / HTTP/1.0\r\n{line}\r\n\r\n").as_bytes())
            .unwrap()
            .keep_alive
    };

    assert!(!keep_alive("A: b"));
    assert!(keep_alive("Connection: Keep-Alive"));
    assert!(!keep_alive("Connection: keep-alive, close"));
}

#[test]
fn too_many_connection_options_are_refused_with_431() {
    let options = |count: usize| format!("Connection: {}", vec!["a"; count].join(","));

    assert!(parse(post(&options(CONNECTION_OPTIONS_MAX)).as_bytes()).is_ok());
    let error = refusal(post(&options(CONNECTION_OPTIONS_MAX + 1)));
    assert_eq!(
        (error, error.status()),
        (HeadError::TooManyConnectionOptions, 431)
    );
}

#[test]
fn a_client_that_expects_continue_is_told_from_one_that_does_not() {
    assert!(accepted("Expect: 100-Continue\r\nContent-Length: 5").expects_continue);
    assert!(accepted("Expect: 100-continue\r\nTransfer-Encoding: chunked").expects_continue);
    assert!(!accepted("Expect: 100-continue\r\nContent-Length: 0").expects_continue);
    assert!(!accepted("Expect: 100-continue").expects_continue);
}

#[test]
fn another_expectation_is_refused_with_417() {
    for value in [
        "200-ok",
        "",
        "100-continue, a",
        "100-continue;a",
        "\"100-continue\"",
        "100",
    ] {
        let error = refusal(post(&format!("Content-Length: 5\r\nExpect: {value}")));
        assert_eq!(
            (error, error.status()),
            (HeadError::Expectation, 417),
            "{value:?}"
        );
    }
    let error = refusal(post(
        "Expect: a\r\nExpect: 100-continue\r\nContent-Length: 5",
    ));
    assert_eq!(error, HeadError::Expectation);
}

#[test]
fn expectations_of_http10_are_ignored() {
    for value in ["100-continue", "a"] {
        let text = format!("POST / HTTP/1.0\r\nContent-Length: 5\r\nExpect: {value}\r\n\r\n");
        assert!(!parse(text.as_bytes()).unwrap().expects_continue);
    }
}

/// The names that are passed on of these field lines.
fn passed_on(lines: &str) -> String {
    let text = post(lines);
    let head = parse(text.as_bytes()).unwrap();
    let names = end_to_end(&head.fields, text.as_bytes()).map(|(name, _)| name);
    String::from_utf8(names.collect::<Vec<_>>().join(&b' ')).unwrap()
}

#[test]
fn hop_by_hop_fields_are_not_passed_on() {
    let lines = "Connection: keep-alive\r\nKeep-Alive: 5\r\nProxy-Connection: a\r\nTE: trailers\r\n\
        Proxy-Authenticate: a\r\nPROXY-AUTHORIZATION: a\r\nTrailer: a\r\nUpgrade: h2c\r\n\
        HTTP2-Settings: a\r\nContent-Length: 5\r\nX-A: b\r\nAuthorization: c";

    assert_eq!(passed_on(lines), "Host X-A Authorization");
    assert_eq!(passed_on("Transfer-Encoding: chunked\r\nA: b"), "Host A");
}

#[test]
fn nominated_fields_are_not_passed_on() {
    let lines = "Connection: X-A, close\r\nX-A: b\r\nx-a: c\r\nX-B: d\r\nconnection: x-c\r\nX-C: e";

    assert_eq!(passed_on(lines), "Host X-B");
}

#[test]
fn a_connection_that_nominates_nothing_passes_all_fields_on() {
    assert_eq!(
        passed_on("Connection: close, ,TE\r\nX-A: b\r\nClosed: c"),
        "Host X-A Closed"
    );
}

#[test]
fn debug_output_of_a_head_holds_no_values() {
    let head = accepted("Authorization: Bearer secret");

    assert!(!format!("{head:?}").contains("secret"));
}
