//! Exit codes: what a script sees.

use std::process::ExitCode;

/// The children did not start, did not get ready, or ended without being asked to.
pub(crate) const START_FAILED: u8 = 1;
/// Everything started, but a request through the whole system failed.
pub(crate) const PROBE_FAILED: u8 = 2;
/// The command line is wrong (`EX_USAGE` of `sysexits.h`).
pub(crate) const USAGE: u8 = 64;

/// The code of a process that a signal ended, as shells count: 130 for SIGINT, 143 for SIGTERM.
pub(crate) fn signalled(signal: i32) -> ExitCode {
    u8::try_from(signal + 128).map_or(ExitCode::FAILURE, ExitCode::from)
}
