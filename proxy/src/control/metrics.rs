//! What a scrape gets.

use crate::io::clock;
use crate::relay::{Phase, Shared};
use crate::telemetry::{Gauges, render};

/// The text of `/metrics`.
pub(super) fn text(shared: &Shared) -> String {
    let gauges = Gauges {
        driver: shared.driver.get().copied().unwrap_or("none"),
        draining: shared.phase.get() == Phase::Draining,
        started: shared.started,
        now: clock::now(),
    };
    render(&shared.counters, &shared.fleet.load(), &gauges, |out| {
        shared
            .registry
            .each(|series, value| out.series(series.strip_prefix("pd_").unwrap_or(series), value));
    })
}
