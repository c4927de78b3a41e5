//! Did a prefill's event stream end well?
//!
//! vLLM answers 200 before it knows, and says what went wrong in an event:
//! `data: {"error": {…}}`, followed by `data: [DONE]` as if nothing had happened. A decode node that
//! is then asked for the same request waits for KV that never comes, and freezes. So the stream is read
//! to its end, and in doubt it did not end well.

use std::mem;

use memchr::memchr2;

use super::json::{self, Kind, Value};
use super::lax;
use crate::limits;

/// What a prefill's event stream said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// The first error event, if there was one.
    pub error: Option<ErrorEvent>,
    /// A choice finished with `abort`: the node gave up on the request, its KV cache is incomplete.
    pub aborted: bool,
    /// `[DONE]` came, which vLLM sends after the last event, good or bad.
    pub done: bool,
}

impl Verdict {
    /// Whether the prompt was computed to its end, so that a decode may start.
    pub const fn is_success(&self) -> bool {
        self.done && !self.aborted && self.error.is_none()
    }
}

/// An error inside of a stream that began with 200.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorEvent {
    /// The event's data, a JSON object fit for the body of an error response. None when it was too
    /// long to be kept or is not JSON.
    pub json: Option<Vec<u8>>,
    /// The `code` in it, when it is an HTTP status from 400 to 599.
    pub status: Option<u16>,
}

/// Where in a line the scanner stands. Lines that are not `data` need no more than to be told apart.
#[derive(Clone, Copy, Debug)]
enum Line {
    /// At the start of the stream, so many bytes into a byte order mark.
    ByteOrderMark(usize),
    /// So many bytes into `data:`.
    Field(usize),
    /// Behind the colon, where one space means nothing.
    Colon,
    /// In the value of a data field.
    Data,
    /// In a line of another field, or a comment.
    Other,
}

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
const FIELD: &[u8] = b"data:";

/// Reads an event stream (WHATWG HTML, section 9.2) piece by piece, cut anywhere, after its transfer
/// coding has been removed.
///
/// It keeps the data of one event at a time, at most [`limits::SSE_LINE_BYTES_MAX`]. An event that is
/// longer, or not JSON, counts as an error if `error` is the first key in it, as it is in vLLM's, and
/// passes otherwise: the first event of a stream may well echo a long prompt.
#[derive(Debug)]
pub struct EventScan {
    line: Line,
    /// The last byte was a CR: an LF now would belong to it.
    after_cr: bool,
    /// The data of the current event so far, lines joined by LF.
    data: Vec<u8>,
    /// Data lines of the current event so far.
    data_lines: usize,
    /// Some of the current event's data was dropped.
    is_cut: bool,
    verdict: Verdict,
}

impl Default for EventScan {
    fn default() -> Self {
        Self::new()
    }
}

impl EventScan {
    /// A scanner at the start of a stream. Allocates nothing yet.
    pub const fn new() -> Self {
        Self {
            line: Line::ByteOrderMark(0),
            after_cr: false,
            data: Vec::new(),
            data_lines: 0,
            is_cut: false,
            verdict: Verdict {
                error: None,
                aborted: false,
                done: false,
            },
        }
    }

    /// Reads the next piece of the stream.
    pub fn feed(&mut self, piece: &[u8]) {
        let mut rest = piece;
        while let Some((&first, behind)) = rest.split_first() {
            if mem::take(&mut self.after_cr) && first == b'\n' {
                rest = behind;
                continue;
            }
            let Some(end) = memchr2(b'\r', b'\n', rest) else {
                self.in_line(rest);
                return;
            };
            let (line, behind) = rest.split_at_checked(end).unwrap_or_default();
            self.in_line(line);
            self.end_line();
            self.after_cr = behind.first() == Some(&b'\r');
            rest = behind.get(1..).unwrap_or_default();
        }
    }

    /// The verdict at the end of the stream. An event that was cut off by the end is judged as well.
    pub fn finish(mut self) -> Verdict {
        self.end_line();
        self.end_event();
        self.verdict
    }

    /// Reads bytes of one line.
    fn in_line(&mut self, mut bytes: &[u8]) {
        while let Some((&first, rest)) = bytes.split_first() {
            self.line = match self.line {
                Line::ByteOrderMark(read) if BYTE_ORDER_MARK.get(read) == Some(&first) => {
                    bytes = rest;
                    let is_whole = read + 1 == BYTE_ORDER_MARK.len();
                    if is_whole {
                        Line::Field(0)
                    } else {
                        Line::ByteOrderMark(read + 1)
                    }
                }
                Line::ByteOrderMark(0) => Line::Field(0),
                Line::Field(read) if FIELD.get(read) == Some(&first) => {
                    bytes = rest;
                    if read + 1 == FIELD.len() {
                        self.begin_data();
                        Line::Colon
                    } else {
                        Line::Field(read + 1)
                    }
                }
                Line::Colon => {
                    bytes = if first == b' ' { rest } else { bytes };
                    Line::Data
                }
                Line::Data => return self.keep(bytes),
                Line::ByteOrderMark(_) | Line::Field(_) | Line::Other => {
                    self.line = Line::Other;
                    return;
                }
            }
        }
    }

    fn end_line(&mut self) {
        match mem::replace(&mut self.line, Line::Field(0)) {
            Line::ByteOrderMark(0) | Line::Field(0) => self.end_event(),
            // A field name without a colon is a field with an empty value.
            Line::Field(read) if read + 1 == FIELD.len() => self.begin_data(),
            _ => {}
        }
    }

