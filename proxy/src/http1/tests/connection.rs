use super::{accepted, parse, post, refusal};
use crate::http1::{HeadError, end_to_end};
use crate::limits::CONNECTION_OPTIONS_MAX;

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
