//! A shard's own listening socket.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::event::epoll;
use rustix::net::{Shutdown, SocketFlags, sockopt};

use super::Stream;
use super::stream::tcp_socket;

/// A listening socket that several threads may hold: the shard that accepts, and whoever may end the
/// listening.
///
/// The ring never holds the socket itself. An io_uring that waits on a listening socket keeps it alive
/// after the process has ended, and clients go on connecting to nobody (up to 15 ms were measured). It
/// waits on an epoll descriptor instead, which refers to the socket without keeping it.
#[derive(Clone, Debug)]
pub struct Listener {
    socket: Arc<OwnedFd>,
}

impl Listener {
    /// Binds and listens with SO_REUSEPORT, so that every shard has a socket of its own on one port.
    ///
    /// # Errors
    ///
    /// When the address cannot be bound.
    pub fn bind_shared(address: SocketAddr, backlog: i32) -> io::Result<Self> {
        let socket = bind(address, true)?;
        rustix::net::listen(&socket, backlog)?;
        Ok(Self {
            socket: Arc::new(socket),
        })
    }

    /// Whether anybody listens on `address` now, with SO_REUSEPORT or without: binding the port for
    /// ourselves alone is then refused.
    ///
    /// # Errors
    ///
    /// `AddrInUse`, or whatever else keeps the address from being bound.
    pub fn check_free(address: SocketAddr) -> io::Result<()> {
        let socket = bind(address, false)?;
        Ok(rustix::net::listen(&socket, 1)?)
    }

    /// The address it is bound to, with the port that the kernel chose if 0 was asked for.
    ///
    /// # Errors
    ///
    /// When the kernel's answer is no IP address.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        Ok(rustix::net::getsockname(&self.socket)?.try_into()?)
    }

    /// Refuses new connections from now on, from any thread and for every holder.
    pub fn shutdown(&self) {
        rustix::net::shutdown(&self.socket, Shutdown::Both).unwrap_or_default();
    }

    /// A waiter for this shard's driver.
    ///
    /// # Errors
    ///
    /// When descriptors have run out.
    pub fn readiness(&self) -> io::Result<Stream> {
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(
            &poll,
            &self.socket,
            epoll::EventData::new_u64(0),
            epoll::EventFlags::IN,
        )?;
        Stream::watch(poll)
    }

    /// Takes the next connection from the queue, if there is one.
    ///
    /// # Errors
    ///
    /// What the kernel says, descriptors running out included. A connection that its client gave up
    /// while it was queued is no error; the next one is taken.
    pub fn try_accept(&self) -> io::Result<Option<Stream>> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        loop {
            match rustix::net::accept_with(&self.socket, flags) {
                Ok(socket) => return Stream::new(socket).map(Some),
                Err(rustix::io::Errno::AGAIN) => return Ok(None),
                Err(rustix::io::Errno::CONNABORTED | rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn bind(address: SocketAddr, shared: bool) -> io::Result<OwnedFd> {
    let socket = tcp_socket(address)?;
    // Without it, connections of a process that has just ended would keep the port.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if shared {
        sockopt::set_socket_reuseport(&socket, true)?;
    }
    rustix::net::bind(&socket, &address)?;
    Ok(socket)
}
