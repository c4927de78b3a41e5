//! How long a response body is, and where it ends (RFC 9112 §6 and §7).

/// Hexadecimal digits of a chunk size; 2^60 bytes are more than any body has.
const SIZE_DIGITS_MAX: u8 = 15;
/// Bytes of chunk extensions and trailer fields of one body.
const OVERHEAD_BYTES_MAX: usize = 64 * 1024;

/// How the end of a body is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyLength {
    /// So many bytes follow.
    Exactly(u64),
    /// Chunks follow.
    Chunked,
    /// The body ends with the connection.
    UntilClose,
}

/// What is wrong with a body's framing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    /// `Content-Length` is no number, or two of them differ.
    #[error("invalid content-length")]
    ContentLength,
    /// `Content-Length` beside `Transfer-Encoding`: the recipe of response splitting.
    #[error("both content-length and transfer-encoding")]
    TwoLengths,
    /// A transfer coding other than `chunked`; none was asked for.
    #[error("unknown transfer coding")]
    TransferCoding,
    /// A chunk size is no hexadecimal number or absurdly large.
    #[error("invalid chunk size")]
    ChunkSize,
    /// A line or a chunk does not end with CR LF.
    #[error("chunk not ended by CR LF")]
    ChunkEnd,
    /// More chunk extensions or trailer fields than anyone needs.
    #[error("too many chunk extensions or trailers")]
    Overhead,
}

impl BodyLength {
    /// Decides for the answer to a `GET` or `POST`, in the order of RFC 9112 §6.3.
    ///
    /// # Errors
    ///
    /// The fields contradict each other or cannot be read. Where the RFC lets a recipient choose
    /// between repair and refusal, this refuses: a measured server has to be clear.
    pub fn of_response(status: u16, fields: &[httparse::Header<'_>]) -> Result<Self, FramingError> {
        if matches!(status, 100..=199 | 204 | 304) {
            return Ok(Self::Exactly(0));
        }
        let values = |name: &'static str| {
            let named = fields
                .iter()
                .filter(move |field| field.name.eq_ignore_ascii_case(name));
            named
                .flat_map(|field| field.value.split(|&byte| byte == b','))
                .map(<[u8]>::trim_ascii)
        };
        let mut codings = values("transfer-encoding");
        let mut lengths = values("content-length");
        match (codings.next(), lengths.next()) {
            (Some(_), Some(_)) => Err(FramingError::TwoLengths),
            (Some(coding), None) => {
                if coding.eq_ignore_ascii_case(b"chunked") && codings.next().is_none() {
                    Ok(Self::Chunked)
                } else {
                    Err(FramingError::TransferCoding)
                }
            }
            (None, Some(length)) => {
                if lengths.any(|other| other != length) {
                    return Err(FramingError::ContentLength);
                }
                parse_length(length)
                    .map(Self::Exactly)
                    .ok_or(FramingError::ContentLength)
            }
            (None, None) => Ok(Self::UntilClose),
        }
    }
}

