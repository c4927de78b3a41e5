//! Temporary: answers like a ready proxy or node until the real programs are linked in.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

pub(crate) fn main_with_args(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    let port = args.iter().skip_while(|arg| *arg != "--port").nth(1);
    let port: Option<u16> = port.and_then(|port| port.to_str()?.parse().ok());
    let Some(Ok(listener)) = port.map(|port| TcpListener::bind(("127.0.0.1", port))) else {
        return ExitCode::FAILURE;
    };
    writeln!(std::io::stderr(), "stand-in {args:?}").ok();
    for stream in listener.incoming().flatten() {
        thread::spawn(move || serve(stream));
    }
    ExitCode::SUCCESS
}

fn serve(stream: TcpStream) -> Option<()> {
    let mut writer = stream.try_clone().ok()?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            (reader.read_line(&mut head).ok()? > 0).then_some(())?;
        }
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.map_or(Some(0), |length| length.parse().ok())?];
        reader.read_exact(&mut body).ok()?;
        if String::from_utf8_lossy(&body).contains("\"stream\":true") {
            let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
            writer.write_all(head.as_bytes()).ok()?;
            for word in "Because one waits for memory and the other for arithmetic.".split(' ') {
                let event = format!(
                    "data: {{\"choices\":[{{\"delta\":{{\"content\":\"{word} \"}}}}]}}\n\n"
                );
                write!(writer, "{:x}\r\n{event}\r\n", event.len()).ok()?;
                thread::sleep(Duration::from_millis(30));
            }
            writer
                .write_all(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")
                .ok()?;
        } else {
            thread::sleep(Duration::from_millis(100));
            let body = "{\"usage\":{\"completion_tokens\":32}}";
            write!(
                writer,
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            )
            .ok()?;
        }
    }
}
