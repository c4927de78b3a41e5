//! One vLLM server we may send to.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use crate::limits;

/// What a node does for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Computes the KV cache of the prompt (`"P"` on the wire).
    Prefill,
    /// Generates the tokens (`"D"` on the wire).
    Decode,
}

impl Role {
    /// Both roles, in the order of a request.
    pub const ALL: [Self; 2] = [Self::Prefill, Self::Decode];

    /// The role's name in metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Prefill => "prefill",
            Self::Decode => "decode",
        }
    }
}

/// What the registry thinks of a node. Only [`State::Ready`] nodes are given requests, unless no other
/// is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// It has registered, but its `/health` has not said 200 yet: nodes ping before they can serve.
    Pending,
    /// It pings and its `/health` said 200.
    Ready,
    /// It missed pings, or a request to it failed; it is used only if its role has no ready node.
    Suspect,
}

impl State {
    /// All states, in the order of a node's life.
    pub const ALL: [Self; 3] = [Self::Pending, Self::Ready, Self::Suspect];

    /// The state's name in metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Ready => "ready",
            Self::Suspect => "suspect",
        }
    }
}

/// An address that is not `host:port` as this proxy accepts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAddress {
    /// It is empty or longer than [`limits::ADDRESS_BYTES_MAX`].
    #[error("the address is empty or too long")]
    Length,
    /// There is no `:port`, or the port is not a decimal number from 1 to 65535.
    #[error("the port must be a number from 1 to 65535")]
    Port,
    /// The host has a byte outside of letters, digits, `.`, `-`, `_`, or, in an IPv6 address, `:`.
    #[error("the host must be a name or an IP address")]
    Host,
}

/// `host:port` of a node's HTTP server, checked against a grammar and resolved.
///
/// It is held in one spelling, so that equal addresses are equal: names in lower case, IPv6 hosts in
/// their short form and in brackets, ports without leading zeros.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HttpAddress {
    text: Box<str>,
    host_bytes: usize,
}

impl HttpAddress {
    /// Checks `text`, which a peer sent.
    ///
    /// # Errors
    ///
    /// What in it is not `host:port`.
    pub fn parse(text: &str) -> Result<Self, InvalidAddress> {
        let (host, port) = split(text)?;
        let host = host
            .strip_prefix('[')
            .and_then(|h| h.strip_suffix(']'))
            .unwrap_or(host);
        let text = if host.contains(':') {
            let host = host.parse::<Ipv6Addr>().or(Err(InvalidAddress::Host))?;
            format!("[{host}]:{port}")
        } else if is_host_name(host) {
            format!("{}:{port}", host.to_ascii_lowercase())
        } else {
            return Err(InvalidAddress::Host);
        };
        let host_bytes = text.rfind(':').unwrap_or(text.len());
        Ok(Self {
            text: text.into(),
            host_bytes,
        })
    }

    /// `host:port`, as it stands in a `Host` field.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The host alone, with its brackets if it is an IPv6 address.
    pub fn host(&self) -> &str {
        self.text.get(..self.host_bytes).unwrap_or(&self.text)
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.text
            .get(self.host_bytes + 1..)
            .and_then(|port| port.parse().ok())
            .unwrap_or(0)
    }

    /// The socket address, when the host is an IP address and needs no resolving.
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        self.text.parse().ok()
    }
}

impl fmt::Display for HttpAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The address of a node's KV transfer, as other nodes reach it: `host:port`, or MoRIIO's
/// `host:{ip},handshake:{port},notify:{port}`.
///
/// It is placed in request ids that nodes take apart with greedy expressions and in a header field, so
/// its alphabet is closed and it never holds three underscores in a row.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KvAddress(Box<str>);

impl KvAddress {
    /// Checks `text`, which a peer sent.
    ///
    /// # Errors
    ///
    /// What in it is neither of the two forms.
    pub fn parse(text: &str) -> Result<Self, InvalidAddress> {
        // Between the marks of a request id, a leading underscore would complete another mark.
        if text.starts_with('_') || text.contains("___") {
            return Err(InvalidAddress::Host);
        }
        if let Some(rest) = text.strip_prefix("host:") {
            let mut parts = rest.split(',');
            let host = parts.next().unwrap_or_default();
            let handshake = parts
                .next()
                .and_then(|part| part.strip_prefix("handshake:"));
            let notify = parts.next().and_then(|part| part.strip_prefix("notify:"));
            if let (Some(handshake), Some(notify), None) = (handshake, notify, parts.next()) {
                split(&format!("{host}:{notify}"))?;
                HttpAddress::parse(&format!("{host}:{handshake}"))?;
                return Ok(Self(text.into()));
            }
        }
        HttpAddress::parse(text)?;
        Ok(Self(text.into()))
    }

