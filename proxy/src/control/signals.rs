//! SIGTERM and SIGINT.

use std::io;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Calls `first` on the first of the two signals, on a thread of its own; the second ends the process
/// at once, with the status of a process that the signal killed.
///
/// # Errors
///
/// When the signals cannot be taken over.
pub(super) fn on_end(first: impl FnOnce(&'static str) + Send + 'static) -> io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            let mut first = Some(first);
            for signal in signals.forever() {
                match first.take() {
                    Some(first) => first(if signal == SIGTERM {
                        "SIGTERM"
                    } else {
                        "SIGINT"
                    }),
                    None => end(128 + signal),
                }
            }
        })?;
    Ok(())
}

#[expect(
    clippy::exit,
    reason = "a second signal means: now, whatever is still running"
)]
fn end(status: i32) {
    std::process::exit(status)
}
