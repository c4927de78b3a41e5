use std::time::Duration;

use proptest::prelude::*;

use super::*;

const FRESH: Duration = Duration::from_secs(5);
const EXPIRY: Duration = Duration::from_secs(12);

fn table_of(capacity: usize) -> Table {
    Table::new(Settings {
        fresh: FRESH,
        expiry: EXPIRY,
        capacity,
        shards: 1,
    })
}

fn table() -> Table {
    table_of(limits::NODES_MAX)
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn registration(role: Role, http: &str, kv: &str) -> Registration {
    Registration {
        role,
        http: HttpAddress::parse(http).unwrap(),
        kv: KvAddress::parse(kv).unwrap(),
    }
}

fn prefill(http: &str) -> Registration {
    registration(Role::Prefill, http, "10.0.0.9:21001")
}

fn sockets<const N: usize>(texts: [&str; N]) -> Vec<SocketAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn peer(last: u8) -> Option<IpAddr> {
    Some(IpAddr::from([10, 1, 1, last]))
}

/// Registers `http` as a prefill node of no particular peer.
fn ping(table: &mut Table, http: &str, at: Duration) -> Change {
    table.apply(prefill(http), None, at)
}

/// Ends all probes that are due with `probed`.
fn probe(table: &mut Table, probed: Probed, at: Duration) -> usize {
    let tickets = table.probe_due(0, at);
    for ticket in &tickets {
        table.probed(ticket, probed, at);
    }
    tickets.len()
}

/// Every visible node: its role, its address, its state.
fn seen(news: &News) -> Vec<(Role, String, State)> {
    let nodes = news.snapshot.nodes.iter();
    nodes
        .map(|(node, state)| (node.role, node.http.to_string(), *state))
        .collect()
}

fn states(table: &mut Table, at: Duration) -> Vec<State> {
    table.is_stale = true;
    seen(&table.news(at).unwrap())
        .into_iter()
        .map(|(_, _, state)| state)
        .collect()
}

#[test]
fn node_is_pending_until_its_health_is_good() {
    let mut table = table();
    ping(&mut table, "10.0.0.1:80", seconds(0));
    assert_eq!(seen(&table.news(seconds(0)).unwrap())[0].2, State::Pending);

    probe(&mut table, Probed::Status, seconds(0));
    assert!(table.news(seconds(0)).is_none());
    probe(&mut table, Probed::Healthy, seconds(1));

    let news = table.news(seconds(1)).unwrap();
    assert_eq!(seen(&news)[0].2, State::Ready);
    assert_eq!(news.moved.len(), 1);
}

#[test]
fn refreshed_lease_changes_nothing_visible() {
    let mut table = table();
    ping(&mut table, "10.0.0.1:80", seconds(0));
    let before = table.news(seconds(0)).unwrap().snapshot;

    assert_eq!(
        ping(&mut table, "10.0.0.1:80", seconds(3)),
        Change::Refreshed
    );

    assert!(table.news(seconds(3)).is_none());
    probe(&mut table, Probed::Healthy, seconds(3));
    let after = table.news(seconds(3)).unwrap().snapshot;
    assert!(Arc::ptr_eq(&before.nodes[0].0, &after.nodes[0].0));
    assert_eq!((before.epoch, after.epoch), (1, 2));
}

#[test]
fn nodes_stand_in_registration_order_whoever_pings() {
    let mut table = table();
    for http in [
        "10.0.0.3:80",
        "10.0.0.1:80",
        "10.0.0.2:80",
        "10.0.0.3:80",
        "10.0.0.1:80",
    ] {
        ping(&mut table, http, seconds(0));
    }

    let news = table.news(seconds(0)).unwrap();

    let order: Vec<String> = seen(&news).into_iter().map(|(_, http, _)| http).collect();
    assert_eq!(order, ["10.0.0.3:80", "10.0.0.1:80", "10.0.0.2:80"]);
}

#[test]
fn silent_node_is_suspect_then_gone() {
    let mut table = table();
    ping(&mut table, "10.0.0.1:80", seconds(0));
    probe(&mut table, Probed::Healthy, seconds(0));

    assert_eq!(states(&mut table, FRESH), [State::Ready]);
    assert_eq!(states(&mut table, FRESH + seconds(1)), [State::Suspect]);
    assert!(table.expire(EXPIRY).is_empty());
    let departed = table.expire(EXPIRY + seconds(1));

    assert_eq!(departed[0].http.as_str(), "10.0.0.1:80");
    assert!(
        table
            .news(EXPIRY + seconds(1))
            .unwrap()
            .snapshot
            .nodes
            .is_empty()
    );
}

#[test]
fn dead_node_behind_a_live_one_expires() {
    let mut table = table();
    ping(&mut table, "10.0.0.1:80", seconds(0));
    ping(&mut table, "10.0.0.2:80", seconds(0));
    ping(&mut table, "10.0.0.1:80", seconds(10));

    let departed = table.expire(seconds(13));

    assert_eq!(departed.len(), 1);
    assert_eq!(departed[0].http.as_str(), "10.0.0.2:80");
}

#[test]
fn node_back_from_a_silence_is_probed_before_it_is_ready() {
    let mut table = table();
    ping(&mut table, "10.0.0.1:80", seconds(0));
    probe(&mut table, Probed::Healthy, seconds(0));

    ping(&mut table, "10.0.0.1:80", seconds(9));

    assert_eq!(states(&mut table, seconds(9)), [State::Suspect]);
    assert_eq!(probe(&mut table, Probed::Healthy, seconds(9)), 1);
    assert_eq!(states(&mut table, seconds(9)), [State::Ready]);
}

#[test]
fn distrusted_node_is_probed_and_trusted_again() {
    let mut table = table();
    ping(&mut table, "10.0.0.1:80", seconds(0));
    probe(&mut table, Probed::Healthy, seconds(0));
    let node = Arc::clone(&table.news(seconds(0)).unwrap().snapshot.nodes[0].0);
    for at in (3..20).step_by(3) {
        ping(&mut table, "10.0.0.1:80", seconds(at));
    }

    node.distrust();
    let tickets = table.probe_due(0, seconds(20));

    assert_eq!(tickets.len(), 1);
    assert_eq!(states(&mut table, seconds(20)), [State::Suspect]);
    table.probed(&tickets[0], Probed::Refused, seconds(20));
    assert!(node.is_suspect());
    assert_eq!(probe(&mut table, Probed::Healthy, seconds(21)), 1);
    assert!(!node.is_suspect());
    assert_eq!(states(&mut table, seconds(21)), [State::Ready]);
}

#[test]
fn distrust_soon_after_trust_waits_for_its_probe() {
    let mut table = table();
    ping(&mut table, "10.0.0.1:80", seconds(0));
    probe(&mut table, Probed::Healthy, seconds(0));
    let node = Arc::clone(&table.news(seconds(0)).unwrap().snapshot.nodes[0].0);

    let mut probed_at = Vec::new();
    for tick in 0..200 {
        let now = Duration::from_millis(100) * tick;
        ping(&mut table, "10.0.0.1:80", now);
        node.distrust();
        if probe(&mut table, Probed::Healthy, now) == 1 {
            probed_at.push(now.as_millis());
        }
    }

    assert!(probed_at.len() < 12, "{probed_at:?}");
}

#[test]
fn silent_node_is_not_healed_by_its_health_until_its_quarantine_ends() {
    let mut table = table();
    ping(&mut table, "10.0.0.1:80", seconds(0));
    probe(&mut table, Probed::Healthy, seconds(0));
    let node = Arc::clone(&table.news(seconds(0)).unwrap().snapshot.nodes[0].0);
    let mut trusted_at = Vec::new();
    for at in 20..200 {
        ping(&mut table, "10.0.0.1:80", seconds(at));
        if !node.is_suspect() {
            trusted_at.push(at);
            node.quarantine();
        }
        probe(&mut table, Probed::Healthy, seconds(at));
    }
    assert_eq!(trusted_at, [20, 31, 52, 93, 174]);

    // It answers again, so the next time is a first time.
    table.probed(
        &Ticket {
            id: Id(0),
            node: Arc::clone(&node),
        },
        Probed::Healthy,
        seconds(334),
    );
    node.answered();
    probe(&mut table, Probed::Healthy, seconds(335));
    node.quarantine();
    for (at, is_suspect) in [(336, true), (345, true), (347, false)] {
        probe(&mut table, Probed::Healthy, seconds(at));
        assert_eq!(node.is_suspect(), is_suspect, "{at}");
    }
}

#[test]
fn probe_under_way_does_not_heal_a_node_that_falls_silent_meanwhile() {
    let mut table = table();
    ping(&mut table, "10.0.0.1:80", seconds(0));
    probe(&mut table, Probed::Healthy, seconds(0));
    let node = Arc::clone(&table.news(seconds(0)).unwrap().snapshot.nodes[0].0);
    node.distrust();
    let tickets = table.probe_due(0, seconds(20));
    node.quarantine();
    assert!(table.probe_due(1, seconds(20)).is_empty());
    table.probed(&tickets[0], Probed::Healthy, seconds(21));
    assert!(node.is_suspect());
    assert_eq!(probe(&mut table, Probed::Healthy, seconds(29)), 0);
    assert_eq!(probe(&mut table, Probed::Healthy, seconds(30)), 1);
    assert!(!node.is_suspect());
}

#[test]
fn silent_node_that_is_started_anew_is_trusted_at_once() {
    let mut table = table();
    ping(&mut table, "10.0.0.1:80", seconds(0));
    probe(&mut table, Probed::Healthy, seconds(0));
    let node = Arc::clone(&table.news(seconds(0)).unwrap().snapshot.nodes[0].0);
    node.quarantine();
    assert_eq!(probe(&mut table, Probed::Healthy, seconds(1)), 0);
    // No ping for more than the 5 s of a fresh node: another process.
    ping(&mut table, "10.0.0.1:80", seconds(7));
    assert_eq!(probe(&mut table, Probed::Healthy, seconds(7)), 1);
    assert!(!node.is_suspect());
}

#[test]
fn new_kv_address_makes_a_new_node_in_the_old_place() {
    let mut table = table();
    ping(&mut table, "10.0.0.1:80", seconds(0));
    ping(&mut table, "10.0.0.2:80", seconds(0));
    probe(&mut table, Probed::Healthy, seconds(0));
    let before = table.news(seconds(0)).unwrap().snapshot;

    let change = table.apply(
        registration(Role::Prefill, "10.0.0.1:80", "10.0.0.9:9"),
        None,
        seconds(1),
    );

    assert!(
        matches!(change, Change::KvChanged(departed) if departed.kv.as_str() == "10.0.0.9:21001")
    );
    let after = table.news(seconds(1)).unwrap().snapshot;
    assert!(!Arc::ptr_eq(&before.nodes[0].0, &after.nodes[0].0));
    assert!(Arc::ptr_eq(&before.nodes[1].0, &after.nodes[1].0));
    assert_eq!(after.nodes[0].0.kv.as_str(), "10.0.0.9:9");
    assert_eq!(after.nodes[0].1, State::Pending);
}

#[test]
fn answer_of_a_replaced_node_says_nothing_of_its_successor() {
    let mut table = table();
    ping(&mut table, "10.0.0.1:80", seconds(0));
    let tickets = table.probe_due(0, seconds(0));
    table.apply(
        registration(Role::Prefill, "10.0.0.1:80", "10.0.0.9:9"),
        None,
        seconds(0),
    );

    table.probed(&tickets[0], Probed::Healthy, seconds(0));

    assert_eq!(states(&mut table, seconds(0)), [State::Pending]);
    assert_eq!(probe(&mut table, Probed::Healthy, seconds(0)), 1);
    assert_eq!(states(&mut table, seconds(0)), [State::Ready]);
}

#[test]
fn changed_role_leaves_the_old_one_at_once() {
    let mut table = table();
    ping(&mut table, "10.0.0.1:80", seconds(0));
    ping(&mut table, "10.0.0.2:80", seconds(0));

    let change = table.apply(
        registration(Role::Decode, "10.0.0.1:80", "10.0.0.9:9"),
        None,
        seconds(1),
    );

    assert!(matches!(change, Change::RoleChanged(departed) if departed.role == Role::Prefill));
    assert_eq!(
        seen(&table.news(seconds(1)).unwrap()),
        [
            (Role::Prefill, "10.0.0.2:80".to_owned(), State::Pending),
            (Role::Decode, "10.0.0.1:80".to_owned(), State::Pending),
        ]
    );
}

#[test]
fn failing_node_is_probed_ever_more_rarely() {
    let mut table = table();
    let mut probes = 0;
    for tick in 0..1000 {
        let now = Duration::from_millis(100) * tick;
        ping(&mut table, "10.0.0.1:80", now);
        probes += probe(&mut table, Probed::Refused, now);
    }
    assert!((25..32).contains(&probes), "{probes} probes in 100 s");
}

#[test]
fn probe_that_could_not_run_is_no_failure() {
    let mut table = table();
    ping(&mut table, "10.0.0.1:80", seconds(0));

    assert_eq!(probe(&mut table, Probed::NotRun, seconds(0)), 1);

    assert_eq!(probe(&mut table, Probed::Healthy, seconds(0)), 1);
}

#[test]
fn full_table_of_proven_nodes_refuses_a_newcomer() {
    let mut table = table_of(2);
    ping(&mut table, "10.0.0.1:80", seconds(0));
    ping(&mut table, "10.0.0.2:80", seconds(0));
    probe(&mut table, Probed::Healthy, seconds(0));

    assert_eq!(
        ping(&mut table, "10.0.0.3:80", seconds(1)),
        Change::TableFull
    );
    assert_eq!(
        ping(&mut table, "10.0.0.1:80", seconds(1)),
        Change::Refreshed
    );
}

#[test]
fn ten_thousand_spoofed_nodes_keep_no_real_one_out() {
    let mut table = table();
    let good = peer(1);
    table.apply(prefill("10.9.9.1:80"), good, seconds(0));
    probe(&mut table, Probed::Healthy, seconds(0));
    let mut spoofed = (0..).map(|n| format!("10.7.{}.{}:80", n / 250 % 250, n % 250));

    // The dead ones never answer, so that their probes stay under way.
    let mut running = 0;
    for n in 0..5_000 {
        table.apply(prefill(&spoofed.next().unwrap()), peer(2), seconds(1));
        if n % 100 == 0 {
            running += table.probe_due(running, seconds(1)).len();
        }
    }
    table.apply(prefill("10.9.9.2:80"), good, seconds(1));
    for _ in 0..5_000 {
        table.apply(prefill(&spoofed.next().unwrap()), peer(2), seconds(1));
    }
    let tickets = table.probe_due(running, seconds(1));
    let ours: Vec<_> = tickets
        .iter()
        .filter(|ticket| ticket.node.http.host() == "10.9.9.2")
        .collect();
    assert_eq!(ours.len(), 1);
    table.probed(ours[0], Probed::Healthy, seconds(1));

    let ready: Vec<String> = seen(&table.news(seconds(1)).unwrap())
        .into_iter()
        .filter(|(_, _, state)| *state == State::Ready)
        .map(|(_, http, _)| http)
        .collect();
    assert_eq!(ready, ["10.9.9.1:80", "10.9.9.2:80"]);
    assert_eq!(table.entries.len(), limits::NODES_MAX);
}

#[test]
fn newcomer_of_the_spoofing_peer_itself_is_probed_first() {
    let mut table = table_of(8);
    for n in 0..100 {
        ping(&mut table, &format!("10.7.0.{n}:80"), seconds(0));
    }
    // All of them have been probed once, and are due again.
    for at in [0, 0, 0, 60] {
        probe(&mut table, Probed::Timeout, seconds(at));
    }
    ping(&mut table, "10.9.9.2:80", seconds(61));

    let tickets = table.probe_due(limits::PROBES_MAX - 1, seconds(61));

    assert_eq!(tickets[0].node.http.as_str(), "10.9.9.2:80");
}

#[test]
fn newcomers_leave_places_for_the_probes_of_others() {
    let mut table = table();
    for n in 0..80 {
        ping(&mut table, &format!("10.7.0.{n}:80"), seconds(0));
    }
    // All are of one peer, which has a quarter of the places; what has served has them all.
    assert_eq!(table.probe_due(0, seconds(0)).len(), limits::PROBES_MAX / 4);
    let mut table = self::table();
    for n in 0..80 {
        table.apply(prefill(&format!("10.7.0.{n}:80")), peer(n), seconds(0));
    }
    let tickets = table.probe_due(0, seconds(0));
    assert_eq!(tickets.len(), limits::PROBES_MAX * 3 / 4);

    for ticket in &tickets {
        table.probed(ticket, Probed::Healthy, seconds(0));
        ticket.node.distrust();
    }
    let tickets = table.probe_due(limits::PROBES_MAX - 50, seconds(100));

    assert_eq!(tickets.len(), 50);
    assert!(
        tickets
            .iter()
            .take(48)
            .all(|ticket| ticket.node.is_suspect())
    );
}

#[test]
fn name_is_not_visible_before_it_is_resolved() {
    let mut table = table();
    ping(&mut table, "node-a:80", seconds(0));
    assert!(table.news(seconds(0)).is_none());
    assert!(table.probe_due(0, seconds(0)).is_empty());

    let (id, http) = table.resolve_due(0, seconds(0)).remove(0);
    assert_eq!(http.as_str(), "node-a:80");
    assert!(table.resolve_due(0, seconds(0)).is_empty());
    table.resolved(id, &sockets(["10.0.0.1:80"]), seconds(0));

    let news = table.news(seconds(0)).unwrap();
    assert_eq!(
        news.snapshot.nodes[0].0.socket,
        "10.0.0.1:80".parse().unwrap()
    );
    ping(&mut table, "node-a:80", seconds(1));
    assert!(table.resolve_due(0, seconds(100)).is_empty());
}

#[test]
fn name_that_does_not_resolve_is_tried_again_after_a_pause() {
    let mut table = table();
    ping(&mut table, "node-a:80", seconds(0));
    let (id, _) = table.resolve_due(0, seconds(0)).remove(0);

    table.resolved(id, &[], seconds(0));

    assert!(table.resolve_due(0, seconds(0)).is_empty());
    assert_eq!(table.resolve_due(0, seconds(1)).len(), 1);
}

#[test]
fn name_of_a_failing_node_is_resolved_anew() {
    let mut table = table();
    ping(&mut table, "node-a:80", seconds(0));
    let (id, _) = table.resolve_due(0, seconds(0)).remove(0);
    table.resolved(id, &sockets(["10.0.0.1:80"]), seconds(0));
    let before = table.news(seconds(0)).unwrap().snapshot;

    probe(&mut table, Probed::Refused, seconds(0));
    let (id, _) = table.resolve_due(0, seconds(10)).remove(0);
    table.resolved(id, &sockets(["10.0.0.2:80"]), seconds(10));

    let after = table.news(seconds(10)).unwrap().snapshot;
    assert_eq!(after.nodes[0].0.socket, "10.0.0.2:80".parse().unwrap());
    assert!(!Arc::ptr_eq(&before.nodes[0].0, &after.nodes[0].0));
}

#[test]
fn name_with_two_addresses_is_tried_at_both_until_one_serves() {
    let mut table = table();
    ping(&mut table, "node-a:80", seconds(0));
    let both = sockets(["10.0.0.1:80", "10.0.0.2:80"]);
    let mut tried = Vec::new();
    for at in [0, 10, 20, 30, 40] {
        ping(&mut table, "node-a:80", seconds(at));
        for (id, _) in table.resolve_due(0, seconds(at)) {
            table.resolved(id, &both, seconds(at));
        }
        for ticket in table.probe_due(0, seconds(at)) {
            tried.push(ticket.node.socket);
            let probed = if at < 30 {
                Probed::Refused
            } else {
                Probed::Healthy
            };
            table.probed(&ticket, probed, seconds(at));
        }
    }

    let [one, two] = both[..] else { panic!() };
    // At 40 the node, which is back from a silence, is probed where it was.
    assert_eq!(tried, [one, two, one, two, two]);
}

#[test]
fn every_seed_keeps_the_property() {
    let seeds = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/table");
    for seed in std::fs::read_dir(seeds).unwrap() {
        check_table(&std::fs::read(seed.unwrap().path()).unwrap());
    }
}

proptest! {
    #[test]
    fn table_agrees_with_a_naive_one(data in proptest::collection::vec(any::<u8>(), 0..1500)) {
        check_table(&data);
    }
}
