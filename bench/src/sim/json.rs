//! Writes JSON by hand where every token pays for it.

use std::io::Write as _;

/// Appends `text` as it stands inside a JSON string.
pub(crate) fn push_escaped(text: &str, out: &mut Vec<u8>) {
    let quoted = serde_json::Value::from(text).to_string();
    let inner = quoted.get(1..quoted.len().saturating_sub(1));
    out.extend_from_slice(inner.unwrap_or_default().as_bytes());
}

/// Formats into a buffer, which cannot fail.
pub(crate) fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).ok();
}

/// Appends a value as JSON.
pub(crate) fn put_value(out: &mut Vec<u8>, value: &impl serde::Serialize) {
    serde_json::to_writer(out, value).ok();
}
