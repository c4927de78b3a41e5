//! Every bound of the proxy, with its unit and its reason.
//!
//! A queue, buffer, loop, retry or wait without an entry here is a defect. What an operator may need
//! to change is a flag whose default stands here; the rest is fixed, because changing it would change
//! what the proxy promises.

use std::time::Duration;

/// Bytes of one message head, start line and fields together. Above: 431.
pub const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Header fields of one message head. Above: 431 from a client, 502 from a node.
pub const HEAD_FIELDS_MAX: usize = 100;
/// Bytes of a request target. Above: 414.
pub const TARGET_BYTES_MAX: usize = 8 * 1024;
/// Bytes of a method. The registered ones have at most 17; RFC 9112 §3 lets a server refuse longer ones.
pub const METHOD_BYTES_MAX: usize = 32;
/// Options in the `Connection` fields of one head: each is compared with every field that is passed on.
pub const CONNECTION_OPTIONS_MAX: usize = 32;

/// Bytes of a request body, default of `--max-payload-size`. Above: 413. Images travel as base64 in
/// the JSON, so tens of MiB are ordinary.
pub const BODY_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Highest `--max-payload-size`: far beyond any memory, and far from where sums of lengths overflow.
pub const BODY_BYTES_CEILING: u64 = 1 << 40;
/// Open objects and arrays in a JSON body; deeper is refused with 400.
pub const JSON_DEPTH_MAX: usize = 512;

/// Hexadecimal digits of one chunk size: 2^60 bytes is more than any body may have.
pub const CHUNK_SIZE_DIGITS_MAX: usize = 15;
/// Bytes of the extensions of one chunk, which carry nothing for us (RFC 9112 §7.1.1).
pub const CHUNK_EXTENSION_BYTES_MAX: usize = 4 * 1024;
/// Bytes of chunk extensions in one body: a stream of one-byte chunks must not carry megabytes.
pub const CHUNK_EXTENSIONS_BYTES_MAX: usize = 64 * 1024;
/// Bytes of the trailer section of one body.
pub const TRAILER_BYTES_MAX: usize = 16 * 1024;

/// Bytes asked of a socket at once while a head or a small body arrives.
pub const READ_CHUNK_BYTES: usize = 8 * 1024;
/// Bytes of a shard's relay buffer: what one read of a stream can carry on to the other side.
pub const RELAY_BUFFER_BYTES: usize = 64 * 1024;
/// Bytes of a prefill answer kept so that a refusal can be handed to the client. The rest of a longer
/// answer is read and dropped.
pub const PREFILL_ANSWER_BYTES_MAX: usize = 256 * 1024;
/// Bytes of one line looked at while a prefill's event stream is searched for an error.
pub const SSE_LINE_BYTES_MAX: usize = 256 * 1024;
/// Interim (1xx) responses read before the final one (RFC 9110 §15.2).
pub const INTERIM_RESPONSES_MAX: usize = 8;
/// Body bytes read and dropped after an early error, so that the client sees the answer, not a reset.
pub const DISCARD_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of `--api-key-file`: every request's key is compared with all of its keys.
pub const API_KEY_FILE_BYTES_MAX: u64 = 64 * 1024;

/// Client connections of one shard; further ones wait in the listen queue.
pub const CONNECTIONS_PER_SHARD_MAX: usize = 64 * 1024;
/// Connections waiting to be accepted, per shard; the kernel caps it with `somaxconn`.
pub const LISTEN_BACKLOG: i32 = 4096;
/// Shards of one process.
pub const SHARDS_MAX: usize = 256;
/// Idle upstream connections a shard keeps per node.
pub const IDLE_PER_NODE_MAX: usize = 64;

/// How long accepting pauses when descriptors ran out.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Turn of a shard's coarse clock: deadlines are felt at most this much late.
pub const TICK: Duration = Duration::from_millis(50);

/// Longest time an operator may set: a year, which no deadline can overflow with.
pub const PERIOD_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// From the first byte of a head to its end, default of `--head-timeout-secs`; else 408.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(15);
/// Longest pause inside a request body, default of `--body-idle-timeout-secs`; else 408.
pub const BODY_IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// A client connection may idle this long between requests, default of `--keep-alive-timeout-secs`.
pub const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(75);
/// A client that takes no byte for this long is cut off, default of `--write-timeout-secs`.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
/// A FIN this soon after a request's last byte is a half-close; later, the client has gone.
pub const HALF_CLOSE_WINDOW: Duration = Duration::from_millis(100);
/// How long the rest of a refused request is discarded before the connection is closed.
pub const DISCARD_TIMEOUT: Duration = Duration::from_secs(2);

