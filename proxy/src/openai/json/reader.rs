//! The grammar itself: one cursor, one function for each of RFC 8259's productions.

use std::ops::Range;

use memchr::memrchr;

use super::Kind;
use super::error::{JsonError, JsonErrorKind};
use super::key::RawKey;
use crate::limits;
use crate::openai::text::{digit_run, integer_run, plain_run};

/// Which brackets are open inside the outermost object: one bit each, set for an array.
struct Open {
    bits: [u64; Self::WORDS],
    depth: usize,
}

impl Open {
    /// The outermost object is one of the [`limits::JSON_DEPTH_MAX`], and is not kept here.
    const DEPTH_MAX: usize = limits::JSON_DEPTH_MAX - 1;
    const WORDS: usize = limits::JSON_DEPTH_MAX.div_ceil(64);

    /// Opens one more; false when that is one too many.
    #[must_use]
    fn push(&mut self, is_array: bool) -> bool {
        if self.depth >= Self::DEPTH_MAX {
            return false;
        }
        if let Some(word) = self.bits.get_mut(self.depth / 64) {
            let bit = 1 << (self.depth % 64);
            *word = if is_array { *word | bit } else { *word & !bit };
        }
        self.depth += 1;
        true
    }

    /// Whether the innermost is an array; none when nothing is open.
    fn innermost_is_array(&self) -> Option<bool> {
        let last = self.depth.checked_sub(1)?;
        self.bits
            .get(last / 64)
            .map(|word| word >> (last % 64) & 1 == 1)
    }
}

