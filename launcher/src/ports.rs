//! Free ports, found and kept.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, TcpListener};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};

/// Ports of the kernel's choice looked at before giving up.
const ATTEMPTS: u32 = 64;

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
        for _ in 0..ATTEMPTS {
            if let Some(port) = self.try_claim(0)? {
                return Ok(port);
            }
        }
        Err(ErrorKind::AddrInUse.into())
    }

    /// This port, or any for 0; `None` if it is taken.
    fn try_claim(&mut self, port: u16) -> io::Result<Option<u16>> {
        let listener = match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(listener) => listener,
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
        };
        let port = listener.local_addr()?.port();
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

            assert_ne!(port, taken);
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
