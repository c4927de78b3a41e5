//! Registration: real libzmq messages to every proxy, from a thread of their own.

use super::options::Role;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What the thread can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Pause,
    Resume,
    Now,
}

/// The ping thread. Dropping it closes the sockets and waits for the thread.
#[derive(Debug)]
pub(crate) struct Registration {
    orders: Option<Sender<Order>>,
    thread: Option<JoinHandle<()>>,
}

/// What a node says about itself.
#[derive(Debug, Clone)]
pub(crate) struct Announcement {
    pub(crate) role: Role,
    pub(crate) http_address: String,
    pub(crate) zmq_address: String,
}

impl Announcement {
    /// The message: a msgpack map of three strings in the order vLLM writes them.
    ///
    /// # Errors
    /// None in practice: writing to memory.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, rmp::encode::ValueWriteError<std::io::Error>> {
        let kind = if self.role == Role::Decode { "D" } else { "P" };
        let mut out = Vec::with_capacity(128);
        rmp::encode::write_map_len(&mut out, 3)?;
        for (key, value) in [
            ("type", kind),
            ("http_address", self.http_address.as_str()),
            ("zmq_address", self.zmq_address.as_str()),
        ] {
            rmp::encode::write_str(&mut out, key)?;
            rmp::encode::write_str(&mut out, value)?;
        }
        Ok(out)
    }
}

impl Registration {
    /// Starts to ping `proxies` at once and then every `interval`.
    ///
    /// # Errors
    /// A proxy address that libzmq refuses, or no thread.
    pub(crate) fn start(
        announcement: &Announcement,
        proxies: &[String],
        interval: Duration,
    ) -> std::io::Result<Self> {
        let message = announcement.encode().map_err(std::io::Error::other)?;
        let context = zmq::Context::new();
        let mut sockets = Vec::new();
        for proxy in proxies {
            let socket = context.socket(zmq::DEALER)?;
            socket.set_identity(announcement.zmq_address.as_bytes())?;
            // A node that is gone sends nothing more.
            socket.set_linger(0)?;
            socket.connect(&format!("tcp://{proxy}"))?;
            sockets.push(socket);
        }
        let (orders, inbox) = channel();
        let thread = std::thread::Builder::new()
            .name("pd-sim-ping".to_owned())
            .spawn(move || ping(&sockets, &message, interval, &inbox))?;
        Ok(Self {
            orders: Some(orders),
            thread: Some(thread),
        })
    }

    /// Falls silent without closing the connection.
    pub(crate) fn pause(&self) {
        self.order(Order::Pause);
    }

    /// Pings again, at once.
    pub(crate) fn resume(&self) {
        self.order(Order::Resume);
    }

    /// Sends one message out of turn.
    pub(crate) fn now(&self) {
        self.order(Order::Now);
    }

    fn order(&self, order: Order) {
        if let Some(orders) = &self.orders {
            // The thread ends only after this sender.
            orders.send(order).ok();
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            // A ping thread that panicked has nothing left to clean up.
            thread.join().ok();
        }
    }
}

/// Sends the message whenever it is due, until the other end of `inbox` is gone.
fn ping(sockets: &[zmq::Socket], message: &[u8], interval: Duration, inbox: &Receiver<Order>) {
    let mut paused = false;
    let mut due = Instant::now();
    loop {
        if !paused && Instant::now() >= due {
            send(sockets, message);
            due = Instant::now() + interval;
        }
        let wait = due.saturating_duration_since(Instant::now());
        let order = if paused {
            inbox.recv().map_err(RecvTimeoutError::from)
        } else {
            inbox.recv_timeout(wait)
        };
        match order {
            Ok(Order::Pause) => paused = true,
            Ok(Order::Resume) => {
                paused = false;
                due = Instant::now();
            }
            Ok(Order::Now) => send(sockets, message),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn send(sockets: &[zmq::Socket], message: &[u8]) {
    for socket in sockets {
        // At the high-water mark the real thread blocks; what it would send then is not sent here
        // either, and libzmq keeps the backlog.
        socket.send(message, zmq::DONTWAIT).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(role: Role, http: &str, zmq: &str) -> String {
        let announcement = Announcement {
            role,
            http_address: http.to_owned(),
            zmq_address: zmq.to_owned(),
        };
        let bytes = announcement.encode().unwrap();
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn messages_are_those_of_python_msgpack() {
        assert_eq!(
            hex(Role::Prefill, "10.0.1.2:20001", "10.0.1.2:21001"),
            "83a474797065a150ac687474705f61646472657373ae31302e302e312e323a3230303031\
             ab7a6d715f61646472657373ae31302e302e312e323a3231303031"
        );
        assert_eq!(
            hex(Role::Decode, "2001:db8::1:20002", "2001:db8::1:22001"),
            "83a474797065a144ac687474705f61646472657373b1323030313a6462383a3a313a3230303032\
             ab7a6d715f61646472657373b1323030313a6462383a3a313a3232303031"
        );
        assert_eq!(
            hex(
                Role::Prefill,
                &format!("{}:20001", "a".repeat(25)),
                &format!("{}:23001", "b".repeat(26))
            ),
            "83a474797065a150ac687474705f61646472657373bf616161616161616161616161616161616161\
             616161616161613a3230303031ab7a6d715f61646472657373d920626262626262626262626262\
             62626262626262626262626262623a3233303031"
        );
    }
}
