//! One frame to one registration, or a named refusal.
//!
//! A registration is a msgpack map with the text entries `type` (`"P"` or `"D"`), `http_address` and
//! `zmq_address`, as the P2pNccl connector of vLLM 0.9.2 to 0.23 and the MoRIIO connector from 0.20 on
//! send it. Other entries are skipped, whatever they hold. A key that is there twice is refused: two
//! readers of such a map need not agree on what it says.

use rmp::Marker;
use rmp::decode::{RmpRead, bytes::Bytes, read_marker};

use super::stats::outcomes;
use crate::limits;
use crate::nodes::{HttpAddress, KvAddress, Role};

/// What a node says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Registration {
    /// What it does.
    pub(super) role: Role,
    /// Where its HTTP server listens.
    pub(super) http: HttpAddress,
    /// Where its KV transfer listens.
    pub(super) kv: KvAddress,
}

outcomes! {
    /// Why a frame is no registration. It holds nothing of what the peer sent.
    FrameError of "pd_registry_messages_total" {
        /// It is longer than [`limits::REGISTRATION_BYTES_MAX`].
        TooLong = "too_long",
        /// It ends within a value, or is empty.
        Truncated = "truncated",
        /// It has the byte that msgpack never uses.
        Malformed = "malformed",
        /// Something follows the map.
        Trailing = "trailing_bytes",
        /// It is no map.
        NotMap = "not_a_map",
        /// The map has more than [`limits::REGISTRATION_ENTRIES_MAX`] entries.
        TooManyEntries = "too_many_entries",
        /// One of the three keys is there twice.
        DuplicateKey = "duplicate_key",
        /// One of the three keys is missing.
        MissingKey = "missing_key",
        /// One of the three values is not text.
        NotText = "not_text",
        /// A `HELLO` or `register` message of MoRIIO before 0.20.
        Legacy = "legacy",
        /// Its type is neither `P` nor `D`.
        UnknownType = "unknown_type",
        /// `http_address` is not `host:port`.
        HttpAddress = "http_address",
        /// `zmq_address` has neither of its two forms.
        KvAddress = "kv_address",
    }
}

/// Reads one frame.
///
/// Time and memory are bounded by the length of `body`: nothing is allocated for a length that the
/// frame merely claims, and nested values are walked, not recursed into.
///
/// # Errors
///
/// Why it is no registration.
pub(super) fn decode(body: &[u8]) -> Result<Registration, FrameError> {
    if body.len() > limits::REGISTRATION_BYTES_MAX {
        return Err(FrameError::TooLong);
    }
    let mut reader = Bytes::new(body);
    let [role, http, kv] = read_entries(&mut reader)?;
    if !reader.remaining_slice().is_empty() {
        return Err(FrameError::Trailing);
    }

    let role = match text(role)? {
        "P" => Role::Prefill,
        "D" => Role::Decode,
        "HELLO" | "register" => return Err(FrameError::Legacy),
        _ => return Err(FrameError::UnknownType),
    };
    let http = HttpAddress::parse(text(http)?).or(Err(FrameError::HttpAddress))?;
    let kv = KvAddress::parse(text(kv)?).or(Err(FrameError::KvAddress))?;
    Ok(Registration { role, http, kv })
}

/// What stands under a key.
#[derive(Clone, Copy)]
enum Value<'a> {
    Missing,
    Text(&'a [u8]),
    Other,
}

/// The values of `type`, `http_address` and `zmq_address`.
fn read_entries<'a>(reader: &mut Bytes<'a>) -> Result<[Value<'a>; 3], FrameError> {
    let entries = match marker(reader)? {
        Marker::FixMap(entries) => u32::from(entries),
        Marker::Map16 => length::<2>(reader)?,
        Marker::Map32 => length::<4>(reader)?,
        _ => return Err(FrameError::NotMap),
    };
    if entries > limits::REGISTRATION_ENTRIES_MAX {
        return Err(FrameError::TooManyEntries);
    }

    let [mut role, mut http, mut kv] = [Value::Missing; 3];
    for _ in 0..entries {
        let key = read_value(reader)?;
        let value = read_value(reader)?;
        let slot = match key {
            Value::Text(b"type") => &mut role,
            Value::Text(b"http_address") => &mut http,
            Value::Text(b"zmq_address") => &mut kv,
            Value::Text(_) | Value::Other | Value::Missing => continue,
        };
        if !matches!(slot, Value::Missing) {
            return Err(FrameError::DuplicateKey);
        }
        *slot = value;
    }
    Ok([role, http, kv])
}

fn text(value: Value<'_>) -> Result<&str, FrameError> {
    match value {
        Value::Text(bytes) => std::str::from_utf8(bytes).or(Err(FrameError::NotText)),
        Value::Missing => Err(FrameError::MissingKey),
        Value::Other => Err(FrameError::NotText),
    }
}

/// Reads one value: text (str or bin, which older msgpack libraries send for it) as its bytes; of
/// anything else only the end is found.
fn read_value<'a>(reader: &mut Bytes<'a>) -> Result<Value<'a>, FrameError> {
    // How many values are still to be walked over. Every one takes at least a byte of a bounded frame,
    // so that claimed lengths, each below 2^33, add up to far less than 2^64.
    let mut pending = match shape(reader)? {
        Shape::Text(bytes) => return Ok(Value::Text(take(reader, bytes)?)),
        Shape::Bytes(bytes) => {
            take(reader, bytes)?;
            0
        }
        Shape::Values(values) => values,
    };
    while pending > 0 {
        pending -= 1;
        match shape(reader)? {
            Shape::Text(bytes) | Shape::Bytes(bytes) => {
                take(reader, bytes)?;
            }
            Shape::Values(values) => pending += values,
        }
    }
    Ok(Value::Other)
}