/// A place in a text.
pub(super) struct Reader<'a> {
    pub(super) text: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Reader<'a> {
    /// The byte here, or 0 at the end: a NUL is refused wherever a byte is looked at.
    #[inline]
    pub(super) fn peek(&self) -> u8 {
        self.text.get(self.at).copied().unwrap_or(0)
    }

    #[inline]
    fn rest(&self) -> &'a [u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// `kind`, here; at the end of the text the end is the news.
    #[cold]
    pub(super) fn error(&self, kind: JsonErrorKind) -> JsonError {
        let is_end = self.at >= self.text.len() && kind != JsonErrorKind::NotAnObject;
        let kind = if is_end {
            JsonErrorKind::UnexpectedEnd
        } else {
            kind
        };
        JsonError {
            offset: self.at,
            kind,
        }
    }

    #[inline]
    pub(super) fn skip_space(&mut self) {
        while matches!(self.peek(), b' ' | b'\n' | b'\t' | b'\r') {
            self.at += 1;
        }
    }

    /// Behind an element: reads the comma if there is one, or else sees that `close` follows.
    #[inline]
    pub(super) fn goes_on(
        &mut self,
        close: u8,
        otherwise: JsonErrorKind,
    ) -> Result<bool, JsonError> {
        self.skip_space();
        let next = self.peek();
        if next == close {
            return Ok(false);
        }
        if next != b',' {
            return Err(self.error(otherwise));
        }
        self.at += 1;
        self.skip_space();
        Ok(true)
    }

    /// Reads a key and its colon, up to the first byte of the value.
    #[inline]
    pub(super) fn key(&mut self) -> Result<RawKey<'a>, JsonError> {
        if self.peek() != b'"' {
            return Err(self.error(JsonErrorKind::ExpectedKey));
        }
        let at = self.at;
        let is_escaped = self.string()?;
        let inside: Range<usize> = at + 1..self.at - 1;
        self.skip_space();
        if self.peek() != b':' {
            return Err(self.error(JsonErrorKind::ExpectedColon));
        }
        self.at += 1;
        self.skip_space();
        Ok(RawKey {
            text: self.text.get(inside).unwrap_or_default(),
            at,
            is_escaped,
        })
    }

    /// Reads one value, of any depth.
    #[inline]
    pub(super) fn value(&mut self) -> Result<Kind, JsonError> {
        match self.peek() {
            b'{' => self.container().map(|()| Kind::Object),
            b'[' => self.container().map(|()| Kind::Array),
            _ => self.scalar(),
        }
    }

    #[inline]
    fn scalar(&mut self) -> Result<Kind, JsonError> {
        match self.peek() {
            b'"' => self.string().map(|_is_escaped| Kind::String),
            b'-' | b'0'..=b'9' => self.number().map(|()| Kind::Number),
            b't' => self.literal(b"true", Kind::True),
            b'f' => self.literal(b"false", Kind::False),
            b'n' => self.literal(b"null", Kind::Null),
            _ => Err(self.error(JsonErrorKind::ExpectedValue)),
        }
    }

    /// Reads an object or an array with all that is in it.
    fn container(&mut self) -> Result<(), JsonError> {
        let mut open = Open {
            bits: [0; Open::WORDS],
            depth: 0,
        };
        loop {
            // Here a value begins. One with something inside goes round again, one level deeper.
            if let opening @ (b'{' | b'[') = self.peek() {
                let is_array = opening == b'[';
                if !open.push(is_array) {
                    return Err(self.error(JsonErrorKind::TooDeep));
                }
                self.at += 1;
                self.skip_space();
                if self.peek() != if is_array { b']' } else { b'}' } {
                    if !is_array {
                        self.key()?;
                    }
                    continue;
                }
            } else {
                self.scalar()?;
                self.skip_space();
            }
            // Here a value has ended, or an empty container is about to.
            while let Some(is_array) = open.innermost_is_array() {
                match (self.peek(), is_array) {
                    (b',', _) => break,
                    (b']', true) | (b'}', false) => {
                        self.at += 1;
                        open.depth -= 1;
                        if open.depth == 0 {
                            return Ok(());
                        }
                        self.skip_space();
                    }
                    (_, true) => return Err(self.error(JsonErrorKind::ExpectedArrayEnd)),
                    (_, false) => return Err(self.error(JsonErrorKind::ExpectedObjectEnd)),
                }
            }
            self.at += 1;
            if open.innermost_is_array() == Some(true) {
                self.skip_integers();
                self.skip_space();
            } else {
                self.skip_space();
                self.key()?;
            }
        }
    }

    /// Behind a comma in an array: skips elements that are plain integers, many at a time. A prompt of
    /// token ids consists of them.
    #[inline]
    fn skip_integers(&mut self) {
        let from_comma = self.text.get(self.at - 1..).unwrap_or_default();
        let checked = from_comma
            .get(..integer_run(from_comma))
            .unwrap_or_default();
        // The last number may go on behind what was checked, so it is left to the caller.
        self.at += memrchr(b',', checked).unwrap_or(0);
    }

    /// Reads a string from quote to quote; tells whether an escape is in it.
    #[inline]
    fn string(&mut self) -> Result<bool, JsonError> {
        self.at += 1;
        let start = self.at;
        let mut is_escaped = false;
        let mut is_ascii = true;
        loop {
            let run = plain_run(self.rest());
            self.at += run.len;
            is_ascii &= run.is_ascii;
            match self.peek() {
                b'"' => break,
                b'\\' => {
                    is_escaped = true;
                    self.escape()?;
                }
                _ => return Err(self.error(JsonErrorKind::ControlCharacter)),
            }
        }
        if !is_ascii {
            // Only strings may hold bytes above 0x7f, so this makes the whole body UTF-8.
            let text = self.text.get(start..self.at).unwrap_or_default();
            std::str::from_utf8(text).map_err(|error| JsonError {
                offset: start + error.valid_up_to(),
                kind: JsonErrorKind::InvalidUtf8,
            })?;
        }
        self.at += 1;
        Ok(is_escaped)
    }

    #[inline]
    fn escape(&mut self) -> Result<(), JsonError> {
        let escaped = self.text.get(self.at + 1).copied();
        self.at += match escaped {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 2,
            Some(b'u') => {
                let digits = self.text.get(self.at + 2..self.at + 6).unwrap_or_default();
                if digits.len() < 4 || !digits.iter().all(u8::is_ascii_hexdigit) {
                    return Err(self.error(JsonErrorKind::InvalidEscape));
                }
                6
            }
            _ => return Err(self.error(JsonErrorKind::InvalidEscape)),
        };
        Ok(())
    }

    /// Reads a number (RFC 8259 §6). A byte that cannot follow one is for the caller to find.
    #[inline]
    fn number(&mut self) -> Result<(), JsonError> {
        if self.peek() == b'-' {
            self.at += 1;
        }
        let whole = self.at;
        let starts_with_zero = self.peek() == b'0';
        let digits = self.digits()?;
        if starts_with_zero && digits > 1 {
            return Err(JsonError {
                offset: whole,
                kind: JsonErrorKind::InvalidNumber,
            });
        }
        if self.peek() == b'.' {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), b'e' | b'E') {
            self.at += 1;
            if matches!(self.peek(), b'+' | b'-') {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    /// Reads one digit or more.
    #[inline]
    fn digits(&mut self) -> Result<usize, JsonError> {
        let digits = digit_run(self.rest());
        if digits == 0 {
            return Err(self.error(JsonErrorKind::InvalidNumber));
        }
        self.at += digits;
        Ok(digits)
    }

    #[inline]
    fn literal(&mut self, word: &'static [u8], kind: Kind) -> Result<Kind, JsonError> {
        if !self.rest().starts_with(word) {
            return Err(self.error(JsonErrorKind::ExpectedValue));
        }
        self.at += word.len();
        Ok(kind)
    }
}
