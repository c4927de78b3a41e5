//! The beginning and the end of a registry.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use super::support::{Fixture, Peer, free_port, patient, wait_until};
use crate::nodes::Snapshot;
use crate::registry::clock::Clock;
use crate::registry::{Config, Handle, StartError, Stats, start};

fn try_start(host: &str, ports: Vec<u16>) -> Result<Handle, StartError> {
    let fleet = Arc::new(ArcSwap::from_pointee(Snapshot::default()));
    let config = Config {
        host: host.to_owned(),
        ports,
        ..Config::default()
    };
    start(config, fleet, Arc::new(Stats::new()))
}

#[test]
fn port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();

    let error = try_start("127.0.0.1", vec![address.port()]).unwrap_err();

    assert!(error.to_string().contains(&address.to_string()), "{error}");
    assert!(matches!(error, StartError::Bind { why, .. } if why.kind() == ErrorKind::AddrInUse));
}

#[test]
fn port_given_twice_is_in_use() {
    let port = free_port();
    let error = try_start("127.0.0.1", vec![port, port]).unwrap_err();
    assert!(matches!(error, StartError::Bind { why, .. } if why.kind() == ErrorKind::AddrInUse));
}

#[test]
fn address_of_another_machine_is_refused() {
    let error = try_start("192.0.2.1", vec![free_port()]).unwrap_err();
    assert!(
        matches!(error, StartError::Bind { why, .. } if why.kind() == ErrorKind::AddrNotAvailable)
    );
}

#[test]
fn host_name_is_refused() {
    let error = try_start("localhost", vec![free_port()]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "registration host \"localhost\" is not an IP address"
    );
}

#[test]
fn registry_without_ports_runs() {
    let handle = try_start("0.0.0.0", Vec::new()).unwrap();
    handle.stop();
}

#[test]
fn stopped_registry_gives_its_port_back_at_once() {
    let fixture = Fixture::start();
    let _peer = Peer::connect(fixture.port, None);
    fixture.assert_alive();
    let clock = Clock::start();

    fixture.handle.stop();

    assert!(clock.now() < Duration::from_secs(10));
    assert!(!fixture.stats.is_running());
    let address = format!("127.0.0.1:{}", fixture.port);
    assert!(TcpListener::bind(address).is_ok());
}

#[test]
fn age_of_the_last_turn_stays_small_while_it_runs_and_grows_after() {
    let fixture = Fixture::start();
    wait_until("it turns", || {
        fixture.stats.turn_age() < Duration::from_secs(5)
    });
    assert!(fixture.stats.is_running());

    fixture.handle.stop();

    let age = fixture.stats.turn_age();
    wait_until("the age grows", || {
        fixture.stats.turn_age() > age + Duration::from_millis(2 * 100)
    });
}

#[test]
fn ipv6_host_takes_registrations() {
    if TcpListener::bind("[::1]:0").is_err() {
        return;
    }
    let handle = (0..50).find_map(|_| try_start("::1", vec![free_port()]).ok());
    assert!(handle.is_some());
}

#[test]
fn every_port_of_the_list_is_served() {
    let fleet = Arc::new(ArcSwap::from_pointee(Snapshot::default()));
    let stats = Arc::new(Stats::new());
    let (_handle, ports) = (0..50)
        .find_map(|_| {
            let ports = vec![free_port(), free_port()];
            let config = Config {
                host: "127.0.0.1".to_owned(),
                ports: ports.clone(),
                ..patient()
            };
            Some((
                start(config, Arc::clone(&fleet), Arc::clone(&stats)).ok()?,
                ports,
            ))
        })
        .unwrap();

    let peers: Vec<Peer> = ports
        .iter()
        .map(|port| Peer::connect(*port, None))
        .collect();
    for (peer, address) in peers.iter().zip(["127.9.9.1:9", "127.9.9.2:9"]) {
        peer.send(&super::support::ping("P", address));
    }

    wait_until("both are there", || fleet.load().nodes.len() == 2);
}
