//! What the tokenizer lets pass and we do not, and why it refused what it refused.
//!
//! httparse takes LF for a line end and names faults by the state it was in. The first is closed by
//! [`check_lines`]; for the second, a head that is refused anyway is read once more, slowly.

use super::bytes::{is_all_token, is_ows, is_token, is_value};
use super::fields::Fields;
use super::head_error::HeadError;

/// Checks that every line of the tokenized `start` ends with CRLF and that it begins with no empty
/// line. `fields` are those of `head`, which ends with `start`.
///
/// A line ends either before a field's name or before the empty line, and neither a value nor a
/// start line can hold a CR: so two bytes before each name and four at the end tell it all.
pub(super) fn check_lines(start: &[u8], head: &[u8], fields: &Fields) -> Result<(), HeadError> {
    if !start.first().copied().is_some_and(is_token) {
        return Err(HeadError::EmptyLines);
    }
    let ends_with_crlf = |(name, _): &(super::Span, super::Span)| {
        head.get(..name.start())
            .is_some_and(|before| before.ends_with(b"\r\n"))
    };
    if start.ends_with(b"\r\n\r\n") && fields.spans().iter().all(ends_with_crlf) {
        Ok(())
    } else {
        Err(HeadError::BareLf)
    }
}

/// Why httparse refused the request head that begins with `start`.
pub(super) fn of_request(start: &[u8], error: httparse::Error) -> HeadError {
    if let Err(error) = lines(start) {
        return error;
    }
    let line = start
        .split(|byte| *byte == b'\r')
        .next()
        .unwrap_or_default();
    let mut parts = line.split(|byte| *byte == b' ');
    let (method, target, version) = (parts.next(), parts.next(), parts.next());
    match error {
        httparse::Error::TooManyHeaders => HeadError::TooManyFields,
        httparse::Error::HeaderName | httparse::Error::HeaderValue => of_fields(start),
        _ if !method.is_some_and(is_all_token) => HeadError::Method,
        _ if parts.next().is_some() || target.is_none_or(<[u8]>::is_empty) => {
            HeadError::RequestLine
        }
        _ if target.is_some_and(|target| !target.is_ascii()) => HeadError::TargetByte,
        _ => version.map_or(HeadError::RequestLine, of_version),
    }
}

/// Why httparse refused the response head that begins with `start`.
pub(super) fn of_response(start: &[u8], error: httparse::Error) -> HeadError {
    if let Err(error) = lines(start) {
        return error;
    }
    match error {
        httparse::Error::TooManyHeaders => HeadError::TooManyFields,
        httparse::Error::HeaderName | httparse::Error::HeaderValue => of_fields(start),
        httparse::Error::NewLine
        | httparse::Error::Status
        | httparse::Error::Token
        | httparse::Error::Version => HeadError::StatusLine,
    }
}

/// RFC 9112 §2.3: `HTTP/` DIGIT `.` DIGIT is a version, be it one we do not speak. So that who
/// sends `HTTP/3` learns what is wrong, the minor number may be missing.
fn of_version(text: &[u8]) -> HeadError {
    match text {
        [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9']
        | [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => {
            HeadError::UnsupportedVersion
        }
        _ => HeadError::Version,
    }
}

/// The first byte of `start` that no head may have.
fn lines(start: &[u8]) -> Result<(), HeadError> {
    let mut previous = 0;
    for &byte in start {
        match (previous, byte) {
            (b'\r', b'\n') => {}
            (b'\r', _) => return Err(HeadError::BareCr),
            (_, b'\n') => return Err(HeadError::BareLf),
            (_, b'\r') => {}
            (_, byte) if !is_value(byte) => return Err(HeadError::ControlByte),
            _ => {}
        }
        previous = byte;
    }
    Ok(())
}

/// The first fault of the field lines of `start`.
fn of_fields(start: &[u8]) -> HeadError {
    for line in start.split(|byte| *byte == b'\n').skip(1) {
        let name = match line {
            [first, ..] if is_ows(*first) => return HeadError::FoldedField,
            [b':', ..] => return HeadError::EmptyFieldName,
            [b'\r'] => break,
            _ => line.split(|byte| *byte == b':').next().unwrap_or_default(),
        };
        match name {
            [name @ .., last] if is_ows(*last) && is_all_token(name.trim_ascii_end()) => {
                return HeadError::SpaceBeforeColon;
            }
            _ if name.len() == line.len() || !is_all_token(name) => return HeadError::FieldLine,
            _ => {}
        }
    }
    HeadError::FieldLine
}
