//! Chunked coding, read strictly (RFC 9112 §7.1).

use std::ops::Range;

use super::bytes::{is_ows, is_token, is_value};
use crate::limits::{
    CHUNK_EXTENSION_BYTES_MAX, CHUNK_EXTENSIONS_BYTES_MAX, CHUNK_SIZE_DIGITS_MAX, TRAILER_BYTES_MAX,
};

/// Why a chunked body is refused. Where the next message begins is unknown then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ChunkedError {
    /// A size line does not begin with a hexadecimal digit.
    #[error("a chunk has no size")]
    MissingSize,
    /// A size is followed by something else than an extension or CRLF.
    #[error("a chunk size is not a hexadecimal number")]
    Size,
    /// A size has more digits than [`CHUNK_SIZE_DIGITS_MAX`].
    #[error("a chunk size has more than {CHUNK_SIZE_DIGITS_MAX} digits")]
    SizeTooLong,
    /// A chunk extension is not `;name`, `;name=token` or `;name="text"`.
    #[error("a chunk extension is malformed")]
    Extension,
    /// Extensions are longer than [`CHUNK_EXTENSION_BYTES_MAX`] in one chunk, or than
    /// [`CHUNK_EXTENSIONS_BYTES_MAX`] in the body.
    #[error("chunk extensions are too long")]
    ExtensionTooLong,
    /// A CR in a line is not followed by LF, or the LF has no CR before it.
    #[error("a line of a chunked body does not end with CRLF")]
    LineEnd,
    /// The data of a chunk is not followed by CRLF: it is longer than its size said.
    #[error("the data of a chunk does not end with CRLF where its size says")]
    DataEnd,
    /// A line of the trailer section is not a field line.
    #[error("a trailer field is malformed")]
    Trailer,
    /// The trailer section is longer than [`TRAILER_BYTES_MAX`].
    #[error("the trailer section is longer than {TRAILER_BYTES_MAX} bytes")]
    TrailerTooLong,
}

/// What [`Chunked::next`] came upon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChunkedEvent {
    /// Bytes of the body, at this place of the buffer; at least one.
    Data(Range<usize>),
    /// The body is whole. The next byte belongs to something else.
    Done,
    /// All bytes were taken, and the body is not whole.
    NeedMore,
}

/// Reader of a chunked body: finds the data, checks every byte around it.
///
/// It may be stopped and resumed between any two bytes. Extensions and trailers are checked against
/// their grammar and dropped.
#[derive(Clone, Debug)]
pub struct Chunked {
    state: State,
    /// Bytes of extensions so far: of this chunk, and of the body.
    extension_bytes: usize,
    extensions_bytes: usize,
    trailer_bytes: usize,
}

/// What the next byte must be part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Size {
        size: u64,
        digits: u8,
    },
    Extension {
        size: u64,
        digits: u8,
        part: Extension,
    },
    SizeLf {
        size: u64,
        digits: u8,
    },
    Data {
        left: u64,
    },
    DataCr,
    DataLf,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
    Done,
    Refused(ChunkedError),
}

/// The next byte's part of a chunk extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extension {
    /// Behind white space: only another extension may follow.
    Semicolon,
    BeforeName,
    Name,
    /// Behind a name and white space: a value or another extension follows.
    AfterName,
    BeforeValue,
    Token,
    Quoted,
    QuotedPair,
    AfterQuoted,
}

/// One step through a chunked body, as a relay sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The size line of a chunk that is not the last one ended.
    Size {
        size: u64,
        digits: u8,
    },
    /// Bytes of data.
    Data(Range<usize>),
    /// One or both bytes of the CRLF behind data.
    DataEnd,
    Done,
    NeedMore,
}

impl Default for Chunked {
    fn default() -> Self {
        Self::new()
    }
}

impl Chunked {
    /// The reader of a body that has not begun.
    pub const fn new() -> Self {
        Self {
            state: State::Size { size: 0, digits: 0 },
            extension_bytes: 0,
            extensions_bytes: 0,
            trailer_bytes: 0,
        }
    }

