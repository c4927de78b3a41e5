//! Log lines, on standard error.

use tracing::level_filters::LevelFilter;

/// Sends everything from `level` up to standard error, one line each, coloured only for a terminal.
pub(super) fn start(level: LevelFilter) {
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_target(false)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_writer(std::io::stderr);
    // An embedding program may have its own.
    subscriber.try_init().unwrap_or_default();
}
