//! Which addresses may be registered at all.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use super::network::Network;
use super::stats::Message;

/// Why an address may not be registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It is the unspecified address, which a node sends when it could not find its own, or a multicast
    /// one.
    Unreachable,
    /// It is where this proxy listens: it would send its requests to itself.
    Own,
    /// It is outside of the allowed networks.
    NotAllowed,
}

impl Refusal {
    /// What becomes of a message with such an address.
    pub(super) const fn message(self) -> Message {
        match self {
            Self::Unreachable => Message::Unreachable,
            Self::Own => Message::Own,
            Self::NotAllowed => Message::NotAllowed,
        }
    }
}

/// The rules.
#[derive(Clone, Debug)]
pub(super) struct Admission {
    own: Vec<SocketAddr>,
    allow: Vec<Network>,
}

impl Admission {
    /// Refuses the addresses at which this proxy listens, and those outside of all networks in `allow`
    /// unless it is empty.
    pub(super) fn new(own: &[SocketAddr], allow: Vec<Network>) -> Self {
        Self {
            own: own.iter().copied().map(canonical).collect(),
            allow,
        }
    }

    /// The address to connect to, in its canonical form.
    ///
    /// # Errors
    ///
    /// Why it may not be registered.
    pub(super) fn admit(&self, socket: SocketAddr) -> Result<SocketAddr, Refusal> {
        let socket = canonical(socket);
        let ip = socket.ip();
        if ip.is_unspecified() || ip.is_multicast() {
            return Err(Refusal::Unreachable);
        }
        if self.own.iter().any(|own| is_own(*own, socket)) {
            return Err(Refusal::Own);
        }
        if !self.allow.is_empty() && !self.allow.iter().any(|network| network.contains(ip)) {
            return Err(Refusal::NotAllowed);
        }
        Ok(socket)
    }
}

/// `socket`, as IPv4 if it is an IPv4 address in its IPv6 form.
pub(super) fn canonical(socket: SocketAddr) -> SocketAddr {
    SocketAddr::new(socket.ip().to_canonical(), socket.port())
}

/// Whether a connection to `socket` would end at our listener at `own`.
fn is_own(own: SocketAddr, socket: SocketAddr) -> bool {
    own.port() == socket.port()
        && (own.ip() == socket.ip()
            || socket.ip().is_loopback()
            || (own.ip().is_unspecified() && is_local(socket.ip())))
}

/// Whether `ip` is an address of this machine: only then can a socket be bound to it.
fn is_local(ip: IpAddr) -> bool {
    UdpSocket::bind(SocketAddr::new(ip, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admit(own: &[&str], allow: &[&str], address: &str) -> Result<String, Refusal> {
        let own: Vec<SocketAddr> = own.iter().map(|own| own.parse().unwrap()).collect();
        let allow = allow
            .iter()
            .map(|network| network.parse().unwrap())
            .collect();
        let admitted = Admission::new(&own, allow).admit(address.parse().unwrap())?;
        Ok(admitted.to_string())
    }

    #[test]
    fn any_reachable_address_is_admitted_by_default() {
        assert_eq!(
            admit(&[], &[], "10.0.0.1:8100").as_deref(),
            Ok("10.0.0.1:8100")
        );
        assert_eq!(
            admit(&[], &[], "[2001:db8::1]:80").as_deref(),
            Ok("[2001:db8::1]:80")
        );
    }

    #[test]
    fn mapped_address_is_taken_for_the_ipv4_address_it_is() {
        assert_eq!(
            admit(&[], &[], "[::ffff:10.0.0.1]:80").as_deref(),
            Ok("10.0.0.1:80")
        );
    }

    #[test]
    fn addresses_of_nobody_are_refused() {
        for address in [
            "0.0.0.0:80",
            "[::]:80",
            "[::ffff:0.0.0.0]:80",
            "224.0.0.1:80",
            "[ff02::1]:80",
        ] {
            assert_eq!(
                admit(&[], &[], address),
                Err(Refusal::Unreachable),
                "{address}"
            );
        }
    }

    #[test]
    fn own_address_is_refused_however_it_is_written() {
        for (own, address) in [
            ("10.0.0.1:10001", "10.0.0.1:10001"),
            ("10.0.0.1:10001", "127.0.0.1:10001"),
            ("10.0.0.1:10001", "[::1]:10001"),
            ("10.0.0.1:10001", "[::ffff:10.0.0.1]:10001"),
            ("0.0.0.0:10001", "127.3.2.1:10001"),
            ("[::]:10001", "127.0.0.1:10001"),
        ] {
            assert_eq!(
                admit(&[own], &[], address),
                Err(Refusal::Own),
                "{address} at {own}"
            );
        }
    }

    #[test]
    fn other_ports_and_other_machines_are_admitted() {
        assert!(admit(&["0.0.0.0:10001"], &[], "127.0.0.1:8100").is_ok());
        // An address of the block for documentation is no interface of this machine.
        assert!(admit(&["0.0.0.0:10001"], &[], "192.0.2.1:10001").is_ok());
        assert!(admit(&["10.0.0.1:10001"], &[], "10.0.0.2:10001").is_ok());
    }

    #[test]
    fn addresses_outside_of_the_allowed_networks_are_refused() {
        let allow = ["10.0.0.0/8", "::1"];
        assert!(admit(&[], &allow, "10.1.2.3:80").is_ok());
        assert!(admit(&[], &allow, "[::1]:80").is_ok());
        assert_eq!(
            admit(&[], &allow, "192.168.0.1:80"),
            Err(Refusal::NotAllowed)
        );
    }
}
