//! Where a head ends, while it is still arriving.

use super::bytes::{first_control, is_ows, is_token, is_visible};
use super::head_error::HeadError;
use crate::limits::{HEAD_BYTES_MAX, METHOD_BYTES_MAX, TARGET_BYTES_MAX};

/// Bytes of an HTTP version.
const VERSION_BYTES: usize = b"HTTP/1.1".len();
/// What every status line we can read begins with.
const STATUS_LINE_START: &[u8] = b"HTTP/1.";

/// Resumable search for the end of a head.
///
/// Every byte is looked at once over all calls (a CR at the end of the buffer twice), so a peer
/// that sends byte by byte costs no more than another. What can never become a head is refused as
/// soon as it is visible, and the answer does not depend on how the bytes were cut into reads.
#[derive(Clone, Debug)]
pub struct HeadScan {
    /// Bytes looked at.
    at: usize,
    part: Part,
}

/// The part of the head that the next byte belongs to.
#[derive(Clone, Copy, Debug)]
enum Part {
    /// Before a request line; one empty line may stand here.
    BeforeRequest {
        skipped_line: bool,
    },
    Method {
        start: usize,
    },
    Target {
        start: usize,
    },
    Version {
        start: usize,
    },
    /// The first bytes of a status line, which are the same in all.
    StatusLineStart,
    /// The rest of a status line, or a field line behind its first byte.
    Line,
    /// Before a field line or the empty line.
    LineStart,
    /// The head ended where the scan stands.
    Found,
    Refused(HeadError),
}

/// How far one look at a part came.
enum Look {
    /// The part is over; go on with the next.
    Next,
    /// The buffer is over.
    NeedMore,
}

impl HeadScan {
    /// The search for a request's head. One empty line before it is skipped, as RFC 9112 §2.2 asks;
    /// it counts as part of the head.
    pub const fn request() -> Self {
        Self {
            at: 0,
            part: Part::BeforeRequest {
                skipped_line: false,
            },
        }
    }

    /// The search for a response's head.
    pub const fn response() -> Self {
        Self {
            at: 0,
            part: Part::StatusLineStart,
        }
    }

    /// Looks at the bytes of `buf` behind those of the last call; `buf` begins where the head does
    /// and holds all bytes of the calls before. Answers how many bytes the head has, its empty line
    /// included; `None` while the end is not there yet.
    ///
    /// # Errors
    ///
    /// What makes these bytes no head, or one beyond a limit. A search that has refused goes on
    /// refusing.
    pub fn find(&mut self, buf: &[u8]) -> Result<Option<usize>, HeadError> {
        // Bytes behind the limit are never looked at, so that a large read is judged like small
        // ones.
        let visible = buf.get(..HEAD_BYTES_MAX).unwrap_or(buf);
        let outcome = loop {
            match self.look(visible) {
                Ok(Look::Next) if matches!(self.part, Part::Found) => return Ok(Some(self.at)),
                Ok(Look::Next) => {}
                Ok(Look::NeedMore) if visible.len() < HEAD_BYTES_MAX => return Ok(None),
                Ok(Look::NeedMore) => break HeadError::TooLarge,
                Err(error) => break error,
            }
        };
        self.part = Part::Refused(outcome);
        Err(outcome)
    }

    fn look(&mut self, buf: &[u8]) -> Result<Look, HeadError> {
        let rest = buf.get(self.at..).unwrap_or_default();
        match self.part {
            Part::BeforeRequest { skipped_line } => self.look_before_request(rest, skipped_line),
            Part::Method { start } => self.look_at_method(rest, start),
            Part::Target { start } => self.look_at_target(rest, start),
            Part::Version { start } => self.look_at_version(rest, start),
            Part::StatusLineStart => self.look_at_status_line_start(buf),
            Part::Line => self.look_at_line(rest),
            Part::LineStart => self.look_at_line_start(rest),
            Part::Found => Ok(Look::Next),
            Part::Refused(error) => Err(error),
        }
    }

    fn look_before_request(&mut self, rest: &[u8], skipped_line: bool) -> Result<Look, HeadError> {
        match rest.first() {
            None => Ok(Look::NeedMore),
            Some(b'\r' | b'\n') if skipped_line => Err(HeadError::EmptyLines),
            Some(b'\r') => self.end_line(rest, Part::BeforeRequest { skipped_line: true }),
            Some(b'\n') => Err(HeadError::BareLf),
            // Such as a TLS hello or the SOCKS greeting.
            Some(byte) if !is_token(*byte) => Err(HeadError::Method),
            Some(_) => {
                self.part = Part::Method { start: self.at };
                Ok(Look::Next)
            }
        }
    }

