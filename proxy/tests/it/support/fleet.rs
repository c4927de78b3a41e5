//! A proxy with simulated nodes behind it.

use pd_bench::sim::{Options, Sim};

use super::eventually;
use super::proxy::Proxy;

/// A proxy and its nodes.
#[derive(Debug)]
pub(crate) struct Fleet {
    pub(crate) proxy: Proxy,
    pub(crate) prefill: Vec<Sim>,
    pub(crate) decode: Vec<Sim>,
}

impl Fleet {
    /// One node of each role, as fast as the machine allows.
    pub(crate) fn start() -> Self {
        Self::of(1, 1)
    }

    /// So many nodes of each role.
    pub(crate) fn of(prefill: usize, decode: usize) -> Self {
        Self::behind(Proxy::start(), prefill, decode, |options| options)
    }

    /// Nodes behind `proxy`, with options that `adjust` may change; returns when all are ready. They
    /// register one after the other, so that their order is known.
    pub(crate) fn behind(
        proxy: Proxy,
        prefill: usize,
        decode: usize,
        adjust: impl Fn(Options) -> Options,
    ) -> Self {
        let at = proxy.registration();
        let start = |options: Options, role: &str, number: usize| {
            let sim = Sim::start(adjust(options)).expect("the simulator starts");
            let ready = format!("nodes{{role=\"{role}\",state=\"ready\"}}");
            eventually("the node is ready", || {
                proxy.metric(&ready) == number as u64
            });
            sim
        };
        let prefill = (1..=prefill)
            .map(|n| start(Options::prefill(at.clone()), "prefill", n))
            .collect();
        let decode = (1..=decode)
            .map(|n| start(Options::decode(at.clone()), "decode", n))
            .collect();
        Self {
            proxy,
            prefill,
            decode,
        }
    }

    /// Ends the test: nothing is in flight, and no node has anything to complain of.
    #[track_caller]
    pub(crate) fn assert_clean(&self) {
        let sims = || self.prefill.iter().chain(&self.decode);
        eventually("nothing is in flight", || {
            let metrics = self.proxy.get("/metrics").text();
            let mut counts = metrics
                .lines()
                .filter(|line| line.starts_with("pd_proxy_in_flight{"));
            counts.all(|line| line.ends_with(" 0"))
                && sims().all(|sim| sim.ledger().leaks().is_empty())
        });
        for sim in sims() {
            let ledger = sim.ledger();
            assert!(ledger.is_clean(), "{}", ledger.report());
        }
        assert_eq!(self.proxy.metric("kv_stranded_total"), 0);
    }
}
