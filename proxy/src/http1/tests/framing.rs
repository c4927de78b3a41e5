use super::{accepted, parse, post, refusal};
use crate::http1::{HeadError, RequestBody};

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
