//! KV hand-over between nodes: a small protocol on TCP in place of ZMQ and NCCL.
//!
//! P connects to the D that a request id names and writes one line per request,
//! `PUT {bytes} {tokens} {hash} {engine id}`; D stores it and answers `OK`. As in the real connector
//! nothing has a timeout: P waits for a D that does not answer, for ever.

use super::engine_id::KvAddress;
use super::ledger::{Event, HeldKv, Rule};
use super::shared::Shared;
use super::socket::ACCEPT_PAUSE;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// Longest line a peer may send; request ids are bounded by HTTP heads.
const LINE_LIMIT: u64 = 256 * 1024;

/// KV of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kv {
    pub(crate) engine_id: String,
    /// Hash of the prompt's tokens; decides what D will say.
    pub(crate) hash: u64,
    pub(crate) tokens: u64,
    pub(crate) bytes: u64,
}

impl Kv {
    fn line(&self) -> String {
        format!(
            "PUT {} {} {:016x} {}\n",
            self.bytes, self.tokens, self.hash, self.engine_id
        )
    }

    fn parse(line: &str) -> Option<Self> {
        let mut words = line.strip_suffix('\n')?.splitn(5, ' ');
        (words.next() == Some("PUT")).then_some(())?;
        Some(Self {
            bytes: words.next()?.parse().ok()?,
            tokens: words.next()?.parse().ok()?,
            hash: u64::from_str_radix(words.next()?, 16).ok()?,
            engine_id: words.next()?.to_owned(),
        })
    }
}

/// What was pushed to a decode node and not yet freed.
#[derive(Debug)]
pub(crate) struct KvStore {
    shared: Arc<Shared>,
    held: RefCell<HashMap<String, Kv>>,
    bytes: Cell<u64>,
    /// Wakes an engine that waits for KV.
    pub(crate) arrived: Notify,
}

impl KvStore {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            held: RefCell::default(),
            bytes: Cell::new(0),
            arrived: Notify::new(),
        }
    }

    /// Hash and length of the prompt behind an id's KV.
    pub(crate) fn get(&self, engine_id: &str) -> Option<(u64, u64)> {
        let held = self.held.borrow();
        held.get(engine_id).map(|kv| (kv.hash, kv.tokens))
    }

    /// Frees an id's KV, if there is any.
    pub(crate) fn free(&self, engine_id: &str) {
        let Some(kv) = self.held.borrow_mut().remove(engine_id) else {
            return;
        };
        self.bytes.set(self.bytes.get().saturating_sub(kv.bytes));
        self.shared.record(|ledger| {
            ledger.kv_held.remove(engine_id);
            ledger.kv_dropped += 1;
            ledger.event(engine_id, Event::Dropped);
        });
    }

    /// Takes what a peer pushed; false when it does not fit.
    fn store(&self, kv: Kv) -> bool {
        let total = self.bytes.get().saturating_add(kv.bytes);
        let limit = self.shared.options.kv_buffer_bytes;
        let id = kv.engine_id.clone();
        let known = self.held.borrow().contains_key(&id);
        let fits = total <= limit;
        self.shared.record(|ledger| {
            if !fits {
                let text = format!("{id}: {total} bytes of KV exceed the buffer of {limit}");
                ledger.violate(Rule::KvBufferFull, &id, text);
                return;
            }
            if known {
                let text = format!("{id}: KV was pushed again although it is still held");
                ledger.violate(Rule::PushedTwice, &id, text);
            }
            ledger.kv_received += 1;
            ledger.event(&id, Event::Received);
            let held = HeldKv {
                tokens: kv.tokens,
                bytes: kv.bytes,
            };
            ledger.kv_held.insert(id.clone(), held);
        });
        if fits {
            self.bytes.set(total);
            if let Some(old) = self.held.borrow_mut().insert(id, kv) {
                self.bytes.set(self.bytes.get().saturating_sub(old.bytes));
            }
            self.arrived.notify_one();
        }
        fits
    }
}

