//! Registration, received by a real libzmq ROUTER.

use crate::client::post;
use pd_bench::sim::{Action, Fault, Options, Role, Sim, State};
use serde_json::json;
use std::time::Duration;

fn router() -> (zmq::Socket, String) {
    let socket = zmq::Context::new().socket(zmq::ROUTER).unwrap();
    socket.bind("tcp://127.0.0.1:*").unwrap();
    socket.set_rcvtimeo(10_000).unwrap();
    let endpoint = socket.get_last_endpoint().unwrap().unwrap();
    let address = endpoint.strip_prefix("tcp://").unwrap().to_owned();
    (socket, address)
}

fn quick(options: Options) -> Sim {
    Sim::start(Options {
        ping_interval: Duration::from_millis(20),
        ..options
    })
    .unwrap()
}

#[test]
fn node_announces_itself_under_its_kv_address() {
    let (router, address) = router();
    for (role, letter) in [(Role::Prefill, "P"), (Role::Decode, "D")] {
        let sim = quick(Options {
            proxies: vec![address.clone()],
            ..Options::of(role)
        });

        let frames = router.recv_multipart(0).unwrap();

        assert_eq!(frames.len(), 2);
        assert_eq!(frames[0], sim.zmq_address().as_bytes());
        let text = String::from_utf8_lossy(&frames[1]).into_owned();
        let order = [
            "type",
            letter,
            "http_address",
            &sim.http_address(),
            "zmq_address",
        ];
        let mut rest = text.as_str();
        for part in order {
            rest = rest.split_once(part).expect(part).1;
        }
        assert!(rest.ends_with(&sim.zmq_address()));
        drop(sim);
        // What was on its way before the node stopped.
        router.set_rcvtimeo(100).unwrap();
        while router.recv_multipart(0).is_ok() {}
        router.set_rcvtimeo(10_000).unwrap();
    }
}

#[test]
fn pings_repeat_pause_and_resume() {
    let (router, address) = router();
    let sim = quick(Options::prefill(address));
    let first = router.recv_multipart(0).unwrap();
    assert_eq!(router.recv_multipart(0).unwrap(), first);

    sim.pause_pings();
    router.set_rcvtimeo(200).unwrap();
    while router.recv_multipart(0).is_ok() {}

    router.set_rcvtimeo(10_000).unwrap();
    sim.resume_pings();
    assert_eq!(router.recv_multipart(0).unwrap(), first);
}

#[test]
fn every_proxy_hears_of_the_node() {
    let ((one, first), (two, second)) = (router(), router());
    let sim = quick(Options {
        proxies: vec![first, second],
        ..Options::of(Role::Decode)
    });

    let heard = one.recv_multipart(0).unwrap();

    assert_eq!(two.recv_multipart(0).unwrap(), heard);
    assert_eq!(heard[0], sim.zmq_address().as_bytes());
}

#[test]
fn aggregated_node_never_registers() {
    let (router, address) = router();
    let _sim = quick(Options {
        proxies: vec![address],
        ..Options::of(Role::Both)
    });

    router.set_rcvtimeo(200).unwrap();

    assert!(router.recv_multipart(0).is_err());
}

#[test]
fn dead_node_falls_silent() {
    let (router, address) = router();
    let mut sim = quick(Options {
        proxies: vec![address],
        faults: vec![Fault::once(Action::Die)],
        ..Options::of(Role::Prefill)
    });
    router.recv_multipart(0).unwrap();
    let reply = post(&sim, "/v1/completions", &json!({"prompt": "a"}));
    assert_eq!(reply.status, 500);

    // Its thread has ended by itself; nobody stopped it.
    assert!(
        sim.wait_until(Duration::from_secs(10), |ledger| ledger.state
            == State::Dead)
    );
    sim.wait();
    router.set_rcvtimeo(200).unwrap();
    while router.recv_multipart(0).is_ok() {}
    assert!(router.recv_multipart(0).is_err());
}

#[test]
fn address_that_no_socket_can_reach_is_an_error() {
    let error = Sim::start(Options::prefill("no port")).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput, "{error}");
}
