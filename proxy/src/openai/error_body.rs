//! Errors as OpenAI's clients expect them.

/// The body of an error response: one object `error` with `message`, `type`, `param` and `code`, as
/// vLLM sends it. It goes with `Content-Type: application/json`.
pub fn error_body(status: u16, message: &str, param: Option<&str>) -> Vec<u8> {
    let mut body = Vec::with_capacity(96 + message.len());
    body.extend_from_slice(b"{\"error\":{\"message\":");
    push_string(&mut body, message);
    body.extend_from_slice(b",\"type\":");
    push_string(&mut body, error_type(status));
    body.extend_from_slice(b",\"param\":");
    match param {
        Some(param) => push_string(&mut body, param),
        None => body.extend_from_slice(b"null"),
    }
    body.extend_from_slice(b",\"code\":");
    body.extend_from_slice(status.to_string().as_bytes());
    body.extend_from_slice(b"}}");
    body
}

/// The same as an event, for a stream that has begun: all that is left to say it with. No `[DONE]`
/// follows it, so that nobody takes the stream for a complete one.
pub fn error_event(status: u16, message: &str) -> Vec<u8> {
    let mut event = b"data: ".to_vec();
    event.extend_from_slice(&error_body(status, message, None));
    event.extend_from_slice(b"\n\n");
    event
}

/// The `type` of an error. vLLM (0.9 to 0.23) has names for what its handlers raise, and the reason
/// phrase of RFC 9110 for all the rest.
pub const fn error_type(status: u16) -> &'static str {
    match status {
        400 => "BadRequestError",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "NotFoundError",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        411 => "Length Required",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        501 => "NotImplementedError",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        402..=499 => "BadRequestError",
        _ => "InternalServerError",
    }
}

/// Writes `text` as a JSON string (RFC 8259 §7): quotes, backslashes and control characters escaped,
/// all else as it is.
fn push_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    for &byte in text.as_bytes() {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0..0x20 => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(body: Vec<u8>) -> String {
        String::from_utf8(body).unwrap()
    }

    #[test]
    fn an_error_looks_as_vllm_writes_it() {
        insta::assert_snapshot!(
            text(error_body(404, "The model `x` does not exist.", Some("model"))),
            @r#"{"error":{"message":"The model `x` does not exist.","type":"NotFoundError","param":"model","code":404}}"#
        );
        insta::assert_snapshot!(
            text(error_body(503, "No prefill node is ready.", None)),
            @r#"{"error":{"message":"No prefill node is ready.","type":"Service Unavailable","param":null,"code":503}}"#
        );
    }

    #[test]
    fn an_error_within_a_stream_is_one_event_without_done() {
        insta::assert_snapshot!(
            format!("{:?}", text(error_event(502, "The decode node closed the stream."))),
            @r#""data: {\"error\":{\"message\":\"The decode node closed the stream.\",\"type\":\"Bad Gateway\",\"param\":null,\"code\":502}}\n\n""#
        );
    }

    #[test]
    fn every_error_status_has_a_type() {
        assert!((400..600).all(|status| !error_type(status).is_empty()));
        assert_eq!(error_type(418), "BadRequestError");
        assert_eq!(error_type(599), "InternalServerError");
    }

    proptest! {
        #[test]
        fn any_message_survives(message: String, param: Option<String>, status in 400_u16..600) {
            let body = error_body(status, &message, param.as_deref());

            let read: serde_json::Value = serde_json::from_slice(&body).unwrap();
            prop_assert_eq!(&read["error"]["message"], &message);
            prop_assert_eq!(read["error"]["param"].as_str(), param.as_deref());
            prop_assert_eq!(&read["error"]["code"], status);
            prop_assert!(!body.contains(&b'\n'), "an event must be one line");
        }
    }
}