/// TCP connect to a node.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Idle upstream connections live this long; vLLM closes them after 5.0 s.
pub const UPSTREAM_IDLE_TIMEOUT: Duration = Duration::from_secs(4);
/// Time for one answer of a node to begin and longest pause inside it, default of
/// `--request-timeout-secs` and `--stream-idle-timeout-secs`; what vLLM's example proxy allows.
pub const UPSTREAM_TIMEOUT: Duration = Duration::from_secs(6 * 60 * 60);
/// A decode whose client has left is kept open this long after it was sent, unless its answer has begun.
/// D must have taken the request in before it can end it: of 108 decodes closed at once, 3 left their
/// KV at a real D (vLLM 0.23) for good; of 316 with this time, none. D has to feel a leaving client
/// within 2 s.
pub const ADMISSION_GRACE: Duration = Duration::from_secs(1);

/// From SIGTERM to the end of the last stream, default of `--drain-timeout`.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);

/// Prefill and decode nodes tried for one request, in pairs: the first, and one more after a failure.
pub const ATTEMPTS_MAX: usize = 2;

/// Bytes of one registration message; real ones have about 100, MoRIIO's about 130.
pub const REGISTRATION_BYTES_MAX: usize = 4 * 1024;
/// Entries of a registration map.
pub const REGISTRATION_ENTRIES_MAX: u32 = 64;
/// Bytes of an address in a registration.
pub const ADDRESS_BYTES_MAX: usize = 255;
/// Nodes known at a time, both roles together.
pub const NODES_MAX: usize = 1024;
/// Nodes ping every 3 s; after this without a ping a node is used only if no other is left. Default of
/// `--node-fresh-secs`.
pub const NODE_FRESH: Duration = Duration::from_secs(5);
/// After this without a ping a node is forgotten: three pings missed and the fourth due.
/// Default of `--node-expiry-secs`.
pub const NODE_EXPIRY: Duration = Duration::from_secs(12);
/// Pause between two health probes of a node that is not ready.
pub const PROBE_INTERVAL: Duration = Duration::from_millis(500);
/// Longest a health probe may take.
pub const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
/// Health probes under way at a time.
pub const PROBES_MAX: usize = 64;
/// The pause doubles with every failed probe, up to this: a node that starts for minutes is still
/// noticed soon after it can serve.
pub const PROBE_INTERVAL_MAX: Duration = Duration::from_secs(4);
/// A node that let a request wait beyond its deadline gets no other for this long, whatever its
/// `/health` says; the time doubles until it has answered one, up to the next bound.
pub const QUARANTINE: Duration = Duration::from_secs(10);
/// Longest time without a request for a node that does not answer: one request in this time finds out
/// whether it does again.
pub const QUARANTINE_MAX: Duration = Duration::from_secs(300);
/// Bytes of a probe's answer looked at; its status line must be among them.
pub const PROBE_ANSWER_BYTES_MAX: usize = 512;
/// Host names being resolved at a time.
pub const RESOLVES_MAX: usize = 8;
/// Longest turn of the registry thread: timers are felt at most this much late.
pub const REGISTRY_TURN: Duration = Duration::from_millis(100);
/// Frames read from one registration port in one turn, so that a flood on it starves neither the
/// timers nor the other port.
pub const REGISTRY_FRAMES_PER_TURN: usize = 512;
/// Messages of one registration connection that wait in memory; further ones wait in its socket.
pub const REGISTRATIONS_QUEUED_MAX: i32 = 128;
/// Time a registration connection has for its ZMTP handshake.
pub const ZMTP_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Lines the registry logs in one second; the rest is counted and told in one line.
pub const REGISTRY_LINES_PER_SECOND: u32 = 64;

const _: () = {
    assert!(TARGET_BYTES_MAX < HEAD_BYTES_MAX);
    assert!(READ_CHUNK_BYTES <= HEAD_BYTES_MAX);
    assert!(NODE_FRESH.as_millis() < NODE_EXPIRY.as_millis());
    // vLLM closes an idle connection after 5.0 s: ours must be gone a tick before.
    assert!(UPSTREAM_IDLE_TIMEOUT.as_millis() + TICK.as_millis() < 5_000);
    assert!(PROBE_INTERVAL.as_millis() <= PROBE_INTERVAL_MAX.as_millis());
    assert!(QUARANTINE.as_millis() <= QUARANTINE_MAX.as_millis());
    assert!(HALF_CLOSE_WINDOW.as_millis() < DISCARD_TIMEOUT.as_millis());
    assert!(ATTEMPTS_MAX >= 1);
};
