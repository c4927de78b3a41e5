//! The grammar of JSON (RFC 8259), read in place.
//!
//! [`object`] walks the members of one object and hands each to a visitor as spans of the text. It
//! validates everything it passes, allocates nothing and never recurses: what is open is a bit each,
//! up to [`limits::JSON_DEPTH_MAX`]. It accepts exactly the RFC's grammar in UTF-8, with one liberty
//! that the grammar itself takes: a lone surrogate escape (`\ud800`) is a well-formed string, and the
//! nodes' Python reads it.

use std::fmt;
use std::ops::Range;

use super::text::{digit_run, plain_run};
use crate::limits;

/// Why a body was refused, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub struct JsonError {
    /// The byte at which it was noticed, from 0.
    pub offset: usize,
    /// What is wrong there.
    pub kind: JsonErrorKind,
}

impl JsonError {
    /// The key it is about, as the `param` of an error body.
    pub const fn param(&self) -> Option<&'static str> {
        match self.kind {
            JsonErrorKind::DuplicateKey(key) | JsonErrorKind::EscapedKey(key) => Some(key),
            _ => None,
        }
    }
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "The request body cannot be used: {} at byte {}.",
            self.kind, self.offset
        )
    }
}

/// What is wrong with a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonErrorKind {
    /// It does not begin with `{`.
    #[error("expected a JSON object")]
    NotAnObject,
    /// It ends inside a value.
    #[error("unexpected end of JSON")]
    UnexpectedEnd,
    /// No string stands where a key must.
    #[error("expected a key in double quotes")]
    ExpectedKey,
    /// A key is not followed by a colon.
    #[error("expected `:`")]
    ExpectedColon,
    /// No value begins here.
    #[error("expected a value")]
    ExpectedValue,
    /// A member of an object is followed by neither `,` nor `}`.
    #[error("expected `,` or `}}`")]
    ExpectedObjectEnd,
    /// An element of an array is followed by neither `,` nor `]`.
    #[error("expected `,` or `]`")]
    ExpectedArrayEnd,
    /// A number breaks the grammar: `01`, `1.`, `1e`.
    #[error("invalid number")]
    InvalidNumber,
    /// A backslash is followed by no known escape.
    #[error("invalid escape in a string")]
    InvalidEscape,
    /// A byte below 0x20 stands in a string unescaped.
    #[error("unescaped control character in a string")]
    ControlCharacter,
    /// A string is not UTF-8.
    #[error("invalid UTF-8")]
    InvalidUtf8,
    /// More than [`limits::JSON_DEPTH_MAX`] objects and arrays are open.
    #[error("too deeply nested")]
    TooDeep,
    /// Something follows the object.
    #[error("trailing characters")]
    TrailingCharacters,
    /// A key that decides how the request is run occurs twice: readers differ on which one counts.
    #[error("duplicate key `{0}`")]
    DuplicateKey(&'static str),
    /// Such a key is spelt with escapes, which only serves to slip it past somebody.
    #[error("key `{0}` written with escapes")]
    EscapedKey(&'static str),
}

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `null`.
    Null,
    /// `true`.
    True,
    /// `false`.
    False,
    /// A number, of any size: nobody here converts it.
    Number,
    /// A string; the span has its quotes.
    String,
    /// An array.
    Array,
    /// An object.
    Object,
}

/// Where a value stands, and what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value {
    /// Its first byte.
    pub start: usize,
    /// The byte after its last one.
    pub end: usize,
    /// What it is.
    pub kind: Kind,
}

impl Value {
    /// The value's bytes in the text it was found in.
    pub fn text<'a>(&self, text: &'a [u8]) -> &'a [u8] {
        text.get(self.start..self.end).unwrap_or_default()
    }
}

/// A key as it stands between its quotes.
#[derive(Clone, Copy, Debug)]
pub(super) struct RawKey<'a> {
    text: &'a [u8],
    /// Where its quote stands.
    pub(super) at: usize,
    /// Whether a backslash occurs in it: then its bytes are not its meaning.
    pub(super) is_escaped: bool,
}

impl<'a> RawKey<'a> {
    /// The bytes, if they are also the meaning.
    pub(super) fn plain(&self) -> Option<&'a [u8]> {
        (!self.is_escaped).then_some(self.text)
    }

    /// Whether it means `name`, which is ASCII.
    pub(super) fn means(&self, name: &str) -> bool {
        if !self.is_escaped {
            return self.text == name.as_bytes();
        }
        let mut rest = self.text;
        for &wanted in name.as_bytes() {
            let Some((unit, tail)) = next_unit(rest) else {
                return false;
            };
            if unit != u16::from(wanted) {
                return false;
            }
            rest = tail;
        }
        rest.is_empty()
    }
}

