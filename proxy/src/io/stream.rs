//! A TCP connection.
#![expect(
    unsafe_code,
    reason = "borrowing the descriptor of monoio's stream, which has no AsFd"
)]

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown, SocketFlags, SocketType,
    sockopt,
};

/// A non-blocking TCP connection of this shard.
#[derive(Debug)]
pub struct Stream {
    inner: monoio::net::TcpStream,
}

/// A read or write that would have blocked is `Ok(None)`: waiting is a normal outcome, not an error.
impl Stream {
    /// Takes over a connected, non-blocking socket.
    ///
    /// # Errors
    ///
    /// When the driver cannot register it.
    pub fn new(socket: OwnedFd) -> io::Result<Self> {
        // A small event must not wait for the acknowledgement of the one before it. Ignored for
        // sockets that are not TCP.
        sockopt::set_tcp_nodelay(&socket, true).unwrap_or_default();
        Self::watch(socket)
    }

    /// Takes over any pollable descriptor, to wait for its readiness.
    pub(super) fn watch(descriptor: OwnedFd) -> io::Result<Self> {
        // The conversion only moves the descriptor; nothing in it or in monoio looks at its kind.
        let stream = std::net::TcpStream::from(descriptor);
        Ok(Self {
            inner: monoio::net::TcpStream::from_std(stream)?,
        })
    }

    /// Connects to `address`. The caller sets the time limit.
    ///
    /// # Errors
    ///
    /// What the kernel says of the connection, descriptors running out included.
    ///
    /// # Cancel safety
    ///
    /// Dropping it closes the half-open socket.
    pub async fn connect(address: SocketAddr) -> io::Result<Self> {
        let socket = tcp_socket(address)?;
        match rustix::net::connect(&socket, &address) {
            Ok(()) => return Self::new(socket),
            Err(rustix::io::Errno::INPROGRESS) => {}
            Err(error) => return Err(error.into()),
        }
        let stream = Self::new(socket)?;
        stream.writable().await?;
        sockopt::socket_error(stream.descriptor())??;
        Ok(stream)
    }

    fn descriptor(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor stays open as long as `inner`, which the returned value borrows.
        unsafe { BorrowedFd::borrow_raw(self.inner.as_raw_fd()) }
    }

    /// Waits until a read would not block: bytes, the end of the stream or an error are there.
    ///
    /// # Errors
    ///
    /// When the driver refuses the wait.
    ///
    /// # Cancel safety
    ///
    /// It may be dropped at any point; no byte is taken.
    pub async fn readable(&self) -> io::Result<()> {
        self.inner.readable(false).await
    }

    /// Waits until a write would not block.
    ///
    /// # Errors
    ///
    /// When the driver refuses the wait.
    ///
    /// # Cancel safety
    ///
    /// It may be dropped at any point.
    pub async fn writable(&self) -> io::Result<()> {
        self.inner.writable(false).await
    }

    /// Reads what is there: `Some(0)` at the end of the stream, `None` if nothing is there yet.
    ///
    /// # Errors
    ///
    /// What the kernel says of the connection.
    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let received = rustix::net::recv(self.descriptor(), buffer, RecvFlags::DONTWAIT);
        outcome(received.map(|(bytes, _)| bytes))
    }

    /// Appends what is there to `buffer`, at most what fits its capacity, of which there must be some
    /// left.
    ///
    /// # Errors
    ///
    /// What the kernel says of the connection.
    pub fn try_read_to(&self, buffer: &mut Vec<u8>) -> io::Result<Option<usize>> {
        let spare = rustix::buffer::spare_capacity(buffer);
        outcome(rustix::net::recv(self.descriptor(), spare, RecvFlags::DONTWAIT).map(|(n, _)| n))
    }

    /// Looks whether something is there to read and leaves it there: `Some(0)` at the end of the
    /// stream.
    ///
    /// # Errors
    ///
    /// What the kernel says of the connection.
    pub fn peek(&self) -> io::Result<Option<usize>> {
        let flags = RecvFlags::DONTWAIT | RecvFlags::PEEK;
        outcome(rustix::net::recv(self.descriptor(), &mut [0; 1], flags).map(|(n, _)| n))
    }

    /// Writes as much of `slices` as the socket takes now.
    ///
    /// # Errors
    ///
    /// What the kernel says of the connection. A closed peer is an error, never a signal.
    pub fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<Option<usize>> {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        if let [only] = slices {
            return outcome(rustix::net::send(self.descriptor(), only, flags));
        }
        let mut control = SendAncillaryBuffer::default();
        outcome(rustix::net::sendmsg(
            self.descriptor(),
            slices,
            &mut control,
            flags,
        ))
    }

    /// Sends our end of the stream; the peer's may go on.
    pub fn shutdown_write(&self) {
        // It fails only if the connection is gone already.
        rustix::net::shutdown(self.descriptor(), Shutdown::Write).unwrap_or_default();
    }

    /// Ends both directions now, whatever else holds the socket.
    pub fn shutdown(&self) {
        rustix::net::shutdown(self.descriptor(), Shutdown::Both).unwrap_or_default();
    }

    /// Makes closing a reset, so that the peer cannot take the end of the bytes for the end of the
    /// message.
    pub fn reset_on_close(&self) {
        let no_time = Some(std::time::Duration::ZERO);
        sockopt::set_socket_linger(self.descriptor(), no_time).unwrap_or_default();
    }
}

/// A non-blocking socket of the address's family.
pub(super) fn tcp_socket(address: SocketAddr) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    Ok(socket)
}

fn outcome(result: rustix::io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(bytes) => Ok(Some(bytes)),
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
