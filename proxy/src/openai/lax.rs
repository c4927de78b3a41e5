//! How a node reads a value that is not of the type it wants.
//!
//! vLLM's request models are pydantic's in lax mode: `"yes"` is a boolean and `"5"` an integer. Whoever
//! decides by such a value must read it no more narrowly than the node. Forms that only a program would
//! think of (`1e2`, `"1_000"`, `true` for 1) are none here; callers take none for the dangerous answer.

use super::json::{Kind, Value};

/// The boolean that a node makes of `value`, if we are sure of it.
pub(super) fn boolean(value: Value, body: &[u8]) -> Option<bool> {
    match value.kind {
        Kind::True => Some(true),
        Kind::False => Some(false),
        Kind::Number => match integer(value, body) {
            Some(0) => Some(false),
            Some(1) => Some(true),
            _ => None,
        },
        Kind::String => {
            const TRUE: [&str; 6] = ["1", "on", "t", "true", "y", "yes"];
            const FALSE: [&str; 6] = ["0", "off", "f", "false", "n", "no"];
            let text = inside(value.text(body))?;
            let is_one_of =
                |words: [&str; 6]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
            match (is_one_of(TRUE), is_one_of(FALSE)) {
                (true, _) => Some(true),
                (_, true) => Some(false),
                (false, false) => None,
            }
        }
        Kind::Null | Kind::Array | Kind::Object => None,
    }
}

/// The integer that a node makes of `value`, if we are sure of it and it fits.
pub(super) fn integer(value: Value, body: &[u8]) -> Option<i64> {
    let text = match value.kind {
        Kind::Number => std::str::from_utf8(value.text(body)).ok()?,
        Kind::String => inside(value.text(body))?.trim_ascii(),
        _ => return None,
    };
    // 16.0 is an integer to pydantic, 16.5 is not.
    let whole = text.split_once('.').map_or(text, |(whole, fraction)| {
        if !fraction.is_empty() && fraction.bytes().all(|b| b == b'0') {
            whole
        } else {
            text
        }
    });
    let digits = whole.strip_prefix('-').unwrap_or(whole);
    // Digits only: Rust's parser would take a plus.
    let is_decimal = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    if is_decimal { whole.parse().ok() } else { None }
}

/// What stands between the quotes of a string without escapes.
fn inside(quoted: &[u8]) -> Option<&str> {
    let text = quoted.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    if text.contains(&b'\\') {
        None
    } else {
        std::str::from_utf8(text).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::openai::json;

    fn value(text: &str) -> (Value, Vec<u8>) {
        let body = format!("{{\"v\":{text}}}").into_bytes();
        let mut found = None;
        json::object(&body, |member| {
            found = Some(member.value);
            Ok(())
        })
        .unwrap();
        (found.unwrap(), body)
    }

    #[test]
    fn booleans_are_read_as_pydantic_reads_them() {
        for text in [
            "true",
            "1",
            "1.0",
            r#""true""#,
            r#""TRUE""#,
            r#""Yes""#,
            r#""on""#,
            r#""t""#,
        ] {
            let (value, body) = value(text);
            assert_eq!(boolean(value, &body), Some(true), "{text}");
        }
        for text in [
            "false",
            "0",
            "-0",
            "0.0",
            r#""False""#,
            r#""off""#,
            r#""n""#,
            r#""0""#,
        ] {
            let (value, body) = value(text);
            assert_eq!(boolean(value, &body), Some(false), "{text}");
        }
        for text in [
            "2",
            "null",
            "[]",
            "{}",
            r#""""#,
            r#""maybe""#,
            r#""tru\u0065""#,
            "1e0",
        ] {
            let (value, body) = value(text);
            assert_eq!(boolean(value, &body), None, "{text}");
        }
    }

    #[test]
    fn integers_are_read_as_pydantic_reads_them() {
        for (text, expected) in [
            ("0", Some(0)),
            ("-3", Some(-3)),
            ("16.00", Some(16)),
            (r#"" 5 ""#, Some(5)),
            (r#""7.0""#, Some(7)),
            ("9223372036854775807", Some(i64::MAX)),
            ("9223372036854775808", None),
            ("16.5", None),
            ("1e2", None),
            (r#""+5""#, None),
            (r#""5.""#, None),
            (r#""""#, None),
            (r#""-""#, None),
            ("true", None),
            ("null", None),
            ("[1]", None),
        ] {
            let (value, body) = value(text);
            assert_eq!(integer(value, &body), expected, "{text}");
        }
    }
}