/// Reads one byte or one escape of a checked string: its UTF-16 code unit, and what follows. A byte of
/// a longer UTF-8 sequence stands for itself, which is enough to differ from ASCII.
fn next_unit(text: &[u8]) -> Option<(u16, &[u8])> {
    let (&byte, rest) = text.split_first()?;
    if byte != b'\\' {
        return Some((u16::from(byte), rest));
    }
    let (&escape, rest) = rest.split_first()?;
    let unit = match escape {
        b'b' => 0x08,
        b't' => 0x09,
        b'n' => 0x0a,
        b'f' => 0x0c,
        b'r' => 0x0d,
        b'u' => {
            let (digits, rest) = rest.split_at_checked(4)?;
            let digits = std::str::from_utf8(digits).ok()?;
            return Some((u16::from_str_radix(digits, 16).ok()?, rest));
        }
        itself => u16::from(itself),
    };
    Some((unit, rest))
}

/// One `key: value` of an object.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member<'a> {
    pub(super) key: RawKey<'a>,
    pub(super) value: Value,
}

/// An object that was read to its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Object {
    /// Where its `}` stands.
    pub(super) close: usize,
    /// Whether it has no member.
    pub(super) is_empty: bool,
}

/// Reads `text`, which must be one object between optional white space, and shows each of its members
/// to `visit`, in order.
///
/// # Errors
///
/// The first thing in it that is not JSON, or the first error of `visit`. Members before it have been
/// visited.
pub(super) fn object<'a>(
    text: &'a [u8],
    mut visit: impl FnMut(Member<'a>) -> Result<(), JsonError>,
) -> Result<Object, JsonError> {
    let mut reader = Reader { text, at: 0 };
    reader.skip_space();
    if reader.peek() != b'{' {
        return Err(reader.error(JsonErrorKind::NotAnObject));
    }
    reader.at += 1;
    reader.skip_space();
    let is_empty = reader.peek() == b'}';
    let mut goes_on = !is_empty;
    while goes_on {
        let key = reader.key()?;
        let start = reader.at;
        let kind = reader.value()?;
        visit(Member {
            key,
            value: Value {
                start,
                end: reader.at,
                kind,
            },
        })?;
        goes_on = reader.goes_on(b'}', JsonErrorKind::ExpectedObjectEnd)?;
    }
    let close = reader.at;
    reader.at += 1;
    reader.skip_space();
    if reader.at < text.len() {
        return Err(reader.error(JsonErrorKind::TrailingCharacters));
    }
    Ok(Object { close, is_empty })
}

/// Reads `text`, which must be one array, and shows the place of each of its elements to `visit`.
///
/// # Errors
///
/// The first thing in it that is not JSON.
pub(super) fn array(text: &[u8], mut visit: impl FnMut(Value)) -> Result<(), JsonError> {
    let mut reader = Reader { text, at: 0 };
    if reader.peek() != b'[' {
        return Err(reader.error(JsonErrorKind::ExpectedValue));
    }
    reader.at += 1;
    reader.skip_space();
    let mut goes_on = reader.peek() != b']';
    while goes_on {
        let start = reader.at;
        let kind = reader.value()?;
        visit(Value {
            start,
            end: reader.at,
            kind,
        });
        goes_on = reader.goes_on(b']', JsonErrorKind::ExpectedArrayEnd)?;
    }
    Ok(())
}

/// The first key of an object of which the rest may be missing or wrong.
pub(super) fn first_key(text: &[u8]) -> Option<RawKey<'_>> {
    let mut reader = Reader { text, at: 0 };
    reader.skip_space();
    if reader.peek() != b'{' {
        return None;
    }
    reader.at += 1;
    reader.skip_space();
    reader.key().ok()
}

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

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// The byte here, or 0 at the end: a NUL is refused wherever a byte is looked at.
    #[inline]
    fn peek(&self) -> u8 {
        self.text.get(self.at).copied().unwrap_or(0)
    }

    #[inline]
    fn rest(&self) -> &'a [u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// `kind`, here; at the end of the text the end is the news.
    #[cold]
    fn error(&self, kind: JsonErrorKind) -> JsonError {
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
    fn skip_space(&mut self) {
        while matches!(self.peek(), b' ' | b'\n' | b'\t' | b'\r') {
            self.at += 1;
        }
    }

    /// Behind an element: reads the comma if there is one, or else sees that `close` follows.
    #[inline]
    fn goes_on(&mut self, close: u8, otherwise: JsonErrorKind) -> Result<bool, JsonError> {
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
    fn key(&mut self) -> Result<RawKey<'a>, JsonError> {
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
    fn value(&mut self) -> Result<Kind, JsonError> {
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
            self.skip_space();
            if open.innermost_is_array() == Some(false) {
                self.key()?;
            }
        }
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

    /// Reads a number (RFC 8259 §6). A byte that cannot follow one is for the caller to find, except
    /// for digits after a leading zero.
    #[inline]
    fn number(&mut self) -> Result<(), JsonError> {
        if self.peek() == b'-' {
            self.at += 1;
        }
        let starts_with_zero = self.peek() == b'0';
        let digits = self.digits()?;
        if starts_with_zero && digits > 1 {
            return Err(self.error(JsonErrorKind::InvalidNumber));
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
