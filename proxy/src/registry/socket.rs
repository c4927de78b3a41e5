//! The sockets that nodes register at.
//!
//! A node's DEALER sends one frame and expects nothing back; our ROUTER puts the sender's identity
//! before it. Everything else that arrives is read to its end and counted.

use std::io;
use std::net::{IpAddr, SocketAddr};

use rustix::net::{AddressFamily, SocketType, bind, socket, sockopt};

use crate::limits;

/// Pauses and tries of TCP keep-alive, in seconds: a connection whose node lost its power is closed
/// after a minute, and its descriptor with it.
const KEEP_ALIVE: (i32, i32, i32) = (30, 10, 3);

/// A bound ROUTER, and how much of a message has been read.
pub(super) struct Router {
    socket: zmq::Socket,
    /// The frame read last; of a message with a body, its body.
    frame: zmq::Message,
    body: Option<zmq::Message>,
    /// Frames of the current message that have been read.
    frames: usize,
}

/// A message with one body frame.
#[derive(Debug)]
pub(super) struct Arrival<'a> {
    pub(super) body: &'a [u8],
    /// The address its connection comes from, if it is known.
    pub(super) source: Option<IpAddr>,
}

impl Router {
    /// Listens at `address`.
    ///
    /// # Errors
    ///
    /// Why it cannot.
    pub(super) fn bind(context: &zmq::Context, address: SocketAddr) -> io::Result<Self> {
        // The binding panics at errors it does not know, such as that of an address family that this
        // machine lacks, so a plain socket takes the blow.
        try_bind(address)?;

        let socket = context.socket(zmq::ROUTER)?;
        socket.set_linger(0)?;
        socket.set_ipv6(address.is_ipv6())?;
        // A longer frame closes its connection before it is read.
        socket.set_maxmsgsize(i64::try_from(limits::REGISTRATION_BYTES_MAX).unwrap_or(i64::MAX))?;
        socket.set_rcvhwm(limits::REGISTRATIONS_QUEUED_MAX)?;
        // A node that lost its power and came back announces the identity of its old connection, which
        // is still open here. Without this every message of the new one would be dropped.
        socket.set_router_handover(true)?;
        let handshake = limits::ZMTP_HANDSHAKE_TIMEOUT.as_millis();
        socket.set_handshake_ivl(i32::try_from(handshake).unwrap_or(i32::MAX))?;
        let (idle, interval, count) = KEEP_ALIVE;
        socket.set_tcp_keepalive(1)?;
        socket.set_tcp_keepalive_idle(idle)?;
        socket.set_tcp_keepalive_intvl(interval)?;
        socket.set_tcp_keepalive_cnt(count)?;
        socket.bind(&format!("tcp://{address}"))?;
        Ok(Self {
            socket,
            frame: zmq::Message::new(),
            body: None,
            frames: 0,
        })
    }

    /// What is to be polled.
    pub(super) fn poll_item(&self) -> zmq::PollItem<'_> {
        self.socket.as_poll_item(zmq::POLLIN)
    }

    /// Reads what has arrived, up to [`limits::REGISTRY_FRAMES_PER_TURN`] frames, and hands every message
    /// to `take`: none for one that does not have exactly one body frame.
    pub(super) fn receive(&mut self, mut take: impl FnMut(Option<Arrival<'_>>)) {
        for _ in 0..limits::REGISTRY_FRAMES_PER_TURN {
            match self.socket.recv(&mut self.frame, zmq::DONTWAIT) {
                Ok(()) => {}
                Err(zmq::Error::EINTR) => continue,
                // There is nothing, or nothing to be had from this socket; the next turn asks again.
                Err(_) => return,
            }
            self.frames = self.frames.saturating_add(1);
            let has_more = self.frame.get_more();
            if self.frames == 2 {
                self.body = Some(std::mem::replace(&mut self.frame, zmq::Message::new()));
            }
            if has_more {
                continue;
            }
            let frames = std::mem::take(&mut self.frames);
            match self.body.take() {
                Some(mut body) if frames == 2 => {
                    let source = body.gets("Peer-Address").and_then(|text| text.parse().ok());
                    let source = source.map(|ip: IpAddr| ip.to_canonical());
                    take(Some(Arrival {
                        body: &body,
                        source,
                    }));
                }
                _ => take(None),
            }
        }
    }
}

/// Whether a socket can be bound to `address`. It does not listen, so nobody connects to it.
fn try_bind(address: SocketAddr) -> io::Result<()> {
    let family = if address.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let probe = socket(family, SocketType::STREAM, None)?;
    sockopt::set_socket_reuseaddr(&probe, true)?;
    Ok(bind(&probe, &address)?)
}
