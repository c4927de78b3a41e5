//! What must not end, block or fool the registry.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::support::{Fixture, Health, PATIENCE, Peer, patient, ping, wait_until};
use crate::nodes::{Role, State};
use crate::registry::Config;

/// A ZMTP 3.1 greeting with the NULL mechanism.
fn greeting() -> Vec<u8> {
    let mut greeting = vec![0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 1];
    greeting.extend(b"NULL");
    greeting.resize(64, 0);
    greeting
}

/// The READY command of a DEALER with an identity.
fn ready(identity: &str) -> Vec<u8> {
    let mut body = vec![5];
    body.extend(b"READY");
    for (name, value) in [("Socket-Type", "DEALER"), ("Identity", identity)] {
        body.push(u8::try_from(name.len()).unwrap());
        body.extend(name.as_bytes());
        body.extend(u32::try_from(value.len()).unwrap().to_be_bytes());
        body.extend(value.as_bytes());
    }
    let mut command = vec![4, u8::try_from(body.len()).unwrap()];
    command.extend(body);
    command
}

fn connect(fixture: &Fixture) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", fixture.port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// A connection whose handshake is done: messages may follow only then.
fn shake_hands(fixture: &Fixture, identity: &str) -> TcpStream {
    let mut stream = connect(fixture);
    stream.write_all(&greeting()).unwrap();
    stream.write_all(&ready(identity)).unwrap();
    let mut theirs = [0; 64 + 2];
    stream.read_exact(&mut theirs).unwrap();
    assert_eq!(theirs[64], 4, "no command follows the greeting");
    let mut ready = vec![0; usize::from(theirs[65])];
    stream.read_exact(&mut ready).unwrap();
    assert!(ready.starts_with(b"\x05READY"));
    stream
}

/// Reads until the registry closes the connection.
fn assert_closed(mut stream: TcpStream) {
    let mut buffer = [0; 1024];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) => {
                let kind = error.kind();
                assert!(
                    kind == std::io::ErrorKind::ConnectionReset,
                    "it is still open: {error}"
                );
                return;
            }
        }
    }
}

#[test]
fn bodies_that_are_no_registration_are_counted_and_forgotten() {
    let fixture = Fixture::start();
    let peer = Peer::connect(fixture.port, Some("10.0.1.2:21001"));
    let bodies: [(&[u8], &str); 6] = [
        (b"", "truncated"),
        (b"\xc1", "not_a_map"),
        (b"\x83\xa4type", "truncated"),
        (b"\x81\xa4type\xa1P\x00", "trailing_bytes"),
        (b"\x81\xa4type\xa5HELLO", "legacy"),
        (b"{\"type\":\"P\"}", "not_a_map"),
    ];

    for (body, _) in bodies {
        peer.send(body);
    }
    peer.send(&ping("X", "10.0.0.1:80"));
    peer.send(&ping("P", "10.0.0.1:80\r\nX-Evil: 1"));

    let refused = |outcome| bodies.iter().filter(|(_, cause)| *cause == outcome).count() as u64;
    for outcome in ["truncated", "not_a_map", "trailing_bytes", "legacy"] {
        wait_until(outcome, || fixture.messages(outcome) == refused(outcome));
    }
    wait_until("the type is refused", || {
        fixture.messages("unknown_type") == 1
    });
    wait_until("the address is refused", || {
        fixture.messages("http_address") == 1
    });
    assert!(fixture.fleet.load().nodes.is_empty());
    fixture.assert_alive();
}

#[test]
fn messages_of_more_or_fewer_frames_are_counted_and_forgotten() {
    let fixture = Fixture::start();
    let peer = Peer::connect(fixture.port, None);
    let body = ping("P", "127.9.9.1:9");

    peer.send_frames(&[b"", &body]);
    peer.send_frames(&[&body, &body]);
    let many: Vec<&[u8]> = vec![b"x"; 5_000];
    peer.send_frames(&many);
    wait_until("they are counted", || fixture.messages("frames") == 3);

    assert!(fixture.fleet.load().nodes.is_empty());
    peer.send(&body);
    wait_until("the peer is still heard", || fixture.messages("added") == 1);
}

#[test]
fn frame_beyond_the_limit_closes_its_connection_only() {
    let fixture = Fixture::start();
    for header in [
        &[2, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff][..],
        &[2, 0, 0, 0, 0, 0, 0, 0x10, 1],
    ] {
        let mut stream = shake_hands(&fixture, "");
        stream.write_all(header).unwrap();
        assert_closed(stream);
    }
    fixture.assert_alive();
}

#[test]
fn peer_that_speaks_zmtp_by_hand_is_heard() {
    let fixture = Fixture::start();
    let body = ping("D", "127.9.9.1:9");
    let mut stream = shake_hands(&fixture, "10.0.1.2:21001");

    stream
        .write_all(&[0, u8::try_from(body.len()).unwrap()])
        .unwrap();
    stream.write_all(&body).unwrap();

    wait_until("it is heard", || fixture.messages("added") == 1);
}

