//! More messages and more nodes than there should be.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::support::{Fixture, Health, Peer, patient, ping, rest, wait_until};
use crate::limits;
use crate::nodes::{Role, State};
use crate::registry::Config;

const FLOOD: u64 = 100_000;

#[test]
fn flood_of_junk_starves_no_node_that_pings() {
    let fixture = Fixture::with(Config {
        fresh: Duration::from_secs(5),
        ..patient()
    });
    let health = Health::start(200);
    let body = ping("P", &health.address.to_string());
    let good = Peer::connect(fixture.port, Some("good"));
    good.send(&body);
    fixture.wait_for(health.address, Role::Prefill, State::Ready);

    let port = fixture.port;
    let flood = std::thread::spawn(move || {
        let bad = Peer::connect(port, Some("bad"));
        (0..FLOOD).for_each(|_| bad.send(b"\x81\xa4type\xa5HELLO"));
        bad
    });
    wait_until("the flood is over", || {
        good.send(&body);
        assert!(
            fixture.shows(health.address, Role::Prefill, State::Ready),
            "the good node starved"
        );
        rest();
        fixture.messages("legacy") == FLOOD
    });

    flood.join().unwrap();
    assert!(fixture.messages("refreshed") > 0);
}

#[test]
fn flood_of_dead_nodes_keeps_no_real_one_out() {
    let fixture = Fixture::start();
    let (old, new) = (Health::start(200), Health::start(200));
    let good = Peer::connect(fixture.port, None);
    good.send(&ping("P", &old.address.to_string()));
    fixture.wait_for(old.address, Role::Prefill, State::Ready);

    let is_over = Arc::new(AtomicBool::new(false));
    let (port, ended) = (fixture.port, Arc::clone(&is_over));
    let flood = std::thread::spawn(move || {
        let bad = Peer::connect(port, None);
        // Every one of these addresses is of this machine, and closed.
        let mut addresses = (0..=u16::MAX).cycle().map(|n| n.to_be_bytes());
        while !ended.load(Ordering::Relaxed) {
            for [high, low] in addresses.by_ref().take(100) {
                bad.send(&ping("D", &format!("127.77.{high}.{low}:9")));
            }
        }
    });
    wait_until("ten thousand dead nodes have come", || {
        fixture.messages("added") > 10_000
    });
    wait_until("a real one is ready among them", || {
        good.send(&ping("D", &new.address.to_string()));
        fixture.shows(new.address, Role::Decode, State::Ready)
    });

    assert!(fixture.shows(old.address, Role::Prefill, State::Ready));
    assert!(fixture.fleet.load().nodes.len() <= limits::NODES_MAX);
    is_over.store(true, Ordering::Relaxed);
    flood.join().unwrap();
}
