//! Free ports, found and kept.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};

/// Where a port is looked for in the place of a taken one: below the range from which Linux takes the
/// near ends of connections (32768 and up). A port of that range may be a connection's by the time the
/// child binds it; a busy machine takes thousands a second.
const SPARE: Range<u16> = 20_000..32_000;

/// Ports claimed for children on the loopback address.
///
/// A port is tried by binding it, and is free again until the child binds it. So that two launchers
/// do not choose the same one in between, each claim also holds a Unix socket in the abstract
/// namespace; the kernel frees it with the process, however that ends.
#[derive(Debug, Default)]
pub(crate) struct Ports {
    claims: Vec<UnixListener>,
}

impl Ports {
    /// The wanted port, or another free one if that is taken.
    pub(crate) fn claim(&mut self, wanted: u16) -> io::Result<u16> {
        if let Some(port) = self.try_claim(wanted)? {
            return Ok(port);
        }
        // Two launchers begin at different places, so that they seldom ask for the same port.
        let begin = std::process::id() % u32::from(SPARE.end - SPARE.start);
        let begin = SPARE.start + u16::try_from(begin).unwrap_or(0);
        for port in (begin..SPARE.end).chain(SPARE.start..begin) {
            if let Some(port) = self.try_claim(port)? {
                return Ok(port);
            }
        }
        Err(ErrorKind::AddrInUse.into())
    }

    /// This port; `None` if it is taken.
    fn try_claim(&mut self, port: u16) -> io::Result<Option<u16>> {
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(listener) => drop(listener),
            // Ports below 1024 may be forbidden instead.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::AddrInUse | ErrorKind::PermissionDenied
                ) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(error),
        }
        let name = SocketAddr::from_abstract_name(format!("pd-launcher/port/{port}"))?;
        match UnixListener::bind_addr(&name) {
            Ok(claim) => self.claims.push(claim),
            Err(error) if error.kind() == ErrorKind::AddrInUse => return Ok(None),
            Err(error) => return Err(error),
        }
        Ok(Some(port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn free_port() -> u16 {
        TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port()
    }

    #[test]
    fn free_port_is_given_as_wanted() {
        let port = free_port();

        assert_eq!(Ports::default().claim(port).unwrap(), port);
    }

    #[test]
    fn taken_port_is_replaced_by_one_that_can_be_bound() {
        for address in ["127.0.0.1:0", "0.0.0.0:0"] {
            let owner = TcpListener::bind(address).unwrap();
            let taken = owner.local_addr().unwrap().port();

            let port = Ports::default().claim(taken).unwrap();

            assert!(SPARE.contains(&port), "{port}");
            TcpListener::bind(("127.0.0.1", port)).unwrap();
        }
    }

    #[test]
    fn no_port_is_given_twice() {
        let wanted = free_port();
        let mut ports = Ports::default();

        let first = ports.claim(wanted).unwrap();
        let second = ports.claim(wanted).unwrap();

        assert_ne!(first, second);
    }

    #[test]
    fn another_launcher_s_claim_is_respected_until_it_ends() {
        let wanted = free_port();
        let mut other = Ports::default();
        other.claim(wanted).unwrap();

        assert_ne!(Ports::default().claim(wanted).unwrap(), wanted);
        drop(other);
        assert_eq!(Ports::default().claim(wanted).unwrap(), wanted);
    }
}
