//! Health probes: `GET /health` at a node, 200 is healthy.
//!
//! All probes run on the registry thread, on sockets that never block; the thread polls them together
//! with everything else.

mod exchange;

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd as _, RawFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};

use self::exchange::Exchange;
use super::stats::Probed;
use super::table::Ticket;
use crate::limits;

/// A probe under way.
#[derive(Debug)]
struct Probe {
    ticket: Ticket,
    stream: TcpStream,
    exchange: Exchange,
    deadline: Duration,
}

/// The probes under way.
#[derive(Debug, Default)]
pub(super) struct Probes {
    running: Vec<Probe>,
}

impl Probes {
    /// How many are under way.
    pub(super) fn running(&self) -> usize {
        self.running.len()
    }

    /// Starts one. Its end is returned if it has already come.
    pub(super) fn start(&mut self, ticket: Ticket, now: Duration) -> Option<(Ticket, Probed)> {
        match dial(ticket.node.socket) {
            Ok(stream) => {
                let exchange = Exchange::new(&ticket.node.http);
                let deadline = now.saturating_add(limits::PROBE_TIMEOUT);
                self.running.push(Probe {
                    ticket,
                    stream,
                    exchange,
                    deadline,
                });
                None
            }
            Err(errno) => Some((ticket, failure(errno))),
        }
    }

    /// What each waits for: its descriptor, and whether it wants to write or else to read.
    pub(super) fn interests(&self) -> impl Iterator<Item = (RawFd, bool)> {
        self.running.iter().map(|probe| {
            (
                probe.stream.as_raw_fd(),
                !probe.exchange.unsent().is_empty(),
            )
        })
    }

    /// Carries on those that `is_ready`, in the order of [`Self::interests`], and hands those that ended
    /// to `end`.
    pub(super) fn drive(
        &mut self,
        is_ready: &[bool],
        now: Duration,
        mut end: impl FnMut(Ticket, Probed),
    ) {
        let running = std::mem::take(&mut self.running);
        let readiness = is_ready.iter().copied().chain(std::iter::repeat(false));
        for (mut probe, is_ready) in running.into_iter().zip(readiness) {
            let ended = if is_ready { probe.advance() } else { None };
            let is_late = || (probe.deadline <= now).then_some(Probed::Timeout);
            match ended.or_else(is_late) {
                Some(probed) => end(probe.ticket, probed),
                None => self.running.push(probe),
            }
        }
    }
}

impl Probe {
    /// Sends and receives what the socket takes and gives now.
    fn advance(&mut self) -> Option<Probed> {
        while !self.exchange.unsent().is_empty() {
            match self.stream.write(self.exchange.unsent()) {
                Ok(bytes) => self.exchange.sent(bytes),
                Err(error) => return self.judge(&error),
            }
        }
        let mut buffer = [0; limits::PROBE_ANSWER_BYTES_MAX];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return Some(Probed::Broken),
                Ok(bytes) => {
                    let probed = self
                        .exchange
                        .received(buffer.get(..bytes).unwrap_or_default());
                    if probed.is_some() {
                        return probed;
                    }
                }
                Err(error) => return self.judge(&error),
            }
        }
    }

    /// What an error means. The first write reports how connecting went.
    fn judge(&self, error: &io::Error) -> Option<Probed> {
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::Interrupted => None,
            ErrorKind::TimedOut => Some(Probed::Timeout),
            _ if self.exchange.is_connected() => Some(Probed::Broken),
            _ => Some(Probed::Refused),
        }
    }
}

/// A connection under way.
fn dial(address: SocketAddr) -> Result<TcpStream, Errno> {
    let family = if address.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    match connect(&socket, &address) {
        Ok(()) | Err(Errno::INPROGRESS | Errno::INTR) => Ok(TcpStream::from(socket)),
        Err(errno) => Err(errno),
    }
}

/// What a connection that could not even be started says of the node.
fn failure(errno: Errno) -> Probed {
    match errno {
        // No descriptor, memory or port is left here.
        Errno::MFILE
        | Errno::NFILE
        | Errno::NOMEM
        | Errno::NOBUFS
        | Errno::ADDRNOTAVAIL
        | Errno::AGAIN => Probed::NotRun,
        _ => Probed::Refused,
    }
}

#[cfg(test)]
mod tests;