/// Accepts peers and stores what they push. When dropped it takes the peers' connections along: in
/// the real node they belong to the worker, which dies before the API server does.
pub(crate) async fn listen(listener: TcpListener, store: Rc<KvStore>) {
    // Set once the buffer overflowed: the listener thread of the real node dies of it.
    let dead = Rc::new(Cell::new(false));
    let mut peers = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            // One that left is forgotten.
            Some(_left) = peers.join_next() => continue,
        };
        match accepted {
            Ok((stream, _)) => {
                peers.spawn_local(receive(stream, Rc::clone(&store), Rc::clone(&dead)));
            }
            // Out of descriptors, most likely; they come back.
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn receive(stream: TcpStream, store: Rc<KvStore>, dead: Rc<Cell<bool>>) {
    stream.set_nodelay(true).ok();
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    loop {
        line.clear();
        let read = (&mut stream).take(LINE_LIMIT).read_line(&mut line).await;
        let Some(kv) = read.ok().and_then(|_| Kv::parse(&line)) else {
            return;
        };
        if dead.get() || !store.store(kv) {
            dead.set(true);
            // The peer keeps its connection and never hears back.
            std::future::pending::<()>().await;
        }
        if stream.get_mut().write_all(b"OK\n").await.is_err() {
            return;
        }
    }
}

/// A push that cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PushError {
    /// No connection yet; a later attempt may succeed.
    #[error("cannot connect: {0}")]
    Unreachable(io::Error),
    /// The peer was lost after a connection had been made. The real node never makes a second one.
    #[error("connection lost: {0}")]
    Lost(io::Error),
}

/// The prefill node's connections to the decode nodes it has met.
#[derive(Debug, Default)]
pub(crate) struct Links {
    open: HashMap<KvAddress, BufReader<TcpStream>>,
}

impl Links {
    /// Pushes one request's KV and waits for the acknowledgement.
    ///
    /// # Errors
    /// The peer cannot be reached or was lost; nothing is retried here.
    pub(crate) async fn push(&mut self, to: &KvAddress, kv: &Kv) -> Result<(), PushError> {
        if !self.open.contains_key(to) {
            let stream = connect(to).await.map_err(PushError::Unreachable)?;
            self.open.insert(to.clone(), BufReader::new(stream));
        }
        let Some(stream) = self.open.get_mut(to) else {
            return Err(PushError::Lost(io::ErrorKind::NotConnected.into()));
        };
        exchange(stream, kv).await.map_err(PushError::Lost)
    }
}

async fn connect(to: &KvAddress) -> io::Result<TcpStream> {
    let port =
        u16::try_from(to.port).map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))?;
    let host = to.host.trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn exchange(stream: &mut BufReader<TcpStream>, kv: &Kv) -> io::Result<()> {
    stream.get_mut().write_all(kv.line().as_bytes()).await?;
    let mut answer = String::new();
    stream.take(LINE_LIMIT).read_line(&mut answer).await?;
    if answer == "OK\n" {
        Ok(())
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_of_kv_reads_back() {
        let kv = Kv {
            engine_id: "cmpl-with spaces-0".to_owned(),
            hash: 7,
            tokens: 3,
            bytes: 172_032,
        };

        assert_eq!(Kv::parse(&kv.line()), Some(kv));
        assert_eq!(Kv::parse("PUT 1 2 zz id\n"), None);
        assert_eq!(Kv::parse("PUT 1 2 00 id"), None);
    }

    #[test]
    fn freed_kv_leaves_the_account() {
        let shared = Arc::new(Shared::new(super::super::Options::default()));
        let store = KvStore::new(Arc::clone(&shared));
        let kv = Kv {
            engine_id: "a".to_owned(),
            hash: 7,
            tokens: 3,
            bytes: 10,
        };

        assert!(store.store(kv));
        assert_eq!(store.get("a"), Some((7, 3)));
        store.free("a");

        assert_eq!(store.get("a"), None);
        assert!(shared.read(|ledger| ledger.kv_held.is_empty() && ledger.kv_dropped == 1));
    }
}
