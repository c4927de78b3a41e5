//! What the registry tells: snapshots to the shards, lines to the log, counts to the metrics.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use super::stats::Stats;
use super::table::{Departed, News};
use crate::limits;
use crate::nodes::Snapshot;

/// Writes the published snapshot; nobody else does.
#[derive(Debug)]
pub(super) struct Publisher {
    fleet: Arc<ArcSwap<Snapshot>>,
    stats: Arc<Stats>,
    lines: Lines,
}

impl Publisher {
    pub(super) fn new(fleet: Arc<ArcSwap<Snapshot>>, stats: Arc<Stats>) -> Self {
        Self {
            fleet,
            stats,
            lines: Lines::default(),
        }
    }

    /// The counters.
    pub(super) fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Begins a turn at `now`.
    pub(super) fn turn(&mut self, now: Duration) {
        self.stats.turned(now);
        let left_out = self.lines.turn(now);
        if left_out > 0 {
            tracing::warn!(
                left_out,
                "the registry had more to log than it may in one second"
            );
        }
    }

    /// Whether another line may be logged in this second.
    pub(super) fn may_log(&mut self) -> bool {
        self.lines.take()
    }

    /// Tells that a node came.
    pub(super) fn added(&mut self, node: &Departed) {
        self.stats.node_added();
        if self.may_log() {
            // People and scripts look for exactly this text, which vLLM's example proxy prints.
            tracing::info!(
                role = node.role.name(),
                "Add [HTTP:{}, ZMQ:{}]",
                node.http,
                node.kv
            );
        }
    }

    /// Tells that a node left.
    pub(super) fn removed(&mut self, node: &Departed) {
        self.stats.node_removed();
        if self.may_log() {
            tracing::info!(
                role = node.role.name(),
                "Remove [HTTP:{}, ZMQ:{}]",
                node.http,
                node.kv
            );
        }
    }

    /// Gives the shards a new snapshot.
    pub(super) fn publish(&mut self, news: News) {
        for (node, state) in news.moved {
            if self.may_log() {
                let (role, state) = (node.role.name(), state.name());
                tracing::info!(role, state, "Change [HTTP:{}, ZMQ:{}]", node.http, node.kv);
            }
        }
        self.fleet.store(Arc::new(news.snapshot));
    }
}

/// How many lines have been logged in this second: what peers send must not fill a disk.
#[derive(Debug, Default)]
struct Lines {
    second: u64,
    logged: u32,
    left_out: u64,
}

impl Lines {
    /// Takes note of the time, and returns how many lines were left out in a second that is over.
    fn turn(&mut self, now: Duration) -> u64 {
        if now.as_secs() == self.second {
            return 0;
        }
        let left_out = self.left_out;
        *self = Self {
            second: now.as_secs(),
            logged: 0,
            left_out: 0,
        };
        left_out
    }

    fn take(&mut self) -> bool {
        let may = self.logged < limits::REGISTRY_LINES_PER_SECOND;
        if may {
            self.logged += 1;
        } else {
            self.left_out += 1;
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::mpsc::{Sender, channel};

    use super::*;
    use crate::nodes::{HttpAddress, KvAddress, Role};

    /// Sends what is logged.
    #[derive(Clone)]
    struct Log(Sender<String>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0
                .send(String::from_utf8_lossy(bytes).into_owned())
                .ok();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn nodes_that_come_and_go_are_logged_as_the_example_proxy_does() {
        let (log, lines) = channel();
        let log = Log(log);
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_max_level(tracing::Level::INFO)
            .with_writer(move || log.clone())
            .finish();
        let fleet = Arc::new(ArcSwap::from_pointee(Snapshot::default()));
        let mut publisher = Publisher::new(fleet, Arc::new(Stats::new()));
        let node = Departed {
            role: Role::Decode,
            http: HttpAddress::parse("10.0.1.3:20002").unwrap(),
            kv: KvAddress::parse("10.0.1.3:22001").unwrap(),
        };

        tracing::subscriber::with_default(subscriber, || {
            publisher.added(&node);
            publisher.removed(&node);
        });

        let text: String = lines.try_iter().collect();
        assert!(
            text.contains("Add [HTTP:10.0.1.3:20002, ZMQ:10.0.1.3:22001]"),
            "{text}"
        );
        assert!(
            text.contains("Remove [HTTP:10.0.1.3:20002, ZMQ:10.0.1.3:22001]"),
            "{text}"
        );
    }

    #[test]
    fn lines_of_a_second_are_bounded_and_the_rest_is_counted() {
        let mut lines = Lines::default();
        let allowed = (0..1000).filter(|_| lines.take()).count();

        assert_eq!(allowed, 64);
        assert_eq!(lines.turn(Duration::from_millis(999)), 0);
        assert_eq!(lines.turn(Duration::from_millis(1000)), 1000 - 64);
        assert!(lines.take());
        assert_eq!(lines.turn(Duration::from_secs(5)), 0);
    }
}
