use proptest::prelude::*;

use crate::http1::{HeadError, HeadScan, check_request_head, check_response_head};
use crate::limits::{HEAD_BYTES_MAX, METHOD_BYTES_MAX, TARGET_BYTES_MAX};

const REQUEST: &[u8] = b"POST /v1/completions HTTP/1.1\r\nHost: a\r\nX: \t\xFF y\t\r\nZ:\r\n\r\n";
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n";

/// The answer for all of `data` at once; other cuts are checked to give the same.
fn request(data: &[u8]) -> Result<Option<usize>, HeadError> {
    check_request_head(data);
    HeadScan::request().find(data)
}

fn response(data: &[u8]) -> Result<Option<usize>, HeadError> {
    check_response_head(data);
    HeadScan::response().find(data)
}

#[test]
fn a_head_ends_behind_its_empty_line() {
    let with_body = [REQUEST, b"body\0\n"].concat();

    assert_eq!(request(&with_body), Ok(Some(REQUEST.len())));
    assert_eq!(response(RESPONSE), Ok(Some(RESPONSE.len())));
}

#[test]
fn a_truncated_head_has_no_end_wherever_it_is_cut() {
    for seen in 0..REQUEST.len() {
        assert_eq!(request(&REQUEST[..seen]), Ok(None), "{seen}");
    }
    for seen in 0..RESPONSE.len() {
        assert_eq!(response(&RESPONSE[..seen]), Ok(None), "{seen}");
    }
}

#[test]
fn the_answer_is_the_same_for_any_two_cuts() {
    for first in 0..=REQUEST.len() {
        for second in first..=REQUEST.len() {
            let mut scan = HeadScan::request();

            for seen in [first, second] {
                let is_whole = seen == REQUEST.len();
                assert_eq!(scan.find(&REQUEST[..seen]), Ok(is_whole.then_some(seen)));
            }
            assert_eq!(scan.find(REQUEST), Ok(Some(REQUEST.len())));
        }
    }
}

#[test]
fn one_empty_line_before_a_request_is_part_of_it() {
    let data = [b"\r\n", REQUEST].concat();

    assert_eq!(request(&data), Ok(Some(data.len())));
}

#[test]
fn a_second_empty_line_before_a_request_is_refused() {
    assert_eq!(request(b"\r\n\r"), Err(HeadError::EmptyLines));
    assert_eq!(request(b"\r\n\n"), Err(HeadError::EmptyLines));
    // The signature of the second version of the PROXY protocol.
    assert_eq!(request(b"\r\n\r\n\0\r\nQUIT\n"), Err(HeadError::EmptyLines));
}

#[test]
fn an_empty_line_before_a_response_is_refused() {
    assert_eq!(response(b"\r"), Err(HeadError::StatusLine));
}

#[test]
fn what_no_method_begins_with_is_refused_at_its_first_byte() {
    for byte in [0x16, 0x80, 0x05, 0, b' ', b'\t', b':', b'{', b'"', b'/'] {
        assert_eq!(request(&[byte]), Err(HeadError::Method), "{byte:#x}");
    }
    assert_eq!(request(b"\n"), Err(HeadError::BareLf));
    assert_eq!(request(b"\rG"), Err(HeadError::BareCr));
}

#[test]
fn a_control_byte_is_refused_where_it_stands() {
    for at in 0..REQUEST.len() {
        for control in [0, 1, 0x0B, 0x1B, 0x7F] {
            let mut data = REQUEST[..at].to_vec();
            data.push(control);

            assert!(request(&data).is_err(), "{control:#x} at {at}");
        }
    }
    assert_eq!(response(b"HTTP/1.1 200 O\0"), Err(HeadError::ControlByte));
}

#[test]
fn a_bare_lf_is_refused_wherever_it_stands() {
    for at in 0..REQUEST.len() {
        if at > 0 && REQUEST[at - 1] == b'\r' {
            continue;
        }
        let data = [&REQUEST[..at], b"\n"].concat();
        assert!(request(&data).is_err(), "at {at}");
    }
    assert_eq!(request(b"GET / HTTP/1.1\r\nA: b\n"), Err(HeadError::BareLf));
    assert_eq!(request(b"GET / HTTP/1.1\n"), Err(HeadError::BareLf));
    assert_eq!(request(b"GET / HTTP/1.1\r\n\n"), Err(HeadError::BareLf));
    assert_eq!(response(b"HTTP/1.1 200 OK\n"), Err(HeadError::BareLf));
}

#[test]
fn a_bare_cr_is_refused_wherever_it_stands() {
    for at in 0..REQUEST.len() {
        let data = [&REQUEST[..at], b"\rx"].concat();
        assert!(request(&data).is_err(), "at {at}");
    }
    assert_eq!(
        request(b"GET / HTTP/1.1\r\nA: b\rc"),
        Err(HeadError::BareCr)
    );
    assert_eq!(request(b"GET / HTTP/1.1\r\r"), Err(HeadError::BareCr));
    assert_eq!(response(b"HTTP/1.1 200 OK\r\n\r\r"), Err(HeadError::BareCr));
}