/// What follows a marker and its length.
enum Shape {
    /// Bytes of text.
    Text(u32),
    /// Bytes without a meaning for us.
    Bytes(u32),
    /// Further values.
    Values(u64),
}

fn shape(reader: &mut Bytes<'_>) -> Result<Shape, FrameError> {
    Ok(match marker(reader)? {
        Marker::FixStr(bytes) => Shape::Text(u32::from(bytes)),
        Marker::Str8 | Marker::Bin8 => Shape::Text(length::<1>(reader)?),
        Marker::Str16 | Marker::Bin16 => Shape::Text(length::<2>(reader)?),
        Marker::Str32 | Marker::Bin32 => Shape::Text(length::<4>(reader)?),
        Marker::Null | Marker::False | Marker::True | Marker::FixPos(_) | Marker::FixNeg(_) => {
            Shape::Bytes(0)
        }
        Marker::U8 | Marker::I8 => Shape::Bytes(1),
        Marker::U16 | Marker::I16 | Marker::FixExt1 => Shape::Bytes(2),
        Marker::FixExt2 => Shape::Bytes(3),
        Marker::U32 | Marker::I32 | Marker::F32 => Shape::Bytes(4),
        Marker::FixExt4 => Shape::Bytes(5),
        Marker::U64 | Marker::I64 | Marker::F64 => Shape::Bytes(8),
        Marker::FixExt8 => Shape::Bytes(9),
        Marker::FixExt16 => Shape::Bytes(17),
        // An extension's length does not count its type.
        Marker::Ext8 => Shape::Bytes(length::<1>(reader)?.saturating_add(1)),
        Marker::Ext16 => Shape::Bytes(length::<2>(reader)?.saturating_add(1)),
        Marker::Ext32 => Shape::Bytes(length::<4>(reader)?.saturating_add(1)),
        Marker::FixArray(values) => Shape::Values(u64::from(values)),
        Marker::Array16 => Shape::Values(u64::from(length::<2>(reader)?)),
        Marker::Array32 => Shape::Values(u64::from(length::<4>(reader)?)),
        Marker::FixMap(entries) => Shape::Values(u64::from(entries) * 2),
        Marker::Map16 => Shape::Values(u64::from(length::<2>(reader)?) * 2),
        Marker::Map32 => Shape::Values(u64::from(length::<4>(reader)?) * 2),
        Marker::Reserved => return Err(FrameError::Malformed),
    })
}

fn marker(reader: &mut Bytes<'_>) -> Result<Marker, FrameError> {
    read_marker(reader).or(Err(FrameError::Truncated))
}

/// A big-endian length of `N` bytes, at most four.
fn length<const N: usize>(reader: &mut Bytes<'_>) -> Result<u32, FrameError> {
    let mut bytes = [0; N];
    reader
        .read_exact_buf(&mut bytes)
        .or(Err(FrameError::Truncated))?;
    Ok(bytes
        .iter()
        .fold(0, |length, byte| length << 8 | u32::from(*byte)))
}

fn take<'a>(reader: &mut Bytes<'a>, count: u32) -> Result<&'a [u8], FrameError> {
    let count = usize::try_from(count).or(Err(FrameError::Truncated))?;
    let (taken, rest) = reader
        .remaining_slice()
        .split_at_checked(count)
        .ok_or(FrameError::Truncated)?;
    *reader = Bytes::new(rest);
    Ok(taken)
}

/// The property of frames, for tests and fuzzing: any bytes end in a registration or a refusal; a
/// registration holds nothing that could break a header field or a request id, says the same when it
/// is written and read again, and is a registration neither cut short nor with a byte more.
///
/// # Panics
///
/// When it does not hold.
pub fn check_registration(data: &[u8]) {
    let Ok(registration) = decode(data) else {
        return;
    };
    for text in [registration.http.as_str(), registration.kv.as_str()] {
        assert!(!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()));
        assert!(!text.contains('/') && !text.contains('@') && !text.contains('"'));
    }
    assert_ne!(registration.http.port(), 0);
    // Three underscores part the addresses of a request id, which holds KV addresses only.
    assert!(!registration.kv.as_str().contains("___"));

    let role = if registration.role == Role::Prefill {
        "P"
    } else {
        "D"
    };
    let mut again = vec![0x83];
    for text in [
        "type",
        role,
        "http_address",
        registration.http.as_str(),
        "zmq_address",
        registration.kv.as_str(),
    ] {
        assert!(rmp::encode::write_str(&mut again, text).is_ok());
    }
    assert_eq!(decode(&again).as_ref(), Ok(&registration));

    for cut in (0..data.len()).rev().take(256) {
        assert!(
            decode(data.get(..cut).unwrap_or_default()).is_err(),
            "cut at {cut}"
        );
    }
    let mut longer = data.to_vec();
    longer.push(0xc0);
    assert!(decode(&longer).is_err());
}

#[cfg(test)]
mod tests;
