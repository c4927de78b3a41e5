//! Engine request ids: how vLLM builds them from the header and how the KV connector reads them.
//!
//! P and D agree on a request only if both build the same id, byte for byte.

use std::fmt;

/// A KV address read out of a request id: host text and port, not resolved, not validated.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KvAddress {
    /// Everything between the marker and the last usable colon.
    pub host: String,
    /// The digits after that colon; out-of-range numbers are kept so that connecting fails, as it
    /// does for a real node.
    pub port: u64,
}

impl fmt::Display for KvAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// What a prefill node reads: the pattern `___decode_addr_(.*):(\d+)`, searched anywhere, greedy.
#[must_use]
pub fn decode_address(engine_id: &str) -> Option<KvAddress> {
    let (_, rest) = engine_id.split_once("___decode_addr_")?;
    last_address(rest, "")
}

/// What a decode node reads: the pattern `___prefill_addr_(.*):(\d+)___`, searched anywhere, greedy.
#[must_use]
pub fn prefill_address(engine_id: &str) -> Option<KvAddress> {
    let (_, rest) = engine_id.split_once("___prefill_addr_")?;
    last_address(rest, "___")
}

/// The last `host:digits` in `text` whose digits are followed by `end`. Greedy matching backs off
/// from the end of the line, so the last colon that fits wins.
fn last_address(text: &str, end: &str) -> Option<KvAddress> {
    // In these patterns a dot stands for anything but a line feed.
    let line = text.split('\n').next()?;
    line.rmatch_indices(':').find_map(|(at, _)| {
        let (host, tail) = line.split_at_checked(at)?;
        let tail = tail.strip_prefix(':')?;
        let digits = tail.bytes().take_while(u8::is_ascii_digit).count();
        let (digits, after) = tail.split_at_checked(digits)?;
        (!digits.is_empty() && after.starts_with(end)).then(|| KvAddress {
            host: host.to_owned(),
            port: digits.parse().unwrap_or(u64::MAX),
        })
    })
}

/// Engine id of prompt `prompt` of a completions request, for choice `choice` of `n`.
#[must_use]
pub fn completion_id(header_id: &str, prompt: usize, choice: u32, n: u32) -> String {
    child(format!("cmpl-{header_id}-{prompt}"), choice, n)
}

/// Engine id of a chat request, for choice `choice` of `n`.
#[must_use]
pub fn chat_id(header_id: &str, choice: u32, n: u32) -> String {
    child(format!("chatcmpl-{header_id}"), choice, n)
}

/// Sampling several choices makes children with their number in front.
fn child(id: String, choice: u32, n: u32) -> String {
    if n > 1 { format!("{choice}_{id}") } else { id }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAGIC: &str = "___prefill_addr_10.0.1.2:21001___decode_addr_10.0.1.3:22001_\
                         0123456789abcdef0123456789abcdef";

    fn address(host: &str, port: u64) -> Option<KvAddress> {
        Some(KvAddress {
            host: host.to_owned(),
            port,
        })
    }

    #[test]
    fn both_addresses_are_found_with_any_prefix_and_suffix() {
        for id in [
            MAGIC.to_owned(),
            completion_id(MAGIC, 0, 0, 1),
            completion_id(MAGIC, 3, 1, 2),
            chat_id(MAGIC, 0, 1),
            chat_id(MAGIC, 1, 2),
            format!("cmpl-{MAGIC}-0-a1b2c3d4"),
        ] {
            assert_eq!(decode_address(&id), address("10.0.1.3", 22001), "{id}");
            assert_eq!(prefill_address(&id), address("10.0.1.2", 21001), "{id}");
        }
    }

    #[test]
    fn ids_are_built_as_the_api_server_does() {
        assert_eq!(completion_id("x", 2, 0, 1), "cmpl-x-2");
        assert_eq!(completion_id("x", 0, 1, 2), "1_cmpl-x-0");
        assert_eq!(chat_id("x", 0, 1), "chatcmpl-x");
        assert_eq!(chat_id("x", 1, 3), "1_chatcmpl-x");
    }

    #[test]
    fn id_without_markers_names_nobody() {
        assert_eq!(decode_address("cmpl-3fa85f64-0"), None);
        assert_eq!(prefill_address("___prefill_addr_host:port___"), None);
        assert_eq!(prefill_address("___prefill_addr_10.0.0.1:21001"), None);
    }

    #[test]
    fn later_colon_with_digits_wins_on_prefill() {
        let id = "___prefill_addr_a:1___decode_addr_b:2_x:99_";
        assert_eq!(decode_address(id), address("b:2_x", 99));
        assert_eq!(prefill_address(id), address("a", 1));
    }

    #[test]
    fn ipv6_hosts_are_taken_as_they_stand() {
        let id = "___prefill_addr_[2001:db8::2]:21001___decode_addr_2001:db8::3:22001_0f";
        assert_eq!(prefill_address(id), address("[2001:db8::2]", 21001));
        assert_eq!(decode_address(id), address("2001:db8::3", 22001));
    }
}
