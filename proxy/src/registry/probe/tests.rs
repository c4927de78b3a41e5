use std::net::TcpListener;

use super::*;
use crate::nodes::{HttpAddress, KvAddress, Role};
use crate::registry::frame::Registration;
use crate::registry::table::{Settings, Table};

/// A ticket for the node at `address`, as the table gives it.
fn ticket(address: SocketAddr) -> Ticket {
    let long = Duration::from_secs(600);
    let mut table = Table::new(Settings {
        fresh: long,
        expiry: long,
        capacity: 1,
        shards: 1,
    });
    let http = HttpAddress::parse(&address.to_string()).unwrap();
    let kv = KvAddress::parse("10.0.0.9:21001").unwrap();
    table.apply(
        Registration {
            role: Role::Prefill,
            http,
            kv,
        },
        None,
        Duration::ZERO,
    );
    table.probe_due(0, Duration::ZERO).remove(0)
}

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Waits for the sockets and drives the probes, once.
fn turn(probes: &mut Probes, now: Duration) -> Option<Probed> {
    let events = |is_writing| {
        if is_writing {
            zmq::POLLOUT
        } else {
            zmq::POLLIN
        }
    };
    let mut items: Vec<zmq::PollItem<'_>> = probes
        .interests()
        .map(|(fd, is_writing)| zmq::PollItem::from_fd(fd, events(is_writing)))
        .collect();
    zmq::poll(&mut items, 20_000).unwrap();
    let is_ready: Vec<bool> = items
        .iter()
        .map(|item| !item.get_revents().is_empty())
        .collect();
    let mut ended = None;
    probes.drive(&is_ready, now, |_, probed| ended = Some(probed));
    ended
}

/// Drives until the only probe ends.
fn finish(probes: &mut Probes) -> Probed {
    std::iter::repeat_with(|| turn(probes, Duration::ZERO))
        .take(100)
        .flatten()
        .next()
        .unwrap()
}

#[test]
fn answer_in_single_bytes_is_understood() {
    let (listener, address) = listener();
    let mut probes = Probes::default();
    assert!(probes.start(ticket(address), Duration::ZERO).is_none());
    let (mut node, _) = listener.accept().unwrap();
    node.set_nodelay(true).unwrap();

    assert_eq!(turn(&mut probes, Duration::ZERO), None);
    let mut ended = None;
    for byte in b"HTTP/1.1 200 OK\r\n" {
        assert_eq!(ended, None);
        node.write_all(&[*byte]).unwrap();
        ended = turn(&mut probes, Duration::ZERO);
    }

    assert_eq!(ended, Some(Probed::Healthy));
    assert_eq!(probes.running(), 0);
}

#[test]
fn closed_port_is_refused() {
    let (listener, address) = listener();
    drop(listener);
    let mut probes = Probes::default();

    let ended = probes.start(ticket(address), Duration::ZERO);

    let probed = ended.map_or_else(|| finish(&mut probes), |(_, probed)| probed);
    assert_eq!(probed, Probed::Refused);
}

#[test]
fn connection_closed_before_an_answer_is_broken() {
    let (listener, address) = listener();
    let mut probes = Probes::default();
    probes.start(ticket(address), Duration::ZERO);
    drop(listener.accept().unwrap());

    assert_eq!(finish(&mut probes), Probed::Broken);
}

#[test]
fn probe_without_an_answer_ends_at_its_deadline() {
    let (_listener, address) = listener();
    let mut probes = Probes::default();
    probes.start(ticket(address), Duration::from_secs(1));
    let mut ended = None;

    probes.drive(&[], Duration::from_millis(2999), |_, probed| {
        ended = Some(probed);
    });
    assert_eq!(ended, None);
    probes.drive(&[], Duration::from_millis(3000), |_, probed| {
        ended = Some(probed);
    });

    assert_eq!(ended, Some(Probed::Timeout));
    assert_eq!(probes.running(), 0);
}

#[test]
fn lack_of_descriptors_says_nothing_of_the_node() {
    assert_eq!(failure(Errno::MFILE), Probed::NotRun);
    assert_eq!(failure(Errno::ADDRNOTAVAIL), Probed::NotRun);
    assert_eq!(failure(Errno::NETUNREACH), Probed::Refused);
}