    fn look_at_method(&mut self, rest: &[u8], start: usize) -> Result<Look, HeadError> {
        let over = rest.iter().position(|byte| !is_token(*byte));
        self.at += over.unwrap_or(rest.len());
        if self.at - start > METHOD_BYTES_MAX {
            return Err(HeadError::Method);
        }
        match over.and_then(|over| rest.get(over)) {
            None => Ok(Look::NeedMore),
            Some(b' ') => {
                self.at += 1;
                self.part = Part::Target { start: self.at };
                Ok(Look::Next)
            }
            Some(b'\r' | b'\n' | b'\t') => Err(HeadError::RequestLine),
            Some(_) => Err(HeadError::Method),
        }
    }

    fn look_at_target(&mut self, rest: &[u8], start: usize) -> Result<Look, HeadError> {
        let over = rest.iter().position(|byte| !is_visible(*byte));
        self.at += over.unwrap_or(rest.len());
        if self.at - start > TARGET_BYTES_MAX {
            return Err(HeadError::TargetTooLong);
        }
        match over.and_then(|over| rest.get(over)) {
            None => Ok(Look::NeedMore),
            Some(b' ') if self.at > start => {
                self.at += 1;
                self.part = Part::Version { start: self.at };
                Ok(Look::Next)
            }
            Some(b' ' | b'\r' | b'\n' | b'\t') => Err(HeadError::RequestLine),
            Some(0x80..) => Err(HeadError::TargetByte),
            Some(_) => Err(HeadError::ControlByte),
        }
    }

    fn look_at_version(&mut self, rest: &[u8], start: usize) -> Result<Look, HeadError> {
        let over = rest.iter().position(|byte| !is_visible(*byte));
        self.at += over.unwrap_or(rest.len());
        if self.at - start > VERSION_BYTES {
            return Err(HeadError::Version);
        }
        match over.and_then(|over| rest.get(over..)) {
            None => Ok(Look::NeedMore),
            Some(end @ [b'\r', ..]) => self.end_line(end, Part::LineStart),
            Some([b'\n', ..]) => Err(HeadError::BareLf),
            Some([b' ' | b'\t', ..]) => Err(HeadError::RequestLine),
            Some([0x80..=0xFF, ..]) => Err(HeadError::Version),
            Some(_) => Err(HeadError::ControlByte),
        }
    }

    fn look_at_status_line_start(&mut self, buf: &[u8]) -> Result<Look, HeadError> {
        let seen = buf.get(..STATUS_LINE_START.len()).unwrap_or(buf);
        if !STATUS_LINE_START.starts_with(seen) {
            return Err(HeadError::StatusLine);
        }
        self.at = seen.len();
        if seen.len() < STATUS_LINE_START.len() {
            return Ok(Look::NeedMore);
        }
        self.part = Part::Line;
        Ok(Look::Next)
    }

    fn look_at_line(&mut self, rest: &[u8]) -> Result<Look, HeadError> {
        let Some(control) = first_control(rest) else {
            self.at += rest.len();
            return Ok(Look::NeedMore);
        };
        self.at += control;
        match rest.get(control..) {
            Some([b'\t', ..]) => {
                self.at += 1;
                Ok(Look::Next)
            }
            Some(end @ [b'\r', ..]) => self.end_line(end, Part::LineStart),
            Some([b'\n', ..]) => Err(HeadError::BareLf),
            _ => Err(HeadError::ControlByte),
        }
    }

    fn look_at_line_start(&mut self, rest: &[u8]) -> Result<Look, HeadError> {
        match rest.first() {
            None => Ok(Look::NeedMore),
            Some(b'\r') => self.end_line(rest, Part::Found),
            Some(b'\n') => Err(HeadError::BareLf),
            Some(byte) if is_ows(*byte) => Err(HeadError::FoldedField),
            Some(b':') => Err(HeadError::EmptyFieldName),
            Some(byte) if byte.is_ascii_control() => Err(HeadError::ControlByte),
            Some(byte) if !is_token(*byte) => Err(HeadError::FieldLine),
            Some(_) => {
                self.part = Part::Line;
                Ok(Look::Next)
            }
        }
    }

    /// Passes the CRLF that `rest` begins with; its CR has been seen, its LF may be yet to come.
    fn end_line(&mut self, rest: &[u8], next: Part) -> Result<Look, HeadError> {
        match rest.get(1) {
            None => Ok(Look::NeedMore),
            Some(b'\n') => {
                self.at += 2;
                self.part = next;
                Ok(Look::Next)
            }
            Some(_) => Err(HeadError::BareCr),
        }
    }
}
