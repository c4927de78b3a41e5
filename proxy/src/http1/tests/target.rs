use super::{parse, refusal, to};
use crate::http1::{HeadError, RequestHead};
use crate::limits::TARGET_BYTES_MAX;

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
    let target = format!("/{}", "a".repeat(TARGET_BYTES_MAX));

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
