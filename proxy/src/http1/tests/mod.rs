//! Each rule of this room by its sentence.

mod chunked;
mod chunked_relay;
mod connection;
mod fields;
mod framing;
mod head_scan;
mod request;
mod response;
mod target;

use super::{HeadError, HeadScan, RequestHead, check_request_head};

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
