//! Everything that a process has started, and its end.

use std::collections::BTreeMap;
use std::fs;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// Between two looks: what a killed process needs to be gone.
const PAUSE: Duration = Duration::from_millis(10);
/// Deeper than any chain of processes that is not a loop of numbers used anew while we look.
const DEPTH_MAX: usize = 256;

/// Kills all descendants of a process until none is left; those that nobody has waited for yet do not
/// count. `ancestor` must be a subreaper, or what loses its parent gets away.
pub(crate) fn end_all(ancestor: Pid) {
    loop {
        let descendants = of(ancestor);
        if descendants.is_empty() {
            return;
        }
        for pid in descendants {
            // The handle first, then the question: a number used anew meanwhile is a stranger's.
            if let Ok(handle) = pidfd_open(pid, PidfdFlags::empty())
                && of(ancestor).contains(&pid)
            {
                // It may have ended by itself.
                pidfd_send_signal(&handle, Signal::KILL).ok();
            }
        }
        thread::sleep(PAUSE);
    }
}

/// The running descendants of a process.
pub(crate) fn of(ancestor: Pid) -> Vec<Pid> {
    let ancestor = ancestor.as_raw_nonzero().get();
    let mut parents = BTreeMap::new();
    let mut running = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        if let Some((state, parent)) = state_and_parent(&stat) {
            parents.insert(pid, parent);
            if !matches!(state, 'Z' | 'X') {
                running.push(pid);
            }
        }
    }
    running.retain(|&pid| {
        let chain = std::iter::successors(parents.get(&pid), |parent| parents.get(*parent));
        chain.take(DEPTH_MAX).any(|&parent| parent == ancestor)
    });
    running.into_iter().filter_map(Pid::from_raw).collect()
}

/// Fields 3 and 4 of `/proc/PID/stat` (proc(5)); the name before them may hold anything.
fn state_and_parent(stat: &str) -> Option<(char, i32)> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_and_parent_are_found_behind_any_name() {
        assert_eq!(state_and_parent("7 (a) b) R 1) S 42 7 7"), Some(('S', 42)));
        assert_eq!(state_and_parent("7 (x"), None);
        assert_eq!(state_and_parent(""), None);
    }
}
