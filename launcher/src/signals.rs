//! The signals that end the launcher.

use std::{fs, io, thread};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Hands each SIGINT, SIGTERM and SIGHUP to `notice`, until it says that it has seen enough.
///
/// A SIGHUP that was ignored from the start stays ignored: that is how `nohup` asks to go on when the
/// terminal closes.
pub(crate) fn watch(mut notice: impl FnMut(i32) -> bool + Send + 'static) -> io::Result<()> {
    let mut watched = vec![SIGINT, SIGTERM];
    if !is_ignored(SIGHUP) {
        watched.push(SIGHUP);
    }
    let mut signals = Signals::new(watched)?;
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            for signal in signals.forever() {
                if !notice(signal) {
                    return;
                }
            }
        })?;
    Ok(())
}

/// The name of a signal as people know it.
pub(crate) fn name(signal: i32) -> String {
    signal_hook::low_level::signal_name(signal)
        .map_or_else(|| format!("signal {signal}"), str::to_owned)
}

fn is_ignored(signal: i32) -> bool {
    fs::read_to_string("/proc/self/status").is_ok_and(|status| has_ignored(&status, signal))
}

/// Reads the mask `SigIgn` of proc(5): bit n-1 stands for signal n.
fn has_ignored(status: &str, signal: i32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_signals_are_read_off_the_mask() {
        let status = "Name:\tx\nSigBlk:\t0000000000000001\nSigIgn:\t0000000000001002\n";

        assert!(has_ignored(status, SIGINT));
        assert!(!has_ignored(status, SIGHUP));
        assert!(!has_ignored("", SIGINT));
    }

    #[test]
    fn signals_have_names() {
        assert_eq!(name(SIGTERM), "SIGTERM");
        assert_eq!(name(63), "signal 63");
    }
}
