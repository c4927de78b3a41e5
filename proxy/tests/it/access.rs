//! Who may ask, and what is told to nobody.

use std::io::Write as _;
use std::net::Ipv4Addr;

use crate::support::client::{get, post, post_with};
use crate::support::node::{events, json, register};
use crate::support::proxy::{Proxy, command};
use crate::support::script::{STREAM, Scripted, prefills, says, says_and_closes};

const COMPLETIONS: &str = "/v1/completions";
const KEY: &str = "sk-the-first-key";

/// A proxy that asks for [`KEY`], in front of nodes that succeed.
fn guarded(more: &[&str]) -> Scripted {
    let proxy = Proxy::start_command(command().args(["--api-key", KEY]).args(more));
    Scripted::behind(proxy, [prefills()], [says(json(200, "{}"))])
}

fn bearer(key: &str) -> String {
    format!("Authorization: Bearer {key}\r\n")
}

#[test]
fn request_without_a_valid_key_is_401_and_reaches_no_node() {
    let nodes = guarded(&[]);
    for fields in [
        String::new(),
        bearer("sk-the-first-kex"),
        bearer(""),
        "Authorization: Basic c2s6eA==\r\n".to_owned(),
        [bearer(KEY), bearer(KEY)].concat(),
    ] {
        let request = post_with(COMPLETIONS, &fields, STREAM);
        let response = nodes.proxy.connect().send(request).response();
        let message = response.openai_error(401);
        assert!(!message.contains("sk-"), "{message}");
        assert_eq!(response.field("www-authenticate"), Some("Bearer"));
        assert_eq!(response.field("connection"), Some("close"));
    }
    let unauthorized =
        "request_errors_total{stage=\"request\",side=\"client\",cause=\"unauthorized\"}";
    assert_eq!(nodes.proxy.metric(unauthorized), 5);
    nodes.assert_idle();
}

#[test]
fn all_below_v1_is_guarded_and_what_watches_the_proxy_is_not() {
    let nodes = guarded(&[]);
    for path in ["/v1", "/v1/models", "/v1/nothing", "/v1/completions?a=b"] {
        nodes.proxy.get(path).openai_error(401);
    }
    nodes.assert_idle();
    assert_eq!(nodes.proxy.get("/health").status, 200);
    assert_eq!(nodes.proxy.get("/metrics").status, 200);
    nodes.proxy.get("/nothing").openai_error(404);
    assert_eq!(nodes.proxy.get("/version").status, 200);
    nodes.decode[0].next();
    nodes.assert_idle();
}

#[test]
fn body_of_a_request_without_a_key_is_not_asked_for() {
    let nodes = guarded(&[]);
    let head = "POST /v1/completions HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\
                Content-Type: application/json\r\nContent-Length: 60000000\r\n\r\n";
    nodes
        .proxy
        .connect()
        .send(head)
        .response()
        .openai_error(401);
    nodes.assert_idle();
}

#[test]
fn head_request_without_a_key_gets_no_body() {
    let nodes = guarded(&[]);
    let mut client = nodes.proxy.connect();
    client.send("HEAD /v1/models HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.head_response().status, 401);
    client.assert_closed();
}

#[test]
fn clients_key_opens_the_proxy_and_goes_to_no_node() {
    let nodes = guarded(&[]);
    let request = post_with(COMPLETIONS, &bearer(KEY), STREAM);
    assert_eq!(nodes.proxy.connect().send(request).response().status, 200);
    for seen in [nodes.prefill[0].next(), nodes.decode[0].next()] {
        assert!(seen.fields("authorization").is_empty(), "{}", seen.head);
        assert!(!seen.head.contains(KEY), "{}", seen.head);
    }
    // What is not guarded does not carry it on either.
    let request = format!("GET /version HTTP/1.1\r\nHost: a\r\n{}\r\n", bearer(KEY));
    assert_eq!(nodes.proxy.connect().send(request).response().status, 200);
    assert!(!nodes.decode[0].next().head.contains(KEY));
    nodes.assert_idle();
}

#[test]
fn nodes_get_their_own_key_in_the_place_of_the_clients() {
    let nodes = guarded(&["--node-api-key", "of-the-nodes"]);
    let request = post_with(COMPLETIONS, &bearer(KEY), STREAM);
    assert_eq!(nodes.proxy.connect().send(request).response().status, 200);
    for seen in [nodes.prefill[0].next(), nodes.decode[0].next()] {
        assert_eq!(seen.field("authorization"), "Bearer of-the-nodes");
    }
    nodes.assert_idle();
}

#[test]
fn keys_of_flags_variable_and_file_all_open_the_proxy() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"in-the-file\n\nlast-in-the-file\n")
        .unwrap();
    let path = file.path().to_str().unwrap();
    let status = |proxy: &Proxy, key: &str| {
        let request = format!("GET /v1/nothing HTTP/1.1\r\nHost: a\r\n{}\r\n", bearer(key));
        proxy.connect().send(request).response().status
    };

    let by_flags = [
        "--api-key",
        "one",
        "--api-key",
        "two",
        "--api-key-file",
        path,
    ];
    let proxy = Proxy::start_with(&by_flags);
    for key in ["one", "two", "in-the-file", "last-in-the-file"] {
        assert_eq!(status(&proxy, key), 404, "{key}");
    }
    assert_eq!(status(&proxy, "three"), 401);

    let variables = [("PROXY_API_KEY", "one"), ("PROXY_API_KEY_FILE", path)];
    let proxy = Proxy::start_command(command().envs(variables));
    assert_eq!(status(&proxy, "one"), 404);
    assert_eq!(status(&proxy, "in-the-file"), 404);
    assert_eq!(status(&proxy, "two"), 401);
}

