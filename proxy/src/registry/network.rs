//! A network in CIDR notation.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// The addresses that share a prefix, such as `10.0.0.0/8`; an address without a length is that address
/// alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u32,
}

/// A text that is not `address/length`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidNetwork {
    /// Before the slash there is no IP address.
    #[error("a network starts with an IP address, as 10.0.0.0/8 does")]
    Address,
    /// The length is not a number, or larger than the address is long.
    #[error("the length of a network is a number of bits, up to 32 for IPv4 and 128 for IPv6")]
    Length,
}

impl Network {
    /// Whether `ip` is in it. An IPv4 address that came in its IPv6 form is taken for what it is.
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.address.to_canonical(), ip.to_canonical()) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                let differ = ours.to_bits() ^ theirs.to_bits();
                differ.leading_zeros() >= self.bits
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => {
                let differ = ours.to_bits() ^ theirs.to_bits();
                differ.leading_zeros() >= self.bits
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

impl FromStr for Network {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, InvalidNetwork> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().or(Err(InvalidNetwork::Address))?;
        if address.to_canonical() != address {
            // The length of a mapped address could be meant either way.
            return Err(InvalidNetwork::Address);
        }
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => longest,
            Some(bits) if bits.bytes().all(|byte| byte.is_ascii_digit()) => {
                bits.parse().or(Err(InvalidNetwork::Length))?
            }
            Some(_) => return Err(InvalidNetwork::Length),
        };
        if bits > longest {
            return Err(InvalidNetwork::Length);
        }
        Ok(Self { address, bits })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(network: &str, ip: &str) -> bool {
        network
            .parse::<Network>()
            .unwrap()
            .contains(ip.parse().unwrap())
    }

    #[test]
    fn addresses_with_the_prefix_are_in_the_network() {
        assert!(contains("10.0.0.0/8", "10.255.0.1"));
        assert!(contains("10.9.9.9/8", "10.0.0.1"));
        assert!(contains("0.0.0.0/0", "255.1.2.3"));
        assert!(contains("::/0", "2001:db8::1"));
        assert!(contains("2001:db8::/33", "2001:db8:7fff::1"));
        assert!(contains("192.168.1.7", "192.168.1.7"));
        assert!(contains("10.0.0.0/8", "::ffff:10.1.2.3"));
    }

    #[test]
    fn addresses_without_the_prefix_are_not() {
        assert!(!contains("10.0.0.0/8", "11.0.0.0"));
        assert!(!contains("192.168.1.7/32", "192.168.1.6"));
        assert!(!contains("2001:db8::/33", "2001:db8:8000::1"));
        assert!(!contains("0.0.0.0/0", "::1"));
        assert!(!contains("::/0", "127.0.0.1"));
    }

    #[test]
    fn text_that_is_no_network_is_refused() {
        for text in ["", "/8", "10.0.0/8", "host/8", "::ffff:10.0.0.0/104"] {
            assert_eq!(
                text.parse::<Network>(),
                Err(InvalidNetwork::Address),
                "{text}"
            );
        }
        for text in [
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0.0/+8",
            "::/129",
            "10.0.0.0/8/8",
            "::/x",
        ] {
            assert_eq!(
                text.parse::<Network>(),
                Err(InvalidNetwork::Length),
                "{text}"
            );
        }
    }

    #[test]
    fn network_is_written_as_it_is_read() {
        for text in ["10.0.0.0/8", "::/0", "2001:db8::1/128"] {
            assert_eq!(text.parse::<Network>().unwrap().to_string(), text);
        }
    }
}
