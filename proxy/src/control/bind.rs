//! Binding the port for clients.

use std::io;
use std::net::SocketAddr;

use crate::io::Listener;
use crate::limits;

/// A port could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {cause}{hint}")]
pub(super) struct BindError {
    address: SocketAddr,
    #[source]
    cause: io::Error,
    hint: &'static str,
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
    bind().map_err(|cause: io::Error| {
        let hint = match cause.kind() {
            io::ErrorKind::AddrInUse => {
                "; another process listens there: end it, or choose another port with --port \
                 (PROXY_HTTP_PORT)"
            }
            io::ErrorKind::PermissionDenied => "; choose a port above 1023 with --port",
            io::ErrorKind::AddrNotAvailable => {
                "; --host must be an address of this machine, or 0.0.0.0 for all of them"
            }
            _ => "",
        };
        BindError {
            address,
            cause,
            hint,
        }
    })
}