    /// Takes the next piece of `buf` from `*at` on and moves `*at` behind it. After
    /// [`ChunkedEvent::Done`] it stands on the first byte behind the body.
    ///
    /// # Errors
    ///
    /// What is wrong at `*at`. A reader that has refused goes on refusing.
    pub fn next(&mut self, buf: &[u8], at: &mut usize) -> Result<ChunkedEvent, ChunkedError> {
        loop {
            match self.step(buf, at)? {
                Step::Size { .. } | Step::DataEnd => {}
                Step::Data(range) => return Ok(ChunkedEvent::Data(range)),
                Step::Done => return Ok(ChunkedEvent::Done),
                Step::NeedMore => return Ok(ChunkedEvent::NeedMore),
            }
        }
    }

    /// Whether the next byte is the first one of a size line.
    pub(super) const fn is_before_size(&self) -> bool {
        matches!(self.state, State::Size { digits: 0, .. })
    }

    /// Takes one step from `*at` on.
    pub(super) fn step(&mut self, buf: &[u8], at: &mut usize) -> Result<Step, ChunkedError> {
        let step = match self.state {
            State::Data { left } => return Ok(self.take_data(left, buf, at)),
            State::DataCr | State::DataLf => self.take_data_end(buf, at),
            State::Done => return Ok(Step::Done),
            State::Refused(error) => Err(error),
            State::Size { .. } | State::Extension { .. } | State::SizeLf { .. } => {
                self.take_size_line(buf, at)
            }
            State::TrailerStart
            | State::TrailerName
            | State::TrailerValue
            | State::TrailerLf
            | State::EndLf => self.take_trailers(buf, at),
        };
        if let Err(error) = step {
            self.state = State::Refused(error);
        }
        step
    }

    fn take_data(&mut self, left: u64, buf: &[u8], at: &mut usize) -> Step {
        let start = *at;
        let here = buf.len().saturating_sub(start);
        if here == 0 {
            return Step::NeedMore;
        }
        let taken = usize::try_from(left).map_or(here, |left| left.min(here));
        let left = left - taken as u64;
        self.state = if left == 0 {
            State::DataCr
        } else {
            State::Data { left }
        };
        *at = start + taken;
        Step::Data(start..*at)
    }

    fn take_data_end(&mut self, buf: &[u8], at: &mut usize) -> Result<Step, ChunkedError> {
        let rest = buf.get(*at..).unwrap_or_default();
        let (taken, next) = match (self.state, rest) {
            (_, []) => return Ok(Step::NeedMore),
            (State::DataCr, [b'\r', b'\n', ..]) => (2, State::Size { size: 0, digits: 0 }),
            (State::DataCr, [b'\r']) => (1, State::DataLf),
            (State::DataLf, [b'\n', ..]) => (1, State::Size { size: 0, digits: 0 }),
            _ => return Err(ChunkedError::DataEnd),
        };
        *at += taken;
        self.state = next;
        Ok(Step::DataEnd)
    }

    fn take_size_line(&mut self, buf: &[u8], at: &mut usize) -> Result<Step, ChunkedError> {
        for &byte in buf.get(*at..).unwrap_or_default() {
            self.state = match self.state {
                State::Size { size, digits } => after_size_byte(size, digits, byte)?,
                State::Extension { size, digits, part } => {
                    if byte == b'\r' && part.may_end() {
                        State::SizeLf { size, digits }
                    } else {
                        State::Extension {
                            size,
                            digits,
                            part: part.after(byte)?,
                        }
                    }
                }
                State::SizeLf { size, digits } => {
                    if byte != b'\n' {
                        return Err(ChunkedError::LineEnd);
                    }
                    *at += 1;
                    self.extension_bytes = 0;
                    if size == 0 {
                        self.state = State::TrailerStart;
                        return self.take_trailers(buf, at);
                    }
                    self.state = State::Data { left: size };
                    return Ok(Step::Size { size, digits });
                }
                other => other,
            };
            *at += 1;
            if matches!(self.state, State::Extension { .. }) {
                self.count_extension_byte()?;
            }
        }
        Ok(Step::NeedMore)
    }

    fn count_extension_byte(&mut self) -> Result<(), ChunkedError> {
        self.extension_bytes += 1;
        self.extensions_bytes += 1;
        if self.extension_bytes > CHUNK_EXTENSION_BYTES_MAX
            || self.extensions_bytes > CHUNK_EXTENSIONS_BYTES_MAX
        {
            return Err(ChunkedError::ExtensionTooLong);
        }
        Ok(())
    }

