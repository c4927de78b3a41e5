//! The kernel's limits on this process.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Raises the number of descriptors to what the process may have: two per stream are needed, and the
/// usual soft limit of 1,024 would be 500 streams. What it is now; `None` for no limit.
pub(super) fn raise_descriptors() -> Option<u64> {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let wanted = rustix::process::Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        };
        if setrlimit(Resource::Nofile, wanted).is_ok() {
            limit.current = limit.maximum;
        }
    }
    limit.current
}
