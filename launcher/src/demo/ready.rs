//! Waiting until all processes are up and the pair is ready.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::plan::{Plan, Process};
use super::step::Step;
use crate::probe::{Probe, Wanted};
use crate::supervise::Reporter;

/// From the first start to a ready pair.
pub(super) const TIMEOUT: Duration = Duration::from_secs(30);

/// Everything that must become ready.
#[derive(Debug)]
pub(super) struct Watch {
    processes: Vec<(String, Arc<Probe>)>,
    /// 200 only with a ready prefill and a ready decode node.
    pair: Probe,
    started: Instant,
}

impl Watch {
    /// Will watch these processes, the first of which were started at `started`.
    pub(super) fn new(
        plan: &Plan,
        processes: &[Process],
        started: Instant,
    ) -> anyhow::Result<Self> {
        let host = plan.proxy.host.to_string();
        let probes = processes.iter().map(|process| {
            let probe = Probe::new(&host, process.port, process.up_when)?;
            Ok((process.name.clone(), Arc::new(probe)))
        });
        Ok(Self {
            processes: probes.collect::<anyhow::Result<_>>()?,
            pair: Probe::new(&host, plan.proxy.http_port, Wanted::Ok)?,
            started,
        })
    }

    /// Reports each process that is up, then the ready pair; or what is missing when the time is over.
    pub(super) async fn run(self, reporter: Reporter<Step>) {
        if tokio::time::timeout(TIMEOUT, self.all_ready(&reporter))
            .await
            .is_err()
        {
            reporter.report(Step::NotReady(self.missing()));
        }
    }

    async fn all_ready(&self, reporter: &Reporter<Step>) {
        let mut up = JoinSet::new();
        for (index, (_, probe)) in self.processes.iter().enumerate() {
            let (probe, reporter, started) = (Arc::clone(probe), reporter.clone(), self.started);
            up.spawn(async move {
                probe.until_ready().await;
                reporter.report(Step::Up {
                    process: index,
                    after: started.elapsed(),
                });
            });
        }
        while up.join_next().await.is_some() {}
        self.pair.until_ready().await;
        reporter.report(Step::PairReady {
            after: self.started.elapsed(),
        });
    }

    fn missing(&self) -> String {
        let processes = self
            .processes
            .iter()
            .map(|(name, probe)| (name.as_str(), probe.missing()));
        let all = processes.chain([("the pair", self.pair.missing())]);
        let missing: Vec<String> = all
            .filter_map(|(name, why)| Some(format!("{name}: {}", why?)))
            .collect();
        missing.join("; ")
    }
}
