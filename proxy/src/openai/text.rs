//! Runs of bytes measured many at a time.
//!
//! A request body is mostly the insides of strings, and in token-array prompts mostly digits. Both are
//! measured in whole words and blocks, in safe code that the compiler turns into vector instructions.

/// Bytes of a block. One block is one turn of a loop that the compiler unrolls into vector
/// comparisons; smaller blocks waste less on the lines of a chat, larger ones help only on images.
const BLOCK: usize = 32;
/// The high bit of each byte of a word.
const HIGH_BITS: u64 = every(0x80);

/// A stretch of a string that needs no second look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// Its length in bytes.
    pub(super) len: usize,
    /// Whether every byte of it is below 0x80. False may be wrong by the few bytes behind the run that
    /// were looked at together with its end: then somebody checks UTF-8 in vain.
    pub(super) is_ascii: bool,
}

/// Measures how far `text` goes without a quote, a backslash or a control character: the bytes that
/// end a string, or that need a decision inside of one (RFC 8259 §7).
#[inline]
pub(super) fn plain_run(text: &[u8]) -> Run {
    let mut len = 0;
    let mut seen = 0_u8;
    while let Some(block) = text.get(len..).and_then(<[u8]>::first_chunk::<BLOCK>) {
        let mut specials = 0_u8;
        let mut in_block = 0_u8;
        for &byte in block {
            // Bit operations on bytes, not branches: this makes the loop a few vector instructions.
            specials |= u8::from((byte < b' ') | (byte == b'"') | (byte == b'\\'));
            in_block |= byte;
        }
        if specials != 0 {
            break;
        }
        seen |= in_block;
        len += BLOCK;
    }
    let rest = plain_run_by_words(text.get(len..).unwrap_or_default());
    Run {
        len: len + rest.len,
        is_ascii: rest.is_ascii && seen < 0x80,
    }
}

/// As [`plain_run`], eight bytes at a time: finds the exact end within a block, and is quicker on the
/// short strings that keys and roles are.
#[inline]
fn plain_run_by_words(text: &[u8]) -> Run {
    let mut len = 0;
    let mut seen = 0_u64;
    while let Some(bytes) = text.get(len..).and_then(<[u8]>::first_chunk::<8>) {
        let word = u64::from_le_bytes(*bytes);
        seen |= word;
        let controls = word.wrapping_sub(every(b' ')) & !word;
        let special = zeros(word ^ every(b'"')) | zeros(word ^ every(b'\\')) | controls;
        let special = special & HIGH_BITS;
        if special != 0 {
            return Run {
                len: len + first(special),
                is_ascii: seen & HIGH_BITS == 0,
            };
        }
        len += 8;
    }
    while let Some(&byte) = text.get(len) {
        if byte < b' ' || byte == b'"' || byte == b'\\' {
            break;
        }
        seen |= u64::from(byte);
        len += 1;
    }
    Run {
        len,
        is_ascii: seen & HIGH_BITS == 0,
    }
}

/// Measures how many decimal digits `text` begins with.
///
/// Token ids differ in length from one to the next, which a loop over bytes pays with one mispredicted
/// branch per number; counting in a word has no branch to mispredict.
#[inline]
pub(super) fn digit_run(text: &[u8]) -> usize {
    let mut len = 0;
    while let Some(bytes) = text.get(len..).and_then(<[u8]>::first_chunk::<8>) {
        // A digit becomes 0 to 9; any other byte becomes more, or has its high bit set.
        let word = u64::from_le_bytes(*bytes) ^ every(b'0');
        let others = (word.wrapping_add(every(0x80 - 10)) | word) & HIGH_BITS;
        if others != 0 {
            return len + first(others);
        }
        len += 8;
    }
    while text.get(len).is_some_and(u8::is_ascii_digit) {
        len += 1;
    }
    len
}