/// Digits only: `str::parse` would take a sign.
fn parse_length(digits: &[u8]) -> Option<u64> {
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Takes the framing off a body that arrives in pieces.
#[derive(Debug, Clone)]
pub struct BodyDecoder {
    state: State,
    overhead_bytes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Bytes left of a body of known length.
    Fixed {
        left: u64,
    },
    UntilClose,
    /// In the digits of a chunk size.
    Size {
        size: u64,
        digits: u8,
    },
    /// Between the size and the end of its line.
    Extension {
        size: u64,
    },
    /// After the CR of a size line.
    SizeLf {
        size: u64,
    },
    /// Bytes left of a chunk.
    Data {
        left: u64,
    },
    DataCr,
    DataLf,
    /// At the start of a trailer field, or of the empty line that ends the body.
    TrailerStart,
    /// Inside a trailer field.
    Trailer,
    /// After the CR of a trailer field.
    TrailerLf,
    /// After the CR of the empty line.
    EndLf,
    Done,
}

impl BodyDecoder {
    /// At the first byte of a body.
    #[must_use]
    pub fn new(length: BodyLength) -> Self {
        let state = match length {
            BodyLength::Exactly(0) => State::Done,
            BodyLength::Exactly(left) => State::Fixed { left },
            BodyLength::Chunked => State::Size { size: 0, digits: 0 },
            BodyLength::UntilClose => State::UntilClose,
        };
        Self {
            state,
            overhead_bytes: 0,
        }
    }

    /// Whether the last byte of the body has been seen.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Whether the body may end here because the connection does.
    #[must_use]
    pub fn may_end_with_connection(&self) -> bool {
        matches!(self.state, State::UntilClose | State::Done)
    }

    /// Appends the content in `input` to `content` and says how many bytes of `input` belong to the
    /// body: all of them unless the body ends before.
    ///
    /// # Errors
    ///
    /// The chunks are malformed; what `content` got before is right.
    pub fn decode(&mut self, input: &[u8], content: &mut Vec<u8>) -> Result<usize, FramingError> {
        let mut rest = input;
        while !self.is_done()
            && let Some((&byte, after)) = rest.split_first()
        {
            match &mut self.state {
                State::UntilClose => {
                    content.extend_from_slice(rest);
                    rest = &[];
                }
                State::Fixed { left } | State::Data { left } => {
                    let room = usize::try_from(*left).unwrap_or(usize::MAX);
                    let (data, beyond) = rest.split_at(room.min(rest.len()));
                    content.extend_from_slice(data);
                    *left -= u64::try_from(data.len()).unwrap_or(*left);
                    rest = beyond;
                    self.after_data();
                }
                _ => {
                    self.state = self.after_byte(byte)?;
                    rest = after;
                }
            }
        }
        Ok(input.len() - rest.len())
    }

    fn after_data(&mut self) {
        self.state = match self.state {
            State::Fixed { left: 0 } => State::Done,
            State::Data { left: 0 } => State::DataCr,
            state => state,
        };
    }

    /// One byte of the framing of chunks (RFC 9112 §7.1).
    fn after_byte(&mut self, byte: u8) -> Result<State, FramingError> {
        match (self.state, byte) {
            (State::Size { size, digits }, byte) if byte.is_ascii_hexdigit() => {
                if digits == SIZE_DIGITS_MAX {
                    return Err(FramingError::ChunkSize);
                }
                let digit = char::from(byte).to_digit(16).map_or(0, u64::from);
                Ok(State::Size {
                    size: size * 16 + digit,
                    digits: digits + 1,
                })
            }
            (State::Size { digits: 0, .. }, _) => Err(FramingError::ChunkSize),
            (State::Size { size, .. } | State::Extension { size }, b'\r') => {
                Ok(State::SizeLf { size })
            }
            (State::Size { size, .. }, b';' | b' ' | b'\t') => {
                self.overhead(State::Extension { size })
            }
            (State::Size { .. }, _) => Err(FramingError::ChunkSize),
            // A bare LF must not end a line that another reader would go on with.
            (State::Extension { .. } | State::Trailer, b'\n') => Err(FramingError::ChunkEnd),
            (State::Extension { size }, _) => self.overhead(State::Extension { size }),
            (State::SizeLf { size: 0 } | State::TrailerLf, b'\n') => Ok(State::TrailerStart),
            (State::SizeLf { size }, b'\n') => Ok(State::Data { left: size }),
            (State::DataCr, b'\r') => Ok(State::DataLf),
            (State::DataLf, b'\n') => Ok(State::Size { size: 0, digits: 0 }),
            (State::TrailerStart, b'\r') => Ok(State::EndLf),
            (State::EndLf, b'\n') => Ok(State::Done),
            (State::Trailer, b'\r') => Ok(State::TrailerLf),
            (State::TrailerStart | State::Trailer, _) => self.overhead(State::Trailer),
            _ => Err(FramingError::ChunkEnd),
        }
    }

    fn overhead(&mut self, next: State) -> Result<State, FramingError> {
        self.overhead_bytes += 1;
        if self.overhead_bytes > OVERHEAD_BYTES_MAX {
            return Err(FramingError::Overhead);
        }
        Ok(next)
    }
}

/// The property of the chunk decoder, for unit tests, proptest and fuzzing: however the input is
/// cut, content, consumed bytes, end and error are those of the input in one piece; and nothing
/// after the end is taken.
///
/// # Panics
///
/// The property does not hold.
pub fn check_chunked_decoder(data: &[u8]) {
    let whole = decode_pieces(&[data]);
    for at in 0..=data.len() {
        let (head, tail) = data.split_at(at);
        assert_eq!(decode_pieces(&[head, tail]), whole, "cut at {at}");
    }
    let bytes: Vec<&[u8]> = data.chunks(1).collect();
    assert_eq!(decode_pieces(&bytes), whole, "cut at every byte");
}

/// Content, bytes taken, and whether the body ended, or why it cannot.
type Decoded = (Vec<u8>, Result<(usize, bool), FramingError>);

fn decode_pieces(pieces: &[&[u8]]) -> Decoded {
    let mut decoder = BodyDecoder::new(BodyLength::Chunked);
    let mut content = Vec::new();
    let mut taken = 0;
    for piece in pieces {
        match decoder.decode(piece, &mut content) {
            Ok(bytes) => taken += bytes,
            Err(error) => return (content, Err(error)),
        }
    }
    (content, Ok((taken, decoder.is_done())))
}

#[cfg(test)]
mod tests;