#[test]
fn a_folded_field_is_refused_at_its_first_byte() {
    assert_eq!(
        request(b"GET / HTTP/1.1\r\nA: b\r\n "),
        Err(HeadError::FoldedField)
    );
    assert_eq!(
        request(b"GET / HTTP/1.1\r\n\t"),
        Err(HeadError::FoldedField)
    );
    assert_eq!(
        response(b"HTTP/1.1 200 OK\r\nA: b\r\n\t"),
        Err(HeadError::FoldedField)
    );
}

#[test]
fn a_nameless_field_is_refused_at_its_first_byte() {
    assert_eq!(
        request(b"GET / HTTP/1.1\r\n:"),
        Err(HeadError::EmptyFieldName)
    );
    assert_eq!(request(b"GET / HTTP/1.1\r\n("), Err(HeadError::FieldLine));
}

#[test]
fn an_endless_method_is_refused_as_soon_as_it_is_too_long() {
    let longest = vec![b'A'; METHOD_BYTES_MAX];

    assert_eq!(request(&longest), Ok(None));
    assert_eq!(request(&[&longest[..], b" "].concat()), Ok(None));
    assert_eq!(
        request(&[&longest[..], b"A"].concat()),
        Err(HeadError::Method)
    );
}

#[test]
fn an_over_long_target_is_refused_before_its_end() {
    let longest = [b"GET /", vec![b'a'; TARGET_BYTES_MAX - 1].as_slice()].concat();

    assert_eq!(request(&longest), Ok(None));
    assert_eq!(request(&[&longest[..], b" "].concat()), Ok(None));
    assert_eq!(
        request(&[&longest[..], b"a"].concat()),
        Err(HeadError::TargetTooLong)
    );
}

#[test]
fn a_request_line_without_version_is_refused_at_its_end() {
    for line in [
        "GET\r",
        "GET /\r",
        "GET / \r\nX",
        "GET  ",
        "GET /  ",
        "GET\t",
        "GET /\t",
    ] {
        let answer = request(line.as_bytes());
        assert!(
            answer.is_err() || line == "GET / \r\nX",
            "{line:?}: {answer:?}"
        );
    }
    assert_eq!(request(b"GET / HTTP/1.1 "), Err(HeadError::RequestLine));
    assert_eq!(request(b"GET / HTTP/1.10"), Err(HeadError::Version));
}

#[test]
fn an_endless_head_is_refused_at_the_limit() {
    let mut data = b"GET / HTTP/1.1\r\nA: ".to_vec();
    data.resize(HEAD_BYTES_MAX - 4, b'a');
    let fitting = [&data[..], b"\r\n\r\n"].concat();
    let too_long = [&data[..], b"a\r\n\r\n"].concat();

    assert_eq!(request(&fitting), Ok(Some(HEAD_BYTES_MAX)));
    assert_eq!(request(&fitting[..HEAD_BYTES_MAX - 1]), Ok(None));
    assert_eq!(
        request(&too_long[..HEAD_BYTES_MAX]),
        Err(HeadError::TooLarge)
    );
    assert_eq!(request(&too_long), Err(HeadError::TooLarge));
}

#[test]
fn a_limit_is_met_at_the_same_byte_whatever_stands_behind_it() {
    let mut data = b"GET / HTTP/1.1\r\nA: ".to_vec();
    data.resize(HEAD_BYTES_MAX, b'a');
    data.push(0);

    assert_eq!(request(&data), Err(HeadError::TooLarge));
}

#[test]
fn what_is_no_status_line_is_refused_at_once() {
    for line in ["G", "HTTP/2", "http/", "HTTP/1\r", " HTTP", "ICY 200 OK"] {
        assert_eq!(
            response(line.as_bytes()),
            Err(HeadError::StatusLine),
            "{line:?}"
        );
    }
}

/// Bytes that look like heads more often than chance would have it.
fn head_like() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        Just(b"\r\n".to_vec()),
        Just(b"\r\n\r\n".to_vec()),
        Just(b"GET / HTTP/1.1\r\n".to_vec()),
        Just(b"HTTP/1.1 200 OK\r\n".to_vec()),
        Just(b"Host: a\r\n".to_vec()),
        Just(b"Content-Length: 5\r\n".to_vec()),
        Just(b"Transfer-Encoding: chunked\r\n".to_vec()),
        Just(b"Connection: close, x\r\n".to_vec()),
        Just(b"X: y\r\n".to_vec()),
        Just(b"http://a/b?c".to_vec()),
        Just(b": \t".to_vec()),
        Just(b"\r".to_vec()),
        Just(b"\n".to_vec()),
        "[A-Z]{1,9} /[a-z?#%]{0,9} HTTP/[0-9]\\.[0-9]\r\n".prop_map(String::into_bytes),
        "[A-Za-z-]{1,18}: ?[ -~\t]{0,20}\r\n".prop_map(String::into_bytes),
        proptest::collection::vec(any::<u8>(), 0..4),
    ];
    proptest::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn request_heads_keep_their_property(data in head_like()) {
        check_request_head(&data);
        check_request_head(&[b"POST /v1/a HTTP/1.1\r\nHost: a\r\n", &data[..], b"\r\n"].concat());
    }

    #[test]
    fn response_heads_keep_their_property(data in head_like()) {
        check_response_head(&data);
        check_response_head(&[b"HTTP/1.1 200 OK\r\n", &data[..], b"\r\n"].concat());
    }
}
