//! The HTTP client on its own.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use pd_bench::load::client::{Client, Endpoint, Error, Request, Settings};

use crate::scripted::{Answer, Seen, Server, event_stream, json};

const POST: Request<'_> = Request::PostJson { body: b"{}" };

fn client(server: &Server) -> Client {
    let settings = Settings {
        bearer: None,
        timeout: Duration::from_secs(30),
        keep_alive: true,
    };
    Client::new(Endpoint::from_url(&server.url()).unwrap(), settings)
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

/// The body of one answer, and how its reading ended.
fn body_of(answer: &'static [u8]) -> Result<Vec<u8>, Error> {
    let server = Server::start(move |_| Answer::Close(answer.to_vec()));
    block_on(async { client(&server).send(POST).await?.body(1024).await })
}

#[test]
fn events_come_one_by_one_with_their_time() {
    let server = Server::start(|_| {
        let mut answer = event_stream(&["data: a\n\nda", "ta: b\n\n", "data: [DONE]\n\n"]);
        answer.extend_from_slice(b"0\r\n\r\n");
        Answer::Keep(answer)
    });

    block_on(async {
        let before = Instant::now();
        let client = client(&server);
        let mut response = client.send(POST).await.unwrap();
        let mut events = Vec::new();
        while let Some(event) = response.event().await.unwrap() {
            assert!(before < event.at && event.at <= Instant::now());
            events.push(event.data);
        }
        assert_eq!(events, [&b"a"[..], b"b", b"[DONE]"]);
    });
}

#[test]
fn first_byte_has_a_time_of_its_own() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (go_on, may_go_on) = channel();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(&event_stream(&["da"])).unwrap();
        // The rest of the event comes only when the client has seen its beginning.
        may_go_on.recv().unwrap();
        stream.write_all(b"5\r\nta\n\n\n\r\n0\r\n\r\n").unwrap();
        stream.read_to_end(&mut Vec::new()).unwrap();
    });

    block_on(async {
        let settings = Settings {
            bearer: None,
            timeout: Duration::from_secs(30),
            keep_alive: false,
        };
        let endpoint = Endpoint::from_url(&format!("http://{address}/x")).unwrap();
        let client = Client::new(endpoint, settings);
        let mut response = client.send(POST).await.unwrap();
        while response.first_byte_at().is_none() {
            let early = tokio::time::timeout(Duration::from_millis(5), response.event()).await;
            assert!(early.is_err());
        }
        let seen = Instant::now();
        go_on.send(()).unwrap();
        let event = response.event().await.unwrap().unwrap();
        assert!(response.first_byte_at().unwrap() <= seen && seen <= event.at);
    });
    server.join().unwrap();
}

#[test]
fn lines_come_one_by_one() {
    let server = Server::start(|_| Answer::Keep(json("200 OK", "a\r\n\nlast")));

    block_on(async {
        let client = client(&server);
        let mut response = client.send(POST).await.unwrap();
        for line in [&b"a"[..], b"", b"last"] {
            assert_eq!(response.line().await.unwrap().unwrap(), line);
        }
        assert_eq!(response.line().await.unwrap(), None);
    });
}

#[test]
fn interim_heads_are_skipped() {
    let body = body_of(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n\
        HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
    );

    assert_eq!(body.unwrap(), b"ok");
}

#[test]
fn body_without_length_ends_with_the_connection() {
    assert_eq!(
        body_of(b"HTTP/1.0 200 OK\r\n\r\nall of it").unwrap(),
        b"all of it"
    );
}

#[test]
fn answer_cut_at_any_byte_is_never_a_success() {
    const WHOLE: &[u8] =
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    for end in 0..WHOLE.len() {
        let cut = body_of(&WHOLE[..end]);
        assert!(
            matches!(cut, Err(Error::Truncated | Error::NoAnswer(_))),
            "cut at {end}"
        );
    }
    assert_eq!(body_of(WHOLE).unwrap(), b"ok");
}

#[test]
fn what_is_no_http_is_refused() {
    assert!(matches!(body_of(b"SSH-2.0-x\r\n\r\n"), Err(Error::Head(_))));
}

#[test]
fn endless_head_is_refused() {
    let server = Server::start(|_| {
        let mut answer = b"HTTP/1.1 200 OK\r\nx: ".to_vec();
        answer.resize(128 * 1024, b'x');
        Answer::Hang(answer)
    });

    let refused = block_on(async { client(&server).send(POST).await.map(drop) });

    assert!(matches!(
        refused,
        Err(Error::TooLong {
            part: "response head",
            ..
        })
    ));
}

#[test]
fn body_beyond_its_limit_is_refused() {
    let refused = body_of(
        &const {
            let head = *b"HTTP/1.1 200 OK\r\n\r\n";
            let mut answer = [b'x'; 2048];
            let mut at = 0;
            while at < head.len() {
                answer[at] = head[at];
                at += 1;
            }
            answer
        },
    );

    assert!(matches!(
        refused,
        Err(Error::TooLong {
            part: "response body",
            limit: 1024
        })
    ));
}

#[test]
fn connection_is_used_again_after_a_whole_answer() {
    let server = Server::start(|_| Answer::Keep(json("200 OK", "{}")));

    block_on(async {
        let client = client(&server);
        for _ in 0..3 {
            client.send(POST).await.unwrap().body(1024).await.unwrap();
        }
    });

    assert!(server.seen().iter().all(|request| request.connection == 0));
}

#[test]
fn connection_is_not_used_again_after_a_part_of_an_answer() {
    let server = Server::start(|_| Answer::Keep(event_stream(&["a\n"])));

    block_on(async {
        let client = client(&server);
        for _ in 0..2 {
            client.send(POST).await.unwrap().line().await.unwrap();
        }
    });

    let connections: Vec<usize> = server.seen().iter().map(|seen| seen.connection).collect();
    assert_eq!(connections, [0, 1]);
}

#[test]
fn connection_is_not_used_again_when_the_server_says_close() {
    let server = Server::start(|_| {
        let head = "HTTP/1.1 200 OK\r\nConnection: x, Close\r\ncontent-length: 0\r\n\r\n";
        Answer::Keep(head.into())
    });

    block_on(async {
        let client = client(&server);
        for _ in 0..2 {
            client.send(POST).await.unwrap().body(1024).await.unwrap();
        }
    });

    let connections: Vec<usize> = server.seen().iter().map(|seen| seen.connection).collect();
    assert_eq!(connections, [0, 1]);
}

#[test]
fn connection_that_died_while_idle_is_replaced() {
    // Says it keeps the connection, and closes it.
    let server = Server::start(|_| Answer::Close(json("200 OK", "{}")));

    block_on(async {
        let client = client(&server);
        for _ in 0..3 {
            assert_eq!(
                client.send(POST).await.unwrap().body(1024).await.unwrap(),
                b"{}"
            );
        }
    });

    let connections: Vec<usize> = server.seen().iter().map(|seen| seen.connection).collect();
    assert_eq!(connections, [0, 1, 2]);
}

#[test]
fn fresh_connection_closed_without_an_answer_is_an_error() {
    assert!(matches!(body_of(b""), Err(Error::NoAnswer(_))));
}

#[test]
fn get_asks_for_its_own_path() {
    let server = Server::start(|seen: &Seen| {
        assert!(seen.head.starts_with("get /health http/1.1\r\n"));
        Answer::Keep(json("503 Service Unavailable", "{}"))
    });

    let status = block_on(async {
        client(&server)
            .send(Request::Get { path: "/health" })
            .await
            .unwrap()
            .status()
    });

    assert_eq!(status, 503);
}