    fn take_trailers(&mut self, buf: &[u8], at: &mut usize) -> Result<Step, ChunkedError> {
        for &byte in buf.get(*at..).unwrap_or_default() {
            self.state = match (self.state, byte) {
                (State::TrailerStart, b'\r') => State::EndLf,
                (State::TrailerStart | State::TrailerName, byte) if is_token(byte) => {
                    State::TrailerName
                }
                (State::TrailerName, b':') => State::TrailerValue,
                (State::TrailerValue, b'\r') => State::TrailerLf,
                (State::TrailerValue, byte) if is_value(byte) => State::TrailerValue,
                (State::TrailerLf, b'\n') => State::TrailerStart,
                (State::EndLf, b'\n') => {
                    *at += 1;
                    self.state = State::Done;
                    return Ok(Step::Done);
                }
                (State::TrailerLf | State::EndLf, _) | (_, b'\n') => {
                    return Err(ChunkedError::LineEnd);
                }
                _ => return Err(ChunkedError::Trailer),
            };
            *at += 1;
            self.trailer_bytes += 1;
            if self.trailer_bytes > TRAILER_BYTES_MAX {
                return Err(ChunkedError::TrailerTooLong);
            }
        }
        Ok(Step::NeedMore)
    }
}

/// The state after `byte` behind `digits` digits of a size.
fn after_size_byte(size: u64, digits: u8, byte: u8) -> Result<State, ChunkedError> {
    let value = match byte {
        b'0'..=b'9' => byte - b'0',
        b'a'..=b'f' => byte - b'a' + 10,
        b'A'..=b'F' => byte - b'A' + 10,
        _ if digits == 0 => return Err(ChunkedError::MissingSize),
        b'\r' => return Ok(State::SizeLf { size, digits }),
        b'\n' => return Err(ChunkedError::LineEnd),
        b';' => {
            return Ok(State::Extension {
                size,
                digits,
                part: Extension::BeforeName,
            });
        }
        byte if is_ows(byte) => {
            return Ok(State::Extension {
                size,
                digits,
                part: Extension::Semicolon,
            });
        }
        _ => return Err(ChunkedError::Size),
    };
    if usize::from(digits) >= CHUNK_SIZE_DIGITS_MAX {
        return Err(ChunkedError::SizeTooLong);
    }
    // Fifteen digits fit in 60 bits.
    Ok(State::Size {
        size: size << 4 | u64::from(value),
        digits: digits + 1,
    })
}

impl Extension {
    /// Whether the size line may end here.
    const fn may_end(self) -> bool {
        matches!(self, Self::Name | Self::Token | Self::AfterQuoted)
    }

    /// The part behind `byte`, which is no line end (RFC 9112 §7.1.1):
    ///
    /// ```text
    /// *( BWS ";" BWS token [ BWS "=" BWS ( token / quoted-string ) ] )
    /// ```
    fn after(self, byte: u8) -> Result<Self, ChunkedError> {
        match (self, byte) {
            (Self::QuotedPair, byte) if is_value(byte) => Ok(Self::Quoted),
            (Self::Quoted, b'"') => Ok(Self::AfterQuoted),
            (Self::Quoted, b'\\') => Ok(Self::QuotedPair),
            (Self::Quoted, byte) if is_value(byte) => Ok(Self::Quoted),
            (Self::Name | Self::AfterName, b'=') => Ok(Self::BeforeValue),
            (
                Self::Semicolon | Self::Name | Self::AfterName | Self::Token | Self::AfterQuoted,
                b';',
            ) => Ok(Self::BeforeName),
            (Self::BeforeName | Self::Name, byte) if is_token(byte) => Ok(Self::Name),
            (Self::BeforeValue | Self::Token, byte) if is_token(byte) => Ok(Self::Token),
            (Self::BeforeValue, b'"') => Ok(Self::Quoted),
            (Self::BeforeName | Self::BeforeValue, byte) if is_ows(byte) => Ok(self),
            (Self::Name | Self::AfterName, byte) if is_ows(byte) => Ok(Self::AfterName),
            (Self::Semicolon | Self::Token | Self::AfterQuoted, byte) if is_ows(byte) => {
                Ok(Self::Semicolon)
            }
            (_, b'\n') => Err(ChunkedError::LineEnd),
            _ => Err(ChunkedError::Extension),
        }
    }
}
