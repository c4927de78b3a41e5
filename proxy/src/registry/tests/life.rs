//! The life of nodes that mean well.

use std::sync::Arc;
use std::time::Duration;

use super::support::{Fixture, Health, Peer, free_port, patient, ping, ping_with_kv, wait_until};
use crate::nodes::{Role, State};
use crate::registry::clock::Clock;
use crate::registry::{Config, resolve};

#[test]
fn node_that_pings_is_ready_only_once_its_health_says_200() {
    let fixture = Fixture::start();
    let health = Health::start(503);
    let peer = Peer::connect(fixture.port, Some("10.0.1.2:21001"));

    peer.send(&ping("P", &health.address.to_string()));
    let status = "pd_registry_probes_total{outcome=\"status\"}";
    wait_until("a probe said 503", || fixture.count(status) > 0);
    assert!(fixture.shows(health.address, Role::Prefill, State::Pending));
    health.say(0);
    let broken = "pd_registry_probes_total{outcome=\"broken\"}";
    wait_until("a probe was cut off", || fixture.count(broken) > 0);
    assert!(fixture.shows(health.address, Role::Prefill, State::Pending));
    health.say(200);

    fixture.wait_for(health.address, Role::Prefill, State::Ready);
}

#[test]
fn node_whose_port_is_closed_stays_pending_until_it_opens() {
    let fixture = Fixture::start();
    let address = ([127, 0, 0, 1], free_port()).into();
    let peer = Peer::connect(fixture.port, None);

    peer.send(&ping("D", &format!("{address}")));
    let refused = "pd_registry_probes_total{outcome=\"refused\"}";
    wait_until("a probe was refused", || fixture.count(refused) > 0);
    assert!(fixture.shows(address, Role::Decode, State::Pending));
    let _health = Health::at(address, 200);

    fixture.wait_for(address, Role::Decode, State::Ready);
}

#[test]
fn refreshed_node_stays_the_same_object() {
    let fixture = Fixture::start();
    let health = Health::start(200);
    let peer = Peer::connect(fixture.port, None);
    let body = ping("D", &health.address.to_string());
    peer.send(&body);
    fixture.wait_for(health.address, Role::Decode, State::Ready);
    let (before, _) = fixture.node(health.address).unwrap();
    let epoch = fixture.fleet.load().epoch;

    peer.send(&body);
    wait_until("the ping is taken", || fixture.messages("refreshed") == 1);

    let (after, _) = fixture.node(health.address).unwrap();
    assert!(Arc::ptr_eq(&before, &after));
    assert_eq!(fixture.fleet.load().epoch, epoch);
}

#[test]
fn node_with_a_new_kv_address_is_a_new_object() {
    let fixture = Fixture::start();
    let health = Health::start(200);
    let http = health.address.to_string();
    let peer = Peer::connect(fixture.port, None);
    peer.send(&ping_with_kv("P", &http, "10.0.0.9:1"));
    fixture.wait_for(health.address, Role::Prefill, State::Ready);

    peer.send(&ping_with_kv("P", &http, "10.0.0.9:2"));

    wait_until("the node is ready with its new address", || {
        let node = fixture.node(health.address);
        node.is_some_and(|(node, state)| state == State::Ready && node.kv.as_str() == "10.0.0.9:2")
    });
    assert_eq!(fixture.messages("kv_changed"), 1);
    assert_eq!(fixture.fleet.load().nodes.len(), 1);
}

#[test]
fn node_with_a_new_role_is_in_that_role_only() {
    let fixture = Fixture::start();
    let health = Health::start(200);
    let peer = Peer::connect(fixture.port, None);
    peer.send(&ping("P", &health.address.to_string()));
    fixture.wait_for(health.address, Role::Prefill, State::Ready);

    peer.send(&ping("D", &health.address.to_string()));

    fixture.wait_for(health.address, Role::Decode, State::Ready);
    assert_eq!(fixture.fleet.load().nodes.len(), 1);
}

#[test]
fn last_node_of_a_role_is_suspect_and_then_gone_when_its_pings_end() {
    let fixture = Fixture::with(Config {
        fresh: Duration::from_millis(400),
        expiry: Duration::from_millis(1200),
        ..Config::default()
    });
    let health = Health::start(200);
    let peer = Peer::connect(fixture.port, None);
    let body = ping("D", &health.address.to_string());
    wait_until("the node is ready", || {
        peer.send(&body);
        fixture.shows(health.address, Role::Decode, State::Ready)
    });

    let mut was_suspect = false;
    wait_until("the node is gone", || {
        was_suspect |= fixture.shows(health.address, Role::Decode, State::Suspect);
        fixture.fleet.load().nodes.is_empty()
    });

    assert!(was_suspect);
    assert_eq!(fixture.count("pd_registry_nodes_removed_total"), 1);
}

#[test]
fn distrusted_node_is_trusted_again_when_its_health_is_good() {
    let fixture = Fixture::start();
    let health = Health::start(200);
    let peer = Peer::connect(fixture.port, None);
    peer.send(&ping("P", &health.address.to_string()));
    fixture.wait_for(health.address, Role::Prefill, State::Ready);
    let (node, _) = fixture.node(health.address).unwrap();

    health.say(503);
    node.distrust();
    fixture.wait_for(health.address, Role::Prefill, State::Suspect);
    assert!(node.is_suspect());
    health.say(200);

    fixture.wait_for(health.address, Role::Prefill, State::Ready);
    assert!(!node.is_suspect());
}

#[test]
fn name_is_resolved_and_probed() {
    let fixture = Fixture::start();
    let name = |port: u16| crate::nodes::HttpAddress::parse(&format!("localhost:{port}")).unwrap();
    let mut address = resolve::system(&name(1))[0];
    address.set_port(0);
    let health = Health::at(address, 200);
    let peer = Peer::connect(fixture.port, None);

    peer.send(&ping("P", name(health.address.port()).as_str()));

    fixture.wait_for(health.address, Role::Prefill, State::Ready);
    let (node, _) = fixture.node(health.address).unwrap();
    assert_eq!(node.http.host(), "localhost");
}

#[test]
fn backlog_of_a_thousand_pings_is_taken_at_once() {
    let health = Health::start(200);
    let body = ping("P", &health.address.to_string());
    let (fixture, clock, _peer) = (0..50)
        .find_map(|_| {
            let port = free_port();
            let peer = Peer::connect(port, None);
            (0..1000).for_each(|_| peer.send(&body));
            let clock = Clock::start();
            Some((Fixture::at(port, patient())?, clock, peer))
        })
        .unwrap();

    wait_until("the backlog is taken", || {
        fixture.messages("refreshed") == 999
    });

    fixture.wait_for(health.address, Role::Prefill, State::Ready);
    assert!(clock.now() < Duration::from_secs(15));
}

#[test]
fn nodes_stand_in_the_order_they_came_in() {
    let fixture = Fixture::start();
    let peer = Peer::connect(fixture.port, None);
    let addresses: Vec<String> = (1..=40_u8)
        .rev()
        .map(|n| format!("127.9.9.{n}:9"))
        .collect();

    for address in addresses.iter().chain(&addresses) {
        peer.send(&ping("D", address));
    }
    wait_until("all are there", || fixture.messages("refreshed") == 40);

    wait_until("all are published", || {
        fixture.fleet.load().nodes.len() == 40
    });
    let order: Vec<String> = fixture
        .fleet
        .load()
        .nodes
        .iter()
        .map(|(node, _)| node.http.to_string())
        .collect();
    assert_eq!(order, addresses);
}
