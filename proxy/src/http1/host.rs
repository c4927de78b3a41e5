//! `host[:port]`, as it stands in `Host` and in a request target.

use std::net::Ipv6Addr;
use std::str;

use super::bytes::decimal;

/// A checked authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Authority<'a> {
    host: &'a [u8],
    port: Option<u16>,
}

impl<'a> Authority<'a> {
    /// `uri-host [ ":" port ]` (RFC 9110 §7.2); `None` if `text` is not one.
    ///
    /// Narrower than RFC 3986 §3.2.2 in what no host in use has: user information,
    /// percent-encoding, sub-delimiters (a comma would be taken for a list), IPv6 zones and future
    /// IP versions. As there, the port may be empty.
    pub(super) fn parse(text: &'a [u8]) -> Option<Self> {
        let host_bytes = if text.first() == Some(&b'[') {
            text.iter().position(|byte| *byte == b']')? + 1
        } else {
            text.iter()
                .position(|byte| *byte == b':')
                .unwrap_or(text.len())
        };
        let (host, port) = text.split_at_checked(host_bytes)?;
        if !is_host(host) {
            return None;
        }
        let port = match port {
            [] | [b':'] => None,
            [b':', digits @ ..] if digits.len() <= 5 => Some(u16::try_from(decimal(digits)?).ok()?),
            _ => return None,
        };
        Some(Self { host, port })
    }

    /// Whether both name the same server, where `default_port` is meant if none is named.
    pub(super) fn is_same(self, other: Self, default_port: u16) -> bool {
        self.host.eq_ignore_ascii_case(other.host)
            && self.port.unwrap_or(default_port) == other.port.unwrap_or(default_port)
    }

    /// Whether a port is named.
    pub(super) const fn has_port(self) -> bool {
        self.port.is_some()
    }
}

fn is_host(host: &[u8]) -> bool {
    if let [b'[', literal @ .., b']'] = host {
        return str::from_utf8(literal).is_ok_and(|literal| literal.parse::<Ipv6Addr>().is_ok());
    }
    !host.is_empty()
        && host
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_with_and_without_port_are_hosts() {
        for text in [
            "a",
            "A.b-c_d.example",
            "localhost:8000",
            "127.0.0.1",
            "127.0.0.1:65535",
            "[::1]",
            "[2001:db8::1]:80",
            "a:",
            "xn--bcher-kva.example",
        ] {
            assert!(Authority::parse(text.as_bytes()).is_some(), "{text}");
        }
    }

    #[test]
    fn whatever_else_is_no_host() {
        for text in [
            "",
            ":80",
            "a b",
            "a,b",
            "a/b",
            "a?b",
            "a#b",
            "u@a",
            "u:p@a",
            "a:b",
            "a:80:80",
            "a:+80",
            "a:65536",
            "a:000080",
            "::1",
            "[::1",
            "::1]",
            "[::1]80",
            "[::1%25eth0]",
            "[v1.x]",
            "[]",
            "[a]",
            "a\\b",
            "<a>",
            "a;b",
            "a%41",
            "\u{e4}",
            "a\t",
            "http://a",
        ] {
            assert_eq!(Authority::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_default_port_may_be_named_or_not() {
        let parse = |text: &'static str| Authority::parse(text.as_bytes()).unwrap();

        assert!(parse("A.example").is_same(parse("a.EXAMPLE:80"), 80));
        assert!(parse("a:").is_same(parse("a"), 80));
        assert!(!parse("a").is_same(parse("a:80"), 443));
        assert!(!parse("a").is_same(parse("b"), 80));
    }
}
