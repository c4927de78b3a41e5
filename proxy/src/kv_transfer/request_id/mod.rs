//! The request id that tells two nodes of each other.

use std::fmt;

use crate::nodes::KvAddress;

/// The value of `X-Request-Id` on both legs of one request:
/// `___prefill_addr_{P}___decode_addr_{D}_{32 hex}`.
///
/// P finds in it where to push the KV cache, D where it comes from, and both file it under this name;
/// so it must be the same on both legs and on no other pair of legs, ever. The end is exactly 32
/// lower-case hexadecimal digits without dashes, because MoRIIO's nodes insist on it, and because a
/// colon followed by digits there would lead P2pNccl's greedy expression to a wrong host.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RequestId(Box<str>);

impl RequestId {
    /// The id of a new request on this pair. `random` makes it unique, and nobody must guess it.
    pub fn new(prefill_kv: &KvAddress, decode_kv: &KvAddress, random: [u8; 16]) -> Self {
        let unique = u128::from_be_bytes(random);
        Self(format!("___prefill_addr_{prefill_kv}___decode_addr_{decode_kv}_{unique:032x}").into())
    }

    /// The id as it stands in the header field.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests;
