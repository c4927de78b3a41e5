//! What the kernel says of a process.

use std::fs;
use std::time::Duration;

use super::proxy::Proxy;

/// Descriptors it has open.
pub(crate) fn descriptors(proxy: &Proxy) -> usize {
    let listed = fs::read_dir(format!("/proc/{}/fd", id(proxy))).expect("it runs");
    listed.count()
}

/// Memory it occupies, in bytes.
pub(crate) fn resident_bytes(proxy: &Proxy) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", id(proxy))).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next());
    kib.and_then(|kib| kib.parse::<u64>().ok()).expect("a size") * 1024
}

/// Time it has spent on processors since its start.
pub(crate) fn processor_time(proxy: &Proxy) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{}/stat", id(proxy))).expect("it runs");
    // The name, in parentheses, may hold anything; user and system time are the 12th and 13th field
    // behind it, in hundredths of a second (proc_pid_stat(5)).
    let (_, rest) = stat.rsplit_once(") ").expect("a name");
    let fields = rest.split(' ').skip(11).take(2);
    let hundredths = fields.map(|field| field.parse::<u64>().expect("a number"));
    Duration::from_millis(hundredths.sum::<u64>() * 10)
}

fn id(proxy: &Proxy) -> i32 {
    proxy.pid().as_raw_nonzero().get()
}
