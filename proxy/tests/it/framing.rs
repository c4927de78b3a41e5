//! Requests that two readers could read differently: each is refused, its connection is closed, and
//! neither it nor what stands behind it reaches a node.

use std::io::{Read, Write};

use crate::support::client::Client;
use crate::support::scripted::Scripted;

const BODY: &str = r#"{"prompt":"a"}"#;
/// What must never be taken for a request once the one before it was refused.
const HIDDEN: &str = "POST /v1/completions HTTP/1.1\r\nHost: hidden\r\n\
    Content-Type: application/json\r\nContent-Length: 19\r\n\r\n{\"prompt\":\"hidden\"}";

/// A case: its name, its bytes, and the status it is answered with.
type Case = (&'static str, Vec<u8>, u16);

/// A completion with these fields (each ended by CRLF) beside `Host` and `Content-Type`.
fn completion(fields: &str, body: &str) -> Vec<u8> {
    format!(
        "POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
         {fields}\r\n{body}"
    )
    .into_bytes()
}

/// A completion that is whole but for the bytes in front of its `Host`.
fn request_line(line: &str) -> Vec<u8> {
    format!(
        "{line}\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{BODY}",
        BODY.len()
    )
    .into_bytes()
}

fn chunked(body: &str) -> Vec<u8> {
    completion("Transfer-Encoding: chunked\r\n", body)
}

/// A completion framed by its length, with one more field line.
fn with_field(line: &str) -> Vec<u8> {
    let length = BODY.len();
    completion(&format!("Content-Length: {length}\r\n{line}\r\n"), BODY)
}

/// Sends each case with a hidden request behind it and judges both sides.
#[track_caller]
fn assert_refused(cases: Vec<Case>) {
    let nodes = Scripted::echo();
    for (name, bytes, status) in cases {
        assert_refused_by(&nodes, name, &bytes, &[status]);
    }
    nodes.assert_untouched();
}

#[track_caller]
fn assert_refused_by(nodes: &Scripted, name: &str, bytes: &[u8], statuses: &[u16]) {
    // Shown with the failure, if there is one.
    println!("{name}");
    let mut client = nodes.proxy.connect();
    client.send(bytes).half_close_after(HIDDEN);
    let response = client.response();
    assert!(statuses.contains(&response.status), "{}", response.head);
    let message = response.openai_error(response.status);
    assert!(!message.is_empty());
    assert_eq!(response.field("connection"), Some("close"));
    assert_eq!(response.json()["error"]["param"], serde_json::Value::Null);
    client.assert_closed();
}

impl Client {
    /// Sends the last bytes; whoever has refused those before them may not take them any more.
    fn half_close_after(&mut self, bytes: &str) -> &mut Self {
        if self.stream.write_all(bytes.as_bytes()).is_ok() {
            self.stream.shutdown(std::net::Shutdown::Write).ok();
        }
        self
    }
}

#[test]
fn two_framings_are_refused() {
    let chunks = "e\r\n{\"prompt\":\"a\"}\r\n0\r\n\r\n";
    let te_cl = "Transfer-Encoding: chunked\r\nContent-Length: 14\r\n";
    let cl_te = "Content-Length: 14\r\nTransfer-Encoding: chunked\r\n";
    assert_refused(vec![
        ("TE before CL", completion(te_cl, chunks), 400),
        ("CL before TE", completion(cl_te, chunks), 400),
        (
            "CL of 0 and TE",
            completion(
                "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
                "0\r\n\r\n",
            ),
            400,
        ),
        (
            "CL and a TE that is not chunked",
            completion(
                "Content-Length: 14\r\nTransfer-Encoding: identity\r\n",
                BODY,
            ),
            400,
        ),
        (
            "CL and a TE with a tab",
            completion(
                "Content-Length: 14\r\nTransfer-Encoding:\tchunked\r\n",
                chunks,
            ),
            400,
        ),
        (
            "CL and a TE with an underscore",
            completion(
                "Content-Length: 14\r\nTransfer_Encoding: chunked\r\n",
                chunks,
            ),
            400,
        ),
        (
            "TE and a CL with an underscore",
            completion(
                "Transfer-Encoding: chunked\r\nContent_Length: 14\r\n",
                chunks,
            ),
            400,
        ),
        (
            "CL and a folded TE",
            completion(
                "Content-Length: 14\r\nTransfer-Encoding:\r\n chunked\r\n",
                chunks,
            ),
            400,
        ),
        (
            "CL and a TE behind a bare LF",
            completion(
                "Content-Length: 14\r\nX: y\nTransfer-Encoding: chunked\r\n",
                chunks,
            ),
            400,
        ),
        (
            "CL and a TE behind a bare CR",
            completion(
                "Content-Length: 14\r\nX: y\rTransfer-Encoding: chunked\r\n",
                chunks,
            ),
            400,
        ),
        (
            "CL and a TE in another field's value, behind NUL",
            completion(
                "Content-Length: 14\r\nX: \0Transfer-Encoding: chunked\r\n",
                chunks,
            ),
            400,
        ),
    ]);
}

#[test]
fn length_that_is_no_plain_number_is_refused() {
    let values = [
        "+14",
        "-14",
        "14,14",
        "14, 14",
        "14,15",
        "0x0e",
        "0xe",
        "e",
        "14.0",
        "1e1",
        "1_4",
        "14;",
        "14 14",
        "1 4",
        "\"14\"",
        "",
        ",",
        "14,",
        ",14",
        "14\t",
        "\t14",
        "٤",
        "14\u{a0}",
        "0 14",
        "18446744073709551616",
        "18446744073709551630",
        "99999999999999999999999999",
        "-0",
        "+0",
        "NaN",
        "14\x0b",
        "14\x7f",
    ];
    let cases = values.iter().map(|value| {
        let fields = format!("Content-Length: {value}\r\n");
        (*value, completion(&fields, BODY), 400)
    });
    assert_refused(cases.collect());
}

#[test]
fn repeated_length_is_refused() {
    let again = |more: &str| completion(&format!("Content-Length: 14\r\n{more}\r\n"), BODY);
    assert_refused(vec![
        ("the same", again("Content-Length: 14"), 400),
        ("another", again("Content-Length: 15"), 400),
        ("none", again("Content-Length: 0"), 400),
        ("in lower case", again("content-length: 14"), 400),
        ("empty", again("Content-Length:"), 400),
        ("with an underscore", again("Content_Length: 14"), 400),
    ]);
}

#[test]
fn transfer_coding_other_than_chunked_is_refused() {
    let values = [
        "identity",
        "gzip",
        "gzip, chunked",
        "chunked, gzip",
        "chunked, chunked",
        "chunked,",
        ",chunked",
        "chunked;q=1",
        "\"chunked\"",
        "chunkedd",
        "xchunked",
        "chunke",
        "",
        "chunked\t",
        "\tchunked",
        "\x0bchunked",
        "chunked\x0c",
        "chunk\u{e9}d",
        "chunked, identity",
        "chunked x",
        "compress",
        "trailers",
        "'chunked'",
        "c\0hunked",
    ];
    let cases = values.iter().map(|value| {
        let fields = format!("Transfer-Encoding: {value}\r\n");
        (*value, completion(&fields, "0\r\n\r\n"), 400)
    });
    assert_refused(cases.collect());
}

#[test]
fn repeated_transfer_coding_is_refused() {
    let two = |first: &str, second: &str| {
        let fields = format!("Transfer-Encoding: {first}\r\nTransfer-Encoding: {second}\r\n");
        completion(&fields, "0\r\n\r\n")
    };
    assert_refused(vec![
        ("twice", two("chunked", "chunked"), 400),
        ("identity first", two("identity", "chunked"), 400),
        ("identity last", two("chunked", "identity"), 400),
        ("one empty", two("chunked", ""), 400),
    ]);
}

#[test]
fn http10_with_transfer_coding_is_refused() {
    let bytes =
        b"POST /v1/completions HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    let both = b"POST /v1/completions HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\
        Content-Length: 5\r\nConnection: keep-alive\r\n\r\n0\r\n\r\n";
    assert_refused(vec![
        ("alone", bytes.to_vec(), 400),
        ("with a length and keep-alive", both.to_vec(), 400),
    ]);
}

#[test]
fn line_that_does_not_end_with_crlf_is_refused() {
    let whole = with_field("X: y");
    let whole = String::from_utf8(whole).unwrap();
    let head_end = whole.find("\r\n\r\n").unwrap() + 4;
    let mut cases = Vec::new();
    for (at, _) in whole[..head_end].match_indices("\r\n") {
        for (name, instead) in [
            ("LF", "\n"),
            ("CR", "\r"),
            ("LF CR", "\n\r"),
            ("CR CR LF", "\r\r\n"),
            ("NUL LF", "\0\n"),
        ] {
            let mut bytes = whole.clone();
            bytes.replace_range(at..at + 2, instead);
            cases.push((name, bytes.into_bytes(), 400));
        }
    }
    assert_refused(cases);
}

#[test]
fn malformed_field_line_is_refused() {
    let lines = [
        "X : y",
        "X\t: y",
        " X: y",
        "\tX: y",
        ": y",
        "X",
        "X y",
        "X;: y",
        "X\"Y: z",
        "X(Y): z",
        "X\0: y",
        "X\x7f: y",
        "\u{e9}: y",
        "X: a\0b",
        "X: a\x01b",
        "X: a\x1bb",
        "X: a\x08b",
        "X: a\x7fb",
        "X: a\r\n folded",
        "X: a\r\n\tfolded",
        "X: a\rb",
        "X: a\nb",
        "X@Y: z",
        "X/Y: z",
        "[X]: y",
        "Content-Length : 5",
        "Transfer-Encoding : chunked",
        "X: a\x0bb",
        "X: a\x0cb",
    ];
    assert_refused(
        lines
            .iter()
            .map(|line| (*line, with_field(line), 400))
            .collect(),
    );
}

#[test]
fn every_control_byte_in_a_value_is_refused() {
    let controls = (0_u8..0x20).filter(|byte| *byte != b'\t').chain([0x7F]);
    let cases = controls.map(|byte| {
        let line = format!("X: a{}b", char::from(byte));
        ("a control byte", with_field(&line), 400)
    });
    assert_refused(cases.collect());
}

#[test]
fn malformed_request_line_is_refused() {
    let lines = [
        "POST  /v1/completions HTTP/1.1",
        "POST /v1/completions  HTTP/1.1",
        "POST /v1/completions HTTP/1.1 ",
        " POST /v1/completions HTTP/1.1",
        "POST\t/v1/completions HTTP/1.1",
        "POST /v1/completions\tHTTP/1.1",
        "POST /v1/completions",
        "POST",
        "POST /v1/completions HTTP/1.1 x",
        "POST /v1/com pletions HTTP/1.1",
        "P\0ST /v1/completions HTTP/1.1",
        "P(ST /v1/completions HTTP/1.1",
        "POST: /v1/completions HTTP/1.1",
        "POST /v1/completions\0 HTTP/1.1",
        "POST /v1/comple\x01tions HTTP/1.1",
        "POST /v1/completions\u{e9} HTTP/1.1",
        "POST /v1/completions#x HTTP/1.1",
        "POST /v1/completions%0 HTTP/1.1",
        "POST /v1/completions%zz HTTP/1.1",
        "POST /v1/\"completions\" HTTP/1.1",
        "POST /v1\\completions HTTP/1.1",
        "POST /v1/<completions> HTTP/1.1",
        "POST v1/completions HTTP/1.1",
        "POST * HTTP/1.1",
        "POST a:80 HTTP/1.1",
        "POST ftp://a/v1/completions HTTP/1.1",
        "POST http:///v1/completions HTTP/1.1",
        "POST http://u@a/v1/completions HTTP/1.1",
        "POST http:/v1/completions HTTP/1.1",
        "CONNECT /v1/completions HTTP/1.1",
        "CONNECT a HTTP/1.1",
        "",
        "\r\nPOST /v1/completions HTTP/1.1\r\n ",
        "\r\n\r\nPOST /v1/completions HTTP/1.1",
        "\nPOST /v1/completions HTTP/1.1",
        "\rPOST /v1/completions HTTP/1.1",
        "\u{feff}POST /v1/completions HTTP/1.1",
    ];
    assert_refused(
        lines
            .iter()
            .map(|line| (*line, request_line(line), 400))
            .collect(),
    );
}

#[test]
fn misspelt_version_is_refused() {
    let nodes = Scripted::echo();
    let versions = [
        "http/1.1",
        "Http/1.1",
        "HTTP/1",
        "HTTP/1.",
        "HTTP/11",
        "HTTP/1.1.1",
        "HTTP/1.10",
        "HTTP/01.1",
        "HTTP/+1.1",
        "HTTP/1.+1",
        "HTTP 1.1",
        "HTTPS/1.1",
        "/HTTP/1.1",
        "XTTP/1.1",
        "HTTP/1,1",
        "HTTP/x.1",
        "HTTP//1.1",
        "HTTP/1.1x",
        "HTTP/1.\u{661}",
    ];
    for version in versions {
        let bytes = request_line(&format!("POST /v1/completions {version}"));
        assert_refused_by(&nodes, version, &bytes, &[400, 505]);
    }
    nodes.assert_untouched();
}

#[test]
fn version_that_is_not_spoken_is_refused_with_505() {
    let lines = [
        "POST /v1/completions HTTP/2.0",
        "POST /v1/completions HTTP/0.9",
        "POST /v1/completions HTTP/1.2",
        "POST /v1/completions HTTP/3.0",
        "POST /v1/completions HTTP/9.9",
    ];
    assert_refused(
        lines
            .iter()
            .map(|line| (*line, request_line(line), 505))
            .collect(),
    );
}

#[test]
fn host_that_is_missing_repeated_or_malformed_is_refused() {
    let hosts = [
        "",
        "Host: a\r\nHost: a\r\n",
        "Host: a\r\nHost: b\r\n",
        "Host: a\r\nhOsT: b\r\n",
        "Host:\r\n",
        "Host: \r\n",
        "Host: a b\r\n",
        "Host: a,b\r\n",
        "Host: a/b\r\n",
        "Host: u@a\r\n",
        "Host: a:b\r\n",
        "Host: a:65536\r\n",
        "Host: a:+80\r\n",
        "Host: [::1\r\n",
        "Host: http://a\r\n",
        "Host: a#b\r\n",
        "Host: \u{e9}\r\n",
        "Host : a\r\n",
        "Host: a\r\n b\r\n",
    ];
    let cases = hosts.iter().map(|host| {
        let bytes = format!(
            "POST /v1/completions HTTP/1.1\r\n{host}Content-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{BODY}",
            BODY.len()
        );
        (*host, bytes.into_bytes(), 400)
    });
    assert_refused(cases.collect());
}

#[test]
fn host_that_contradicts_the_target_is_refused() {
    let lines = [
        "POST http://b/v1/completions HTTP/1.1",
        "POST http://a:81/v1/completions HTTP/1.1",
        "POST https://a:80/v1/completions HTTP/1.1",
        "POST http://a.b/v1/completions HTTP/1.1",
    ];
    assert_refused(
        lines
            .iter()
            .map(|line| (*line, request_line(line), 400))
            .collect(),
    );
}

#[test]
fn malformed_chunks_are_refused() {
    let bodies = [
        ("no size", "\r\n{\"prompt\":\"a\"}\r\n0\r\n\r\n"),
        (
            "a size with a sign",
            "+e\r\n{\"prompt\":\"a\"}\r\n0\r\n\r\n",
        ),
        ("a negative size", "-e\r\n{\"prompt\":\"a\"}\r\n0\r\n\r\n"),
        (
            "a size with a prefix",
            "0xe\r\n{\"prompt\":\"a\"}\r\n0\r\n\r\n",
        ),
        (
            "a size with an underscore",
            "0_e\r\n{\"prompt\":\"a\"}\r\n0\r\n\r\n",
        ),
        (
            "a space before the size",
            " e\r\n{\"prompt\":\"a\"}\r\n0\r\n\r\n",
        ),
        (
            "a space behind the size",
            "e \r\n{\"prompt\":\"a\"}\r\n0\r\n\r\n",
        ),
        (
            "a tab behind the size",
            "e\t\r\n{\"prompt\":\"a\"}\r\n0\r\n\r\n",
        ),
        (
            "a size that is no number",
            "g\r\n{\"prompt\":\"a\"}\r\n0\r\n\r\n",
        ),
        (
            "a size that overflows 64 bits",
            "1000000000000000e\r\n{\"prompt\":\"a\"}\r\n0\r\n\r\n",
        ),
        (
            "a size with many zeros",
            "000000000000000e\r\n{\"prompt\":\"a\"}\r\n0\r\n\r\n",
        ),
        (
            "a size line ended by LF",
            "e\n{\"prompt\":\"a\"}\r\n0\r\n\r\n",
        ),
        (
            "a size line ended by CR",
            "e\r{\"prompt\":\"a\"}\r\n0\r\n\r\n",
        ),
        (
            "a size line ended by CR CR LF",
            "e\r\r\n{\"prompt\":\"a\"}\r\n0\r\n\r\n",
        ),
        ("data ended by LF", "e\r\n{\"prompt\":\"a\"}\n0\r\n\r\n"),
        ("data ended by CR", "e\r\n{\"prompt\":\"a\"}\r0\r\n\r\n"),
        ("data ended by nothing", "e\r\n{\"prompt\":\"a\"}0\r\n\r\n"),
        (
            "data ended by two other bytes",
            "e\r\n{\"prompt\":\"a\"}XX0\r\n\r\n",
        ),
        (
            "data longer than its size",
            "d\r\n{\"prompt\":\"a\"}\r\n0\r\n\r\n",
        ),
        (
            "data shorter than its size",
            "10\r\n{\"prompt\":\"a\"}\r\n0\r\n\r\n",
        ),
        (
            "a bare LF in an extension",
            "e;a\nb\r\n{\"prompt\":\"a\"}\r\n0\r\n\r\n",
        ),
        (
            "a bare CR in an extension",
            "e;a\rb\r\n{\"prompt\":\"a\"}\r\n0\r\n\r\n",
        ),
        (
            "a NUL in an extension",
            "e;a\0b\r\n{\"prompt\":\"a\"}\r\n0\r\n\r\n",
        ),
        (
            "an extension without a name",
            "e;\r\n{\"prompt\":\"a\"}\r\n0\r\n\r\n",
        ),
        (
            "an extension without a value",
            "e;a=\r\n{\"prompt\":\"a\"}\r\n0\r\n\r\n",
        ),
        (
            "an extension with an open quote",
            "e;a=\"b\r\n{\"prompt\":\"a\"}\r\n0\r\n\r\n",
        ),
        (
            "a line end in a quoted extension",
            "e;a=\"b\r\nc\"\r\n{\"prompt\":\"a\"}\r\n0\r\n\r\n",
        ),
        (
            "an extension behind a space",
            "e ;a b\r\n{\"prompt\":\"a\"}\r\n0\r\n\r\n",
        ),
        (
            "a comma behind the size",
            "e,e\r\n{\"prompt\":\"a\"}\r\n0\r\n\r\n",
        ),
        (
            "a last chunk ended by LF",
            "e\r\n{\"prompt\":\"a\"}\r\n0\n\r\n",
        ),
        ("an end that is LF", "e\r\n{\"prompt\":\"a\"}\r\n0\r\n\n"),
        (
            "an end that is CR and another byte",
            "e\r\n{\"prompt\":\"a\"}\r\n0\r\n\rX",
        ),
        (
            "a trailer without a colon",
            "e\r\n{\"prompt\":\"a\"}\r\n0\r\nX\r\n\r\n",
        ),
        (
            "a trailer without a name",
            "e\r\n{\"prompt\":\"a\"}\r\n0\r\n: x\r\n\r\n",
        ),
        (
            "a trailer with a space before its colon",
            "e\r\n{\"prompt\":\"a\"}\r\n0\r\nX : y\r\n\r\n",
        ),
        (
            "a folded trailer",
            "e\r\n{\"prompt\":\"a\"}\r\n0\r\nX: y\r\n z\r\n\r\n",
        ),
        (
            "a trailer ended by LF",
            "e\r\n{\"prompt\":\"a\"}\r\n0\r\nX: y\n\r\n",
        ),
        (
            "a trailer with NUL",
            "e\r\n{\"prompt\":\"a\"}\r\n0\r\nX: \0\r\n\r\n",
        ),
        ("a body without chunks", "{\"prompt\":\"a\"}"),
    ];
    let mut cases: Vec<Case> = bodies
        .iter()
        .map(|(name, body)| (*name, chunked(body), 400))
        .collect();
    let extension = format!(
        "e;a={}\r\n{{\"prompt\":\"a\"}}\r\n0\r\n\r\n",
        "x".repeat(5_000)
    );
    cases.push(("an extension without an end", chunked(&extension), 400));
    let trailer = format!(
        "e\r\n{{\"prompt\":\"a\"}}\r\n0\r\nX: {}\r\n\r\n",
        "x".repeat(20_000)
    );
    cases.push(("a trailer without an end", chunked(&trailer), 400));
    assert_refused(cases);
}

#[test]
fn other_protocols_are_refused() {
    let nodes = Scripted::echo();
    let tls = [
        0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xFC, 0x03, 0x03,
    ];
    let cases: [(&str, &[u8], u16); 6] = [
        ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        ("TLS", &tls, 400),
        (
            "PROXY 1",
            b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\nGET / HTTP/1.1\r\n\r\n",
            400,
        ),
        ("PROXY 2", b"\r\n\r\n\0\r\nQUIT\n!\x11\0\x0c", 400),
        ("SSH", b"SSH-2.0-OpenSSH_9.2\r\n", 400),
        ("HTTP/0.9", b"GET /v1/models\r\n", 400),
    ];
    for (name, bytes, status) in cases {
        println!("{name}");
        let mut client = nodes.proxy.connect();
        // Not ended: the answer must not wait for more.
        let response = client.send(bytes).response();
        assert!(response.status == status || response.status == 505);
        response.openai_error(response.status);
        assert_eq!(response.field("connection"), Some("close"));
        client.assert_closed();
    }
    nodes.assert_untouched();
}

#[test]
fn connect_and_trace_are_refused_and_what_follows_is_not_read() {
    let connect = "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n".to_owned();
    let trace = "TRACE /v1/completions HTTP/1.1\r\nHost: a\r\n\r\n".to_owned();
    assert_refused(vec![
        ("CONNECT", connect.into_bytes(), 405),
        ("TRACE", trace.into_bytes(), 405),
    ]);
}

#[test]
fn unknown_expectation_is_refused_with_417() {
    let values = [
        "200-ok",
        "100-continue, x",
        "100-continue=1",
        "100",
        "\"100-continue\"",
    ];
    let cases = values.iter().map(|value| {
        let line = format!("Expect: {value}");
        (*value, with_field(&line), 417)
    });
    assert_refused(cases.collect());
}

#[test]
fn request_that_ends_before_it_is_whole_is_refused() {
    let whole = with_field("X: y");
    let nodes = Scripted::echo();
    for cut in [
        1,
        4,
        20,
        40,
        60,
        whole.len() - BODY.len() - 1,
        whole.len() - 1,
    ] {
        let mut client = nodes.proxy.connect();
        let response = client.send_and_half_close(&whole[..cut]).response();
        response.openai_error(400);
        client.assert_closed();
    }
    let half = "e\r\n{\"prompt\":\"a\"}\r\n0\r\n\r\n";
    for cut in 0..half.len() {
        let mut client = nodes.proxy.connect();
        let response = client.send_and_half_close(chunked(&half[..cut])).response();
        response.openai_error(400);
        client.assert_closed();
    }
    nodes.assert_untouched();
}

#[test]
fn methods_that_an_endpoint_lacks_are_refused_and_the_connection_goes_on() {
    let nodes = Scripted::echo();
    let mut client = nodes.proxy.connect();
    for (method, path, allow) in [
        ("post", "/v1/completions", "POST"),
        ("Post", "/v1/completions", "POST"),
        ("GET", "/v1/completions", "POST"),
        ("PUT", "/v1/chat/completions", "POST"),
        ("DELETE", "/v1/models", "GET, HEAD"),
        ("get", "/health", "GET, HEAD"),
        ("BREW", "/metrics", "GET, HEAD"),
    ] {
        let request =
            format!("{method} {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{{}}");
        let response = client.send(request).response();
        response.openai_error(405);
        assert_eq!(response.field("allow"), Some(allow), "{method} {path}");
        assert_eq!(response.field("connection"), None);
    }
    for path in [
        "/",
        "/v1",
        "/v1/completions/",
        "/v1/Completions",
        "//v1/models",
        "/v1/../v1/models",
    ] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
        client.send(request).response().openai_error(404);
    }
    nodes.assert_untouched();
}

