//! The line before the data of a chunk.

use crate::limits::CHUNK_SIZE_DIGITS_MAX;

/// The last chunk and an empty trailer section: the only bytes that end a chunked body well.
///
/// Where a body was cut, they are not written.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Bytes of the longest line: sixteen digits and CRLF.
const BYTES_MAX: usize = 18;

/// The size line of a chunk, `{size in hexadecimal}\r\n` (RFC 9112 §7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SizeLine {
    /// Right-aligned: digits are made from the last to the first.
    bytes: [u8; BYTES_MAX],
    start: u8,
}

impl SizeLine {
    /// No line at all.
    pub(super) const EMPTY: Self = Self {
        bytes: [0; BYTES_MAX],
        start: 18,
    };

    /// The line of a chunk with `size` bytes of data. A chunk of 0 bytes would end the body; there
    /// is no line for it, and the answer is empty.
    pub fn new(size: u64) -> Self {
        let mut line = Self::EMPTY;
        if size == 0 {
            return line;
        }
        let mut rest = size;
        for slot in line.bytes.iter_mut().rev() {
            *slot = match line.start {
                18 => b'\n',
                17 => b'\r',
                _ if rest == 0 => break,
                _ => {
                    let digit = rest & 0xF;
                    rest >>= 4;
                    char::from_digit(u32::try_from(digit).unwrap_or(0), 16)
                        .map_or(b'0', |c| c as u8)
                }
            };
            line.start -= 1;
        }
        line
    }

    /// The bytes to write.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes
            .get(usize::from(self.start)..)
            .unwrap_or_default()
    }
}

const _: () = assert!(CHUNK_SIZE_DIGITS_MAX + 2 <= BYTES_MAX);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_written_in_hexadecimal() {
        for size in [1, 9, 10, 15, 16, 255, 4096, 0xDEAD_BEEF, u64::MAX] {
            assert_eq!(
                SizeLine::new(size).as_bytes(),
                format!("{size:x}\r\n").as_bytes()
            );
        }
    }

    #[test]
    fn a_chunk_of_nothing_has_no_line() {
        assert_eq!(SizeLine::new(0).as_bytes(), b"");
    }
}
