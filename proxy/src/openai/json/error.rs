//! What can be wrong with a body.

use std::fmt;

#[cfg(doc)]
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
