//! Which bytes may stand where.

/// Whether `byte` may stand in a token, such as a method, a field name or a `Connection` option
/// (RFC 9110 §5.6.2).
pub(super) const fn is_token(byte: u8) -> bool {
    matches!(
        byte,
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9'
            | b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
    )
}

/// Whether `text` is a token.
pub(super) fn is_all_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().copied().all(is_token)
}

/// Whether `byte` is visible ASCII, the alphabet of a start line's parts.
pub(super) const fn is_visible(byte: u8) -> bool {
    matches!(byte, 0x21..=0x7E)
}

/// Whether `byte` may stand in a URI (RFC 3986 §2), short of `#`, which a request target never has.
pub(super) const fn is_uri(byte: u8) -> bool {
    matches!(
        byte,
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9'
            | b'-' | b'.' | b'_' | b'~' | b'%'
            | b':' | b'/' | b'?' | b'[' | b']' | b'@'
            | b'!' | b'$' | b'&'..=b',' | b';' | b'='
    )
}

/// Whether `byte` may stand in a field's value: no control byte but HTAB (RFC 9110 §5.5). Bytes
/// from 0x80 are opaque and allowed.
pub(super) const fn is_value(byte: u8) -> bool {
    matches!(byte, b'\t' | 0x20..=0x7E | 0x80..)
}

/// Optional white space (RFC 9110 §5.6.3).
pub(super) const fn is_ows(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// `text` without the optional white space around it.
pub(super) fn trim_ows(mut text: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = text
        && is_ows(*first)
    {
        text = rest;
    }
    while let [rest @ .., last] = text
        && is_ows(*last)
    {
        text = rest;
    }
    text
}

/// The members of a comma-separated list, trimmed; empty ones too (RFC 9110 §5.6.1).
pub(super) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(trim_ows)
}

/// `1*DIGIT` as a number; `None` if it is anything else or does not fit.
///
/// Not `str::parse`, which takes a leading plus.
pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| byte - b'0')?;
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// Every byte of a word set to 1.
const ONES: u64 = u64::from_le_bytes([1; 8]);
/// The top bit of every byte of a word.
const TOPS: u64 = ONES << 7;

/// The index of the first control byte: below 0x20, or DEL.
///
/// Eight bytes at a time: a subtraction borrows into the next byte only above a byte that is a hit
/// itself, so the lowest hit of a word is exact.
pub(super) fn first_control(text: &[u8]) -> Option<usize> {
    let (words, tail) = text.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let below_space = word.wrapping_sub(ONES * 0x20) & !word;
        let not_del = word ^ (ONES * 0x7F);
        let del = not_del.wrapping_sub(ONES) & !not_del;
        let hits = (below_space | del) & TOPS;
        if hits != 0 {
            return Some(index * 8 + (hits.trailing_zeros() >> 3) as usize);
        }
    }
    let at = tail.iter().position(u8::is_ascii_control)?;
    Some(text.len() - tail.len() + at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn first_control_agrees_with_a_bytewise_search(text: Vec<u8>) {
            prop_assert_eq!(first_control(&text), text.iter().position(u8::is_ascii_control));
        }

        #[test]
        fn first_control_is_found_after_any_bytes(
            clean in proptest::collection::vec(0x80_u8.., 0..40),
        ) {
            for control in (0..0x20).chain([0x7F]) {
                let mut text = clean.clone();
                text.push(control);
                text.extend([0, 0x7F, 0x1F, 0xFF]);
                prop_assert_eq!(first_control(&text), Some(clean.len()));
            }
        }
    }

    #[test]
    fn every_byte_has_the_classes_of_the_grammar() {
        for byte in 0..=u8::MAX {
            let delimiters = b"\"(),/:;<=>?@[\\]{}";
            let is_vchar = byte.is_ascii_graphic();
            assert_eq!(
                is_token(byte),
                is_vchar && !delimiters.contains(&byte),
                "{byte:#x}"
            );
            assert_eq!(
                is_uri(byte),
                is_vchar && !b"\"#<>\\^`{|}".contains(&byte),
                "{byte:#x}"
            );
            assert_eq!(
                is_value(byte),
                byte == b'\t' || !byte.is_ascii_control(),
                "{byte:#x}"
            );
        }
    }

    #[test]
    fn decimal_takes_digits_only() {
        assert_eq!(decimal(b"0"), Some(0));
        assert_eq!(decimal(b"0042"), Some(42));
        assert_eq!(decimal(b"18446744073709551615"), Some(u64::MAX));
        for refused in [
            "",
            "+5",
            "-5",
            " 5",
            "5 ",
            "0x5",
            "5,5",
            "18446744073709551616",
            "٥",
        ] {
            assert_eq!(decimal(refused.as_bytes()), None, "{refused}");
        }
    }
}