    /// The address as the node sent it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KvAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `host` and `port` of an address, split at its last colon as the nodes do (an IPv6 address may come
/// without brackets).
fn split(text: &str) -> Result<(&str, u16), InvalidAddress> {
    if text.is_empty() || text.len() > limits::ADDRESS_BYTES_MAX {
        return Err(InvalidAddress::Length);
    }
    let (host, port) = text.rsplit_once(':').ok_or(InvalidAddress::Port)?;
    // Digits only: Rust's parser would take a leading plus.
    let is_decimal = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let port = if is_decimal {
        port.parse().unwrap_or(0)
    } else {
        0
    };
    if port == 0 {
        return Err(InvalidAddress::Port);
    }
    Ok((host, port))
}

/// Whether `host` is an IPv4 address or a name. A name's last label is not a number (RFC 1123 §2.1):
/// resolvers read `0x7f.1` and `2130706433` as addresses.
fn is_host_name(host: &str) -> bool {
    let is_plain = !host.is_empty()
        && host
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'));
    let last = host
        .strip_suffix('.')
        .unwrap_or(host)
        .rsplit('.')
        .next()
        .unwrap_or_default();
    let is_number = last
        .bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_digit())
        && (last.bytes().all(|byte| byte.is_ascii_digit())
            || last.starts_with("0x")
            || last.starts_with("0X"));
    is_plain && (!is_number || host.parse::<Ipv4Addr>().is_ok())
}

/// One counter on a cache line of its own, so that shards do not slow each other down.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(super) struct Cell(pub(super) AtomicU64);

/// One vLLM server we may send to.
///
/// A node lives from its first registration to its expiry; a changed KV address or role makes a new
/// one, so that a request that holds a node keeps a consistent view of it.
#[derive(Debug)]
pub struct Node {
    /// What it does.
    pub role: Role,
    /// Where its HTTP server listens.
    pub http: HttpAddress,
    /// `http`, resolved.
    pub socket: SocketAddr,
    /// Where its KV transfer listens; stands in request ids.
    pub kv: KvAddress,
    /// Requests each shard has at this node now; written by that shard alone.
    pub(super) in_flight: Box<[Cell]>,
    /// Raised by a shard that saw it fail; withdrawn by the registry when `/health` says 200 again.
    suspect: AtomicBool,
    /// One of the values below: whether it has kept a request waiting beyond its deadline.
    silence: AtomicU8,
}

/// It answers what it is asked, as far as anybody knows.
const ANSWERS: u8 = 0;
/// A request has expired; the registry is still to take note of it.
const SILENT: u8 = 1;
/// The registry has taken note, and no request has been answered since.
const ON_PROBATION: u8 = 2;

impl Node {
    /// A node as it was registered and resolved, for a process with `shards` shards.
    pub fn new(
        role: Role,
        http: HttpAddress,
        socket: SocketAddr,
        kv: KvAddress,
        shards: usize,
    ) -> Self {
        let in_flight = (0..shards).map(|_| Cell::default()).collect();
        Self {
            role,
            http,
            socket,
            kv,
            in_flight,
            suspect: AtomicBool::new(false),
            silence: AtomicU8::new(ANSWERS),
        }
    }

    /// Requests at this node now, over all shards.
    pub fn in_flight(&self) -> u64 {
        self.in_flight
            .iter()
            .map(|cell| cell.0.load(Ordering::Relaxed))
            .sum()
    }

    /// Notes that a request to this node failed: every shard avoids it from now on, until the registry
    /// has probed it.
    pub fn distrust(&self) {
        self.suspect.store(true, Ordering::Relaxed);
    }

    /// Notes that a request to this node was not answered in time: it is distrusted, and its `/health`,
    /// which a frozen engine's HTTP server still answers, does not heal it for a while.
    pub fn quarantine(&self) {
        self.silence.store(SILENT, Ordering::Relaxed);
        self.distrust();
    }

    /// Notes that it has answered a request.
    pub fn answered(&self) {
        // One load in all but the rarest cases; a silence that nobody has heeded yet stays.
        if self.silence.load(Ordering::Relaxed) == ON_PROBATION {
            self.silence.store(ANSWERS, Ordering::Relaxed);
        }
    }

    /// Whether a request has expired since the last call; the registry's to ask.
    pub fn heed_silence(&self) -> bool {
        let order = Ordering::Relaxed;
        let taken = self
            .silence
            .compare_exchange(SILENT, ON_PROBATION, order, order);
        taken.is_ok()
    }

    /// Whether no request has been answered since one expired.
    pub fn is_silent(&self) -> bool {
        self.silence.load(Ordering::Relaxed) != ANSWERS
    }

    /// Withdraws the suspicion; the registry calls this when the node's `/health` said 200.
    pub fn trust(&self) {
        self.suspect.store(false, Ordering::Relaxed);
    }

    /// Whether a request to it failed since it was last probed.
    pub fn is_suspect(&self) -> bool {
        self.suspect.load(Ordering::Relaxed)
    }
}