/// Measures, in whole blocks, how far `text`, which begins with a comma, is a list of plain integers:
/// digits, with a comma or a comma and a space in between. The last integer may be cut.
#[inline]
pub(super) fn integer_run(text: &[u8]) -> usize {
    // The first byte of each window is known already, the last one is only looked ahead at.
    let mut len = 1;
    while let Some(window) = text
        .get(len - 1..)
        .and_then(<[u8]>::first_chunk::<{ BLOCK + 2 }>)
    {
        let mut faults = 0_u8;
        for [before, byte, after] in window.array_windows() {
            let follows_digit = before.is_ascii_digit();
            let is_comma = (*byte == b',') & follows_digit;
            let is_space = (*byte == b' ') & (*before == b',');
            let leads_digits = (*byte == b'0') & !follows_digit & after.is_ascii_digit();
            faults |= u8::from(!(byte.is_ascii_digit() | is_comma | is_space) | leads_digits);
        }
        if faults != 0 {
            break;
        }
        len += BLOCK;
    }
    len
}

/// A word with `byte` in every place.
const fn every(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

/// Sets the high bit of the lowest zero byte of `word`; bits above that one may be set wrongly, and
/// other bits of a byte hold nothing.
const fn zeros(word: u64) -> u64 {
    word.wrapping_sub(every(1)) & !word
}

/// The index of the lowest byte whose high bit is set in `marks`.
const fn first(marks: u64) -> usize {
    // At most 7, so that nothing is lost.
    (marks.trailing_zeros() / 8) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn naive_plain_run(text: &[u8]) -> usize {
        text.iter()
            .position(|&b| b < b' ' || b == b'"' || b == b'\\')
            .unwrap_or(text.len())
    }

    fn naive_digit_run(text: &[u8]) -> usize {
        text.iter()
            .position(|b| !b.is_ascii_digit())
            .unwrap_or(text.len())
    }

    fn naive_integer_run(text: &[u8]) -> usize {
        let is_digit = |at: usize| text[at].is_ascii_digit();
        let is_fault = |at: usize| match text[at] {
            b'0' => !is_digit(at - 1) && is_digit(at + 1),
            b'1'..=b'9' => false,
            b',' => !is_digit(at - 1),
            b' ' => text[at - 1] != b',',
            _ => true,
        };
        let end = text.len() - 1;
        let good = (1..end).find(|at| is_fault(*at)).unwrap_or(end) - 1;
        1 + good / BLOCK * BLOCK
    }

    #[test]
    fn token_ids_are_measured_in_whole_blocks() {
        let text = format!(",{}", "128256, 7,0, 10,".repeat(20));

        let run = integer_run(text.as_bytes());

        assert!(run + BLOCK >= text.len() - 1, "{run} of {}", text.len());
    }

    #[test]
    fn every_byte_ends_a_run_where_it_should() {
        for byte in 0..=u8::MAX {
            for at in 0..3 * BLOCK {
                let mut text = vec![b'7'; 3 * BLOCK + 5];
                text[at] = byte;

                assert_eq!(
                    plain_run(&text).len,
                    naive_plain_run(&text),
                    "{byte:#x} at {at}"
                );
                assert_eq!(
                    digit_run(&text),
                    naive_digit_run(&text),
                    "{byte:#x} at {at}"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn runs_agree_with_the_naive_ones(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            let run = plain_run(&text);

            prop_assert_eq!(run.len, naive_plain_run(&text));
            prop_assert!(!run.is_ascii || text[..run.len].is_ascii());
            prop_assert_eq!(digit_run(&text), naive_digit_run(&text));
        }

        #[test]
        fn integers_agree_with_the_naive_ones(
            pieces in prop::collection::vec("[1-9][0-9]{0,5},|[0-9], |0|00|,|  |[0-9]{2}|-1|1e5,", 1..60),
        ) {
            let text = format!(",{}", pieces.concat());

            prop_assert_eq!(integer_run(text.as_bytes()), naive_integer_run(text.as_bytes()));
        }

        #[test]
        fn text_without_high_bytes_is_known_as_ascii(text in "[ -~]{0,200}") {
            prop_assert!(plain_run(text.as_bytes()).is_ascii);
        }
    }
}
