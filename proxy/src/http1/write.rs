//! Heads to bytes.

/// Digits of the longest `u64`.
const DECIMAL_BYTES_MAX: usize = 20;

/// Writes one head behind what a buffer holds already.
///
/// What is written comes from heads that were parsed or from this program, and can hold neither CR,
/// LF nor NUL; debug builds assert it.
#[derive(Debug)]
#[must_use = "a head is complete only after `finish`"]
pub struct HeadWriter<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> HeadWriter<'a> {
    /// Begins a request of HTTP/1.1.
    pub fn request(out: &'a mut Vec<u8>, method: &str, target: &[u8]) -> Self {
        put(out, method.as_bytes());
        put(out, b" ");
        put(out, target);
        out.extend_from_slice(b" HTTP/1.1\r\n");
        Self { out }
    }

    /// Begins a response of HTTP/1.1 with a status of three digits.
    pub fn status(out: &'a mut Vec<u8>, status: u16, reason: &[u8]) -> Self {
        debug_assert!((100..1000).contains(&status));
        put(out, b"HTTP/1.1 ");
        put_u64(out, u64::from(status));
        put(out, b" ");
        put(out, reason);
        out.extend_from_slice(b"\r\n");
        Self { out }
    }

    /// Writes a field.
    pub fn field(self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        put(self.out, name.as_ref());
        put(self.out, b": ");
        put(self.out, value.as_ref());
        self.out.extend_from_slice(b"\r\n");
        self
    }

    /// Writes a field whose value is a number.
    pub fn field_u64(self, name: impl AsRef<[u8]>, value: u64) -> Self {
        put(self.out, name.as_ref());
        put(self.out, b": ");
        put_u64(self.out, value);
        self.out.extend_from_slice(b"\r\n");
        self
    }

    /// Writes fields, in their order.
    pub fn fields<'f>(self, fields: impl IntoIterator<Item = (&'f [u8], &'f [u8])>) -> Self {
        fields
            .into_iter()
            .fold(self, |head, (name, value)| head.field(name, value))
    }

    /// Writes the empty line: the head is complete.
    pub fn finish(self) {
        self.out.extend_from_slice(b"\r\n");
    }
}

fn put(out: &mut Vec<u8>, part: &[u8]) {
    debug_assert!(!part.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
    out.extend_from_slice(part);
}

fn put_u64(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [b'0'; DECIMAL_BYTES_MAX];
    let mut count = 0;
    for slot in digits.iter_mut().rev() {
        *slot = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
        count += 1;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(DECIMAL_BYTES_MAX - count..).unwrap_or_default());
}

/// The usual reason phrase of `status` (RFC 9110 §15, RFC 6585); empty for one without.
pub const fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        103 => "Early Hints",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        203 => "Non-Authoritative Information",
        204 => "No Content",
        205 => "Reset Content",
        206 => "Partial Content",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        425 => "Too Early",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_head_is_written_line_by_line() {
        let mut out = b"before".to_vec();

        HeadWriter::request(&mut out, "POST", b"/v1/completions?a=b")
            .field("Host", b"node:8000")
            .fields([(&b"X-Empty"[..], &b""[..])])
            .field_u64("Content-Length", u64::MAX)
            .finish();

        let expected = "beforePOST /v1/completions?a=b HTTP/1.1\r\nHost: node:8000\r\nX-Empty: \r\n\
            Content-Length: 18446744073709551615\r\n\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn a_response_head_keeps_the_space_before_an_empty_reason() {
        let mut out = Vec::new();

        HeadWriter::status(&mut out, 299, reason(299).as_bytes())
            .field_u64("Content-Length", 0)
            .finish();

        assert_eq!(out, b"HTTP/1.1 299 \r\nContent-Length: 0\r\n\r\n");
    }

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "assertion failed")]
    fn a_line_end_inside_a_value_is_a_bug() {
        HeadWriter::status(&mut Vec::new(), 200, b"OK")
            .field("a", "b\r\nc: d")
            .finish();
    }
}
