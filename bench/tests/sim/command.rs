//! The `pd-sim` command as a process.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

/// A running `pd-sim` and the HTTP address of its ready line.
fn start(args: &[&str]) -> (Child, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_pd-sim"))
        .args(["--port", "0", "--speed", "inf"])
        .args(args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let address = line
        .split(' ')
        .find_map(|word| word.strip_prefix("http="))
        .expect(&line)
        .to_owned();
    (child, address)
}

fn complete(address: &str, max_tokens: u32) -> String {
    let body = format!(r#"{{"prompt":"a","max_tokens":{max_tokens}}}"#);
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
         connection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn terminate(child: &Child) {
    let pid = child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .unwrap()
            .success()
    );
}

fn stderr(child: &mut Child) -> String {
    let mut text = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    text
}

#[test]
fn clean_node_exits_with_zero_on_sigterm() {
    let (mut child, address) = start(&["--strict"]);
    assert!(complete(&address, 4).starts_with("HTTP/1.1 200"));

    terminate(&child);

    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(stderr(&mut child).contains("1 finished"));
}

#[test]
fn prefill_node_dies_with_one_on_an_id_without_markers() {
    let (mut child, address) = start(&["--role", "prefill"]);

    assert!(complete(&address, 1).starts_with("HTTP/1.1 500"));

    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert!(stderr(&mut child).contains("does not contain host and port"));
}

#[test]
fn help_is_no_error() {
    let help = Command::new(env!("CARGO_BIN_EXE_pd-sim"))
        .arg("--help")
        .output()
        .unwrap();
    assert_eq!(help.status.code(), Some(0));
    assert!(
        String::from_utf8(help.stdout)
            .unwrap()
            .contains("--kv-port")
    );
}
