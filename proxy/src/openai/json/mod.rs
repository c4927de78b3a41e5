//! The grammar of JSON (RFC 8259), read in place.
//!
//! [`object`] walks the members of one object and hands each to a visitor as spans of the text. It
//! validates everything it passes, allocates nothing and never recurses: what is open is a bit each,
//! up to [`limits::JSON_DEPTH_MAX`](crate::limits::JSON_DEPTH_MAX). It accepts exactly the RFC's
//! grammar in UTF-8, with one liberty that the grammar itself takes: a lone surrogate escape
//! (`\ud800`) is a well-formed string, and the nodes' Python reads it.

mod error;
mod key;
mod reader;

pub use error::{JsonError, JsonErrorKind};
pub(super) use key::RawKey;
use reader::Reader;

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