#[test]
fn other_protocols_and_broken_greetings_disturb_nobody() {
    let fixture = Fixture::start();
    let mut wrong_mechanism = greeting();
    wrong_mechanism[12..16].copy_from_slice(b"EVIL");
    let mut wrong_socket = ready("");
    wrong_socket.splice(20..26, *b"PUBPUB");
    let noise: Vec<u8> = (0..200_000_u32)
        .map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0])
        .collect();
    let openings: [Vec<u8>; 9] = [
        Vec::new(),
        noise,
        b"GET /health HTTP/1.1\r\nHost: proxy\r\n\r\n".to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        greeting()[..5].to_vec(),
        greeting()[..40].to_vec(),
        wrong_mechanism,
        [greeting(), wrong_socket].concat(),
    ];

    let streams: Vec<TcpStream> = openings
        .iter()
        .map(|opening| {
            let mut stream = connect(&fixture);
            // It may be closed before all is written.
            stream.write_all(opening).ok();
            stream
        })
        .collect();

    fixture.assert_alive();
    drop(streams);
    fixture.assert_alive();
}

#[test]
fn connection_without_a_handshake_is_closed() {
    let fixture = Fixture::start();
    let mut stream = connect(&fixture);
    stream.write_all(&greeting()[..12]).unwrap();
    assert_closed(stream);
}

#[test]
fn newest_of_two_peers_with_one_identity_is_heard() {
    let fixture = Fixture::start();
    let old = Peer::connect(fixture.port, Some("10.0.1.2:21001"));
    old.send(&ping("P", "127.9.9.1:9"));
    wait_until("the old one is heard", || fixture.messages("added") == 1);

    let new = Peer::connect(fixture.port, Some("10.0.1.2:21001"));
    new.send(&ping("P", "127.9.9.2:9"));

    wait_until("the new one is heard", || fixture.messages("added") == 2);
}

#[test]
fn addresses_that_must_not_be_connected_to_are_refused() {
    let own: SocketAddr = "127.0.0.1:10001".parse().unwrap();
    let fixture = Fixture::with(Config {
        own_http: vec![own],
        allow: vec!["127.0.0.0/8".parse().unwrap()],
        ..patient()
    });
    let peer = Peer::connect(fixture.port, None);

    for (address, outcome) in [
        ("0.0.0.0:8100", "unreachable_address"),
        ("[::]:8100", "unreachable_address"),
        ("224.0.0.1:8100", "unreachable_address"),
        ("127.0.0.1:10001", "own_address"),
        ("127.0.0.2:10001", "own_address"),
        ("[::ffff:127.0.0.1]:10001", "own_address"),
        ("10.0.0.1:8100", "not_allowed"),
    ] {
        let before = fixture.messages(outcome);
        peer.send(&ping("P", address));
        wait_until(address, || fixture.messages(outcome) == before + 1);
    }

    assert!(fixture.fleet.load().nodes.is_empty());
    fixture.assert_alive();
}

#[test]
fn name_of_this_proxy_itself_is_refused_once_it_is_resolved() {
    let own: SocketAddr = "127.0.0.1:10001".parse().unwrap();
    let fixture = Fixture::with(Config {
        own_http: vec![own],
        ..patient()
    });
    let peer = Peer::connect(fixture.port, None);

    peer.send(&ping("P", "localhost:10001"));

    let refused = "pd_registry_resolves_total{outcome=\"refused\"}";
    wait_until("the address is refused", || fixture.count(refused) == 1);
    assert!(fixture.fleet.load().nodes.is_empty());
}

#[test]
fn node_is_judged_by_its_status_line_alone() {
    let fixture = Fixture::start();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let peer = Peer::connect(fixture.port, None);

    peer.send(&ping("P", &address.to_string()));
    let (mut stream, _) = listener.accept().unwrap();
    // The head never ends, and the connection stays open.
    stream.write_all(b"HTTP/1.1 200 OK\r\nX: ").unwrap();

    fixture.wait_for(address, Role::Prefill, State::Ready);
}

#[test]
fn node_that_does_not_answer_its_probe_times_out() {
    let fixture = Fixture::start();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let health = Health::start(200);
    let peer = Peer::connect(fixture.port, None);

    peer.send(&ping("P", &address.to_string()));
    peer.send(&ping("D", &health.address.to_string()));

    fixture.wait_for(health.address, Role::Decode, State::Ready);
    let timeout = "pd_registry_probes_total{outcome=\"timeout\"}";
    wait_until("the probe ends", || fixture.count(timeout) == 1);
    assert!(fixture.shows(address, Role::Prefill, State::Pending));
}