    fn begin_data(&mut self) {
        if self.data_lines > 0 {
            self.keep(b"\n");
        }
        self.data_lines += 1;
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = limits::SSE_LINE_BYTES_MAX.saturating_sub(self.data.len());
        let kept = bytes.get(..room).unwrap_or(bytes);
        self.data.extend_from_slice(kept);
        self.is_cut |= kept.len() < bytes.len();
    }

    fn end_event(&mut self) {
        if self.data_lines > 0 {
            judge(&self.data, self.is_cut, &mut self.verdict);
        }
        self.data.clear();
        self.data_lines = 0;
        self.is_cut = false;
    }
}

/// Adds what one event says to the verdict.
fn judge(data: &[u8], is_cut: bool, verdict: &mut Verdict) {
    if data.trim_ascii() == b"[DONE]" {
        verdict.done = true;
        return;
    }
    let mut error = None;
    let read = json::object(data, |member| {
        if member.key.means("error") && member.value.kind != Kind::Null {
            error = Some(member.value);
        } else if member.key.means("choices") && member.value.kind == Kind::Array {
            verdict.aborted |= has_aborted_choice(member.value.text(data));
        }
        Ok(())
    });
    let found = if read.is_err() || is_cut {
        // Only its beginning can be trusted. A node that says `error` first has an error to tell.
        let begins_with_error = json::first_key(data).is_some_and(|key| key.means("error"));
        (error.is_some() || begins_with_error).then_some(ErrorEvent {
            json: None,
            status: None,
        })
    } else {
        error.map(|error| ErrorEvent {
            json: Some(data.to_vec()),
            status: status(error, data),
        })
    };
    if verdict.error.is_none() {
        verdict.error = found;
    }
}

/// Whether one of `choices`, an array, has `"finish_reason": "abort"`.
fn has_aborted_choice(choices: &[u8]) -> bool {
    let mut is_aborted = false;
    let read = json::array(choices, |choice| {
        if choice.kind == Kind::Object {
            let choice = choice.text(choices);
            let read = json::object(choice, |member| {
                is_aborted |=
                    member.key.means("finish_reason") && member.value.text(choice) == br#""abort""#;
                Ok(())
            });
            debug_assert!(
                read.is_ok(),
                "it has been read before, as part of the event"
            );
        }
    });
    debug_assert!(
        read.is_ok(),
        "it has been read before, as part of the event"
    );
    is_aborted
}

/// The HTTP status in `error`, an object in `data`.
fn status(error: Value, data: &[u8]) -> Option<u16> {
    let text = error.text(data);
    let mut code = None;
    json::object(text, |member| {
        if member.key.means("code") && member.value.kind == Kind::Number {
            code = lax::integer(member.value, text);
        }
        Ok(())
    })
    .ok()?;
    code.and_then(|code| u16::try_from(code).ok())
        .filter(|code| (400..600).contains(code))
}

/// The property of [`EventScan`] that tests and fuzzing share: the verdict is that of a reader that
/// has the whole stream at once, and does not depend on where the stream is cut. The first byte of
/// `data` says into pieces of which length, the rest is the stream.
///
/// # Panics
///
/// The property does not hold.
pub fn check_sse(data: &[u8]) {
    let Some((&step, stream)) = data.split_first() else {
        return;
    };
    let mut at_once = EventScan::new();
    at_once.feed(stream);
    let verdict = at_once.finish();

    let mut in_pieces = EventScan::new();
    for piece in stream.chunks(usize::from(step % 16) + 1) {
        in_pieces.feed(piece);
        assert!(in_pieces.data.len() <= limits::SSE_LINE_BYTES_MAX);
    }
    assert_eq!(
        in_pieces.finish(),
        verdict,
        "the verdict depends on where the stream was cut"
    );
    if stream.len() <= limits::SSE_LINE_BYTES_MAX {
        assert_eq!(read_whole(stream), verdict, "a naive reader disagrees");
    }
}

/// The verdict as the standard's text would have it found: lines, then fields, then events.
fn read_whole(stream: &[u8]) -> Verdict {
    let stream = stream.strip_prefix(BYTE_ORDER_MARK).unwrap_or(stream);
    let mut verdict = Verdict::default();
    let mut event: Option<Vec<u8>> = None;
    let mut bytes = stream.iter().copied().peekable();
    let mut line = Vec::new();
    loop {
        let byte = bytes.next();
        if byte == Some(b'\r') {
            bytes.next_if_eq(&b'\n');
        }
        if let Some(byte) = byte.filter(|byte| !matches!(byte, b'\r' | b'\n')) {
            line.push(byte);
            continue;
        }
        let line = mem::take(&mut line);
        let value = if line == b"data" {
            Some(&[][..])
        } else {
            line.strip_prefix(FIELD)
        };
        if let Some(value) = value {
            let value = value.strip_prefix(b" ").unwrap_or(value);
            match &mut event {
                None => event = Some(value.to_vec()),
                Some(data) => data.extend_from_slice(&[b"\n", value].concat()),
            }
        }
        if (line.is_empty() || byte.is_none())
            && let Some(data) = event.take()
        {
            judge(&data, false, &mut verdict);
        }
        if byte.is_none() {
            return verdict;
        }
    }
}

#[cfg(test)]
mod tests;
