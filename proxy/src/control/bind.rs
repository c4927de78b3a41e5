//! Binding the ports, and what to do when one cannot be had.

use std::io;
use std::net::SocketAddr;

use crate::io::Listener;
use crate::limits;
use crate::registry;

/// A port could not be bound. The cause is part of the text, and is not told again as its source.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {cause}{hint}")]
pub(super) struct BindError {
    address: SocketAddr,
    cause: io::Error,
    hint: String,
}

/// One listener per shard on `address`. A port that anybody else listens on is refused, also if they
/// share theirs as we do: the kernel would deal connections out to both.
///
/// # Errors
///
/// Why the address cannot be had, and how to choose another.
pub(super) fn listeners(address: SocketAddr, shards: usize) -> Result<Vec<Listener>, BindError> {
    let bind = || {
        Listener::check_free(address)?;
        let bind = |_| Listener::bind_shared(address, limits::LISTEN_BACKLOG);
        (0..shards).map(bind).collect::<io::Result<Vec<_>>>()
    };
    bind().map_err(|cause: io::Error| BindError {
        address,
        hint: hint(&cause, "--port (PROXY_HTTP_PORT)"),
        cause,
    })
}

/// A registry's failure to start, with the cure if it is that of a port.
pub(super) fn registration(error: registry::StartError) -> anyhow::Error {
    match error {
        registry::StartError::Bind { address, why } => anyhow::Error::new(BindError {
            address,
            hint: hint(&why, "--zmq-port (PROXY_ZMQ_PORT)"),
            cause: why,
        })
        .context("nodes could not register"),
        other => other.into(),
    }
}

/// What an operator can do about `cause`, with the flag that sets the port.
fn hint(cause: &io::Error, flag: &str) -> String {
    match cause.kind() {
        io::ErrorKind::AddrInUse => {
            format!("; another process listens there: end it, or choose another port with {flag}")
        }
        io::ErrorKind::PermissionDenied => {
            format!("; choose a port above 1023 with {flag}")
        }
        io::ErrorKind::AddrNotAvailable => {
            "; --host must be an address of this machine, or 0.0.0.0 for all of them".to_owned()
        }
        _ => String::new(),
    }
}