#[test]
fn key_that_was_meant_and_is_empty_does_not_open_the_proxy() {
    for (name, value) in [("PROXY_API_KEY", ""), ("PROXY_API_KEY_FILE", "/dev/null")] {
        let output = command().env(name, value).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{name}");
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(told.contains("--api-key-file"), "{told}");
    }
}

#[test]
fn no_body_prompt_or_key_is_logged_at_any_level() {
    const SECRET: &str = "hush";
    let key = format!("{SECRET}-key");
    let mut command = command();
    command.args(["--log-level", "trace", "--api-key", &key, "--api-key"]);
    command.arg(format!("{SECRET}-other"));
    command.env("OPENAI_API_KEY", format!("{SECRET}-of-nodes"));
    let answer = events(&[&format!(
        "{{\"choices\":[{{\"index\":0,\"text\":\"{SECRET}\"}}]}}"
    )]);
    let refusal = json(500, &format!("{{\"message\":\"{SECRET}\"}}"));
    let cut = format!("HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{SECRET}");
    let scripts = [answer, refusal, cut.into(), SECRET.into()];
    let decodes = scripts.map(says_and_closes);
    let nodes = Scripted::behind(Proxy::start_command(&mut command), [prefills()], decodes);

    let prompt = format!(r#"{{"prompt":"{SECRET}","max_tokens":5,"stream":true}}"#);
    let bodies = [
        prompt.clone(),
        format!(r#"{{"{SECRET}":"{SECRET}"#),
        format!(r#"{{"prompt":"{SECRET}","max_tokens":1,"max_tokens":2}}"#),
        format!(r#"{{"prompt":"{SECRET}","max_tokens":"{SECRET}"}}"#),
        format!(r#"{{"prompt":"{SECRET}","n":"{SECRET}","best_of":"{SECRET}"}}"#),
        format!(r#"["{SECRET}"]"#),
        SECRET.to_owned(),
    ];
    for body in &bodies {
        let request = post_with(COMPLETIONS, &bearer(&key), body);
        nodes.proxy.connect().send(request).response();
        // Without a key, with a wrong one, and in the target.
        nodes
            .proxy
            .connect()
            .send(post(COMPLETIONS, body))
            .response();
        let request = post_with(COMPLETIONS, &bearer(&format!("{SECRET}-not")), body);
        nodes.proxy.connect().send(request).response();
    }
    for _ in 0..6 {
        let request = post_with(COMPLETIONS, &bearer(&key), &prompt);
        nodes.proxy.connect().send(request).response();
    }
    let broken = format!("POST {COMPLETIONS} HTTP/1.1\r\nHost: a\r\n{SECRET} : {SECRET}\r\n\r\n");
    nodes.proxy.connect().send(broken).response();
    nodes
        .proxy
        .connect()
        .send(get(&format!("/{SECRET}")))
        .response();
    nodes.proxy.wait_for_log("status=404");

    let log = nodes.proxy.log();
    assert!(!log.contains(SECRET), "{log}");
}

#[test]
fn node_outside_of_the_allowed_networks_is_refused() {
    let allowed = ["--registration-allow", "10.0.0.0/8,192.168.0.0/16"];
    let more = ["--registration-allow", "127.0.0.0/31"];
    let proxy = Proxy::start_command(command().args(allowed).args(more));
    let server = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = server.local_addr().unwrap().port();

    let refused = [format!("127.0.0.2:{port}"), format!("[::1]:{port}")];
    let _refused = refused.map(|http| register(&proxy, "P", &http, "127.0.0.1:9"));
    proxy.wait_for_log("it is outside of the allowed networks");
    crate::support::eventually("both are refused", || {
        proxy.metric("registry_messages_total{outcome=\"not_allowed\"}") >= 2
    });
    assert_eq!(proxy.metric("registry_nodes_added_total"), 0);

    let _admitted = register(&proxy, "P", &format!("127.0.0.1:{port}"), "127.0.0.1:9");
    proxy.wait_for_log(&format!("Add [HTTP:127.0.0.1:{port}"));
}

#[test]
fn name_that_leads_out_of_the_allowed_networks_is_never_connected_to() {
    let proxy = Proxy::start_command(command().args(["--registration-allow", "10.0.0.0/8"]));
    let server = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    server.set_nonblocking(true).unwrap();
    let http = format!("localhost:{}", server.local_addr().unwrap().port());
    let _node = register(&proxy, "P", &http, "127.0.0.1:9");
    crate::support::eventually("the name is refused twice", || {
        proxy.metric("registry_resolves_total{outcome=\"refused\"}") >= 2
    });
    let connected = server.accept().map(|_| ()).map_err(|error| error.kind());
    assert_eq!(connected, Err(std::io::ErrorKind::WouldBlock));
}

#[test]
fn network_that_is_none_ends_the_start() {
    for network in ["10.0.0.0/33", "everywhere", ""] {
        let output = command()
            .args(["--registration-allow", network])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(64), "{network}");
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(told.contains("--registration-allow"), "{told}");
    }
}
