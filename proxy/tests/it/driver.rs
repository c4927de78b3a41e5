//! Which driver the shards run on, and what is said when it is not the one that was wanted.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch, apply_filter};

use crate::support::proxy::{Proxy, command, driver, free_port};
use crate::support::scripted::{Scripted, completion, echo, prompt_body};

/// `io_uring_setup`, which has the same number on every architecture.
const IO_URING_SETUP: i64 = 425;

/// Runs `start` on a thread whose children are refused io_uring with `errno`, as the default profile of
/// container engines refuses it.
fn without_io_uring<T: Send>(errno: rustix::io::Errno, start: impl FnOnce() -> T + Send) -> T {
    let errno = u32::try_from(errno.raw_os_error()).unwrap();
    let filter = SeccompFilter::new(
        BTreeMap::from([(IO_URING_SETUP, Vec::new())]),
        SeccompAction::Allow,
        SeccompAction::Errno(errno),
        TargetArch::try_from(std::env::consts::ARCH).expect("seccomp knows this machine"),
    );
    let program: BpfProgram = filter.unwrap().try_into().unwrap();
    std::thread::scope(|scope| {
        let thread = scope.spawn(move || {
            apply_filter(&program).expect("the kernel takes the filter");
            start()
        });
        thread.join().unwrap()
    })
}

/// The command without the driver under test.
fn on(choice: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pd-proxy"));
    command
        .env_clear()
        .args(["--io-driver", choice])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

/// Starts a proxy, whatever driver the tests run on.
fn start(choice: &str) -> Proxy {
    Proxy::start_unchecked(&mut on(choice), free_port(), free_port())
}

#[track_caller]
fn assert_serves_on(proxy: Proxy, name: &str) {
    assert_eq!(
        proxy.metric(&format!("io_driver_info{{driver=\"{name}\"}}")),
        1
    );
    let line = proxy.wait_for_log("is ready");
    assert!(line.ends_with(&format!("on {name}")), "{line}");
    let nodes = Scripted::behind(proxy, echo);
    let mut client = nodes.proxy.connect();
    for _ in 0..3 {
        assert_eq!(
            client.send(completion("a")).response().text(),
            prompt_body("a")
        );
    }
}

#[test]
fn epoll_is_what_was_asked_for() {
    let proxy = start("epoll");
    assert!(!proxy.log().contains("io_uring"), "{}", proxy.log());
    assert_serves_on(proxy, "epoll");
}

#[test]
fn io_uring_is_what_was_asked_for() {
    // Where the tests themselves run without it, this one has nothing to ask.
    if driver().as_deref() != Some("epoll") {
        assert_serves_on(start("io_uring"), "io_uring");
    }
}

#[test]
fn epoll_takes_over_where_io_uring_is_refused_and_one_line_says_why() {
    for (errno, cause, cure) in [
        (
            rustix::io::Errno::PERM,
            "Operation not permitted",
            "seccomp profile",
        ),
        (rustix::io::Errno::NOSYS, "not implemented", "Linux 6.1"),
        (
            rustix::io::Errno::NOMEM,
            "Cannot allocate memory",
            "ulimit -l",
        ),
        (rustix::io::Errno::INVAL, "Invalid argument", "Linux 6.1"),
    ] {
        let proxy = without_io_uring(errno, || start("auto"));
        let line = proxy.wait_for_log("running on epoll");
        assert!(line.contains(cause) && line.contains(cure), "{line}");
        let lines = proxy
            .log()
            .lines()
            .filter(|line| line.contains("io_uring"))
            .count();
        assert_eq!(lines, 1, "one line, not one per shard:\n{}", proxy.log());
        assert_serves_on(proxy, "epoll");
    }
}

#[test]
fn io_uring_or_nothing_ends_the_start_where_it_is_refused() {
    let ports = [free_port().to_string(), free_port().to_string()];
    let output = without_io_uring(rustix::io::Errno::PERM, || {
        let mut command = on("io_uring");
        command.args([
            "--host",
            "127.0.0.1",
            "--port",
            &ports[0],
            "--zmq-port",
            &ports[1],
        ]);
        command.output().unwrap()
    });
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(
        told.contains("Operation not permitted") && told.contains("seccomp"),
        "{told}"
    );
    assert!(!told.contains("is ready"), "{told}");
}

#[test]
fn epoll_needs_no_io_uring_at_all() {
    let proxy = without_io_uring(rustix::io::Errno::PERM, || start("epoll"));
    assert_serves_on(proxy, "epoll");
}

#[test]
fn driver_under_test_is_the_one_that_runs() {
    let Some(name) = driver() else {
        return;
    };
    let proxy = Proxy::start_command(&mut command());
    assert_eq!(
        proxy.metric(&format!("io_driver_info{{driver=\"{name}\"}}")),
        1
    );
}
