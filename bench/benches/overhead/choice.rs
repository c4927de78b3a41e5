//! Which pair, and the request id that tells the nodes of each other.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion};
use pd_proxy::balance::{Tried, choose};
use pd_proxy::kv_transfer::RequestId;
use pd_proxy::nodes::{HttpAddress, KvAddress, Node, Role, Snapshot, State};

const KV: &str = "10.0.0.1:14579";

/// A fleet with this many nodes of each role, all ready.
fn fleet(nodes: u16) -> Snapshot {
    let node = |role, port: u16| {
        let http = format!("10.0.0.1:{port}");
        let socket = http.parse().unwrap();
        let http = HttpAddress::parse(&http).unwrap();
        let node = Node::new(role, http, socket, KvAddress::parse(KV).unwrap(), 1);
        (Arc::new(node), State::Ready)
    };
    let ports = 10_000..10_000 + nodes;
    Snapshot {
        epoch: 1,
        nodes: ports
            .flat_map(|port| [node(Role::Prefill, port), node(Role::Decode, port + 20_000)])
            .collect(),
    }
}

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pair_choice");
    for nodes in [1, 4, 64, 1024] {
        let (fleet, tried) = (fleet(nodes), Tried::default());
        choose(&fleet, 0, &tried).unwrap();
        group.bench_with_input(
            BenchmarkId::from_parameter(nodes),
            &fleet,
            |bencher, fleet| {
                let mut turn = 0;
                bencher.iter(|| {
                    turn += 1;
                    choose(black_box(fleet), turn, &tried)
                });
            },
        );
    }
    group.finish();

    let kv = KvAddress::parse(KV).unwrap();
    criterion.bench_function("request_id", |bencher| {
        bencher.iter(|| RequestId::new(black_box(&kv), black_box(&kv), [7; 16]));
    });
}