#[test]
fn upgrade_is_ignored() {
    let nodes = Scripted::echo();
    let mut client = nodes.proxy.connect();
    let line = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQ";
    let response = client.send(with_field(line)).response();
    assert_eq!(response.status, 200);
    assert_eq!(response.text(), BODY);
    let seen = nodes.decode.next();
    for name in ["upgrade", "connection", "http2-settings"] {
        assert!(seen.fields(name).is_empty(), "{}", seen.head);
    }
    let websocket = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x";
    assert_eq!(client.send(with_field(websocket)).response().status, 200);
}

#[test]
fn odd_but_valid_requests_are_served() {
    let nodes = Scripted::echo();
    let chunks = [
        "e\r\n{\"prompt\":\"a\"}\r\n0\r\n\r\n",
        "E\r\n{\"prompt\":\"a\"}\r\n0\r\n\r\n",
        "0000e\r\n{\"prompt\":\"a\"}\r\n000\r\n\r\n",
        "7\r\n{\"promp\r\n7\r\nt\":\"a\"}\r\n0\r\n\r\n",
        "e;a\r\n{\"prompt\":\"a\"}\r\n0;b=c;d=\"e;f\\\"\"\r\n\r\n",
        "e\r\n{\"prompt\":\"a\"}\r\n0\r\nX: y\r\nContent-Length: 3\r\n\r\n",
    ];
    let mut cases: Vec<(String, Vec<u8>)> = chunks
        .iter()
        .map(|body| (body.to_string(), chunked(body)))
        .collect();
    for line in [
        "X:",
        "X:y",
        "X: \t y \t ",
        "X: caf\u{e9}",
        "!#$%&'*+-.^_`|~: y",
        "Connection: keep-alive, x",
        "Connection: ,",
        "Expect: 100-Continue",
        "X-Content-Length: 5",
        "Via: 1.1 another",
    ] {
        cases.push((line.to_owned(), with_field(line)));
    }
    for line in [
        "POST http://a/v1/completions HTTP/1.1",
        "POST HTTP://A:80/v1/completions HTTP/1.1",
        "POST https://a:443/v1/completions?x=%20y HTTP/1.1",
        "POST /v1/completions?a=/b?c HTTP/1.1",
        "\r\nPOST /v1/completions HTTP/1.1",
    ] {
        let bytes = request_line(line);
        let host: &[u8] = if line.contains("443") {
            b"Host: a:443"
        } else {
            b"Host: a"
        };
        let bytes = String::from_utf8(bytes).unwrap();
        let bytes = bytes.replace("Host: a", std::str::from_utf8(host).unwrap());
        cases.push((line.to_owned(), bytes.into_bytes()));
    }
    let padded = "Content-Length:    0014   \r\n";
    cases.push((padded.to_owned(), completion(padded, BODY)));
    let mut client = nodes.proxy.connect();
    for (name, bytes) in cases {
        println!("{name}");
        let response = client.send(bytes).response();
        assert_eq!(response.status, 200, "{}", response.text());
        assert_eq!(response.text(), BODY);
        let seen = nodes.decode.next();
        assert_eq!(seen.fields("content-length"), ["14"]);
        assert!(seen.fields("transfer-encoding").is_empty());
        assert!(seen.fields("expect").is_empty());
        assert_eq!(seen.body, BODY.as_bytes());
        assert_eq!(nodes.prefill.next().fields("content-length").len(), 1);
    }
}

/// As the client's library would see it: a connection reset before the answer was read would be an
/// error instead of an answer.
#[test]
fn answer_to_a_refused_request_is_seen_by_a_client_that_goes_on_sending() {
    let nodes = Scripted::echo();
    let mut client = nodes.proxy.connect();
    client.send(completion("Content-Length: +600000\r\n", ""));
    let piece = vec![b'x'; 10_000];
    for _ in 0..60 {
        client.send(&piece);
    }
    client.half_close();
    let mut all = Vec::new();
    client.stream.read_to_end(&mut all).expect("no reset");
    assert!(all.starts_with(b"HTTP/1.1 400 "));
    nodes.assert_untouched();
}

#[test]
fn client_that_never_stops_sending_after_a_refusal_is_cut_off() {
    let nodes = Scripted::echo();
    let mut client = nodes.proxy.connect();
    client.send(completion("Content-Length: x\r\n", ""));
    let piece = vec![b'x'; 64 * 1024];
    let mut sent = 0_usize;
    // What both kernels hold comes on top of what the proxy discards.
    while client.stream.write_all(&piece).is_ok() {
        sent += piece.len();
        assert!(sent < 64 << 20, "it reads without an end");
    }
}
