//! Accepts connections and serves HTTP/1.1 on them with hyper, under uvicorn's rules for idle ones.

use super::node::Node;
use super::routes;
use super::socket::{ACCEPT_PAUSE, Control, Due, Socket};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::pin::pin;
use std::rc::Rc;
use tokio::net::{TcpListener, TcpStream};

/// Most header fields of a request, as vLLM allows.
const MAX_HEADERS: usize = 256;

/// Accepts until dropped.
pub(crate) async fn listen(listener: TcpListener, node: Rc<Node>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                node.shared.record(|ledger| ledger.connections += 1);
                tokio::task::spawn_local(serve(stream, Rc::clone(&node)));
            }
            // Out of descriptors, most likely; they come back.
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn serve(stream: TcpStream, node: Rc<Node>) {
    // asyncio sets it on every socket; without it small events would wait for acknowledgements.
    stream.set_nodelay(true).ok();
    let control = Control::new(node.shared.options.keep_alive);
    let socket = TokioIo::new(Socket::new(stream, Rc::clone(&control)));
    let service = service_fn(|request| {
        let (node, control) = (Rc::clone(&node), Rc::clone(&control));
        async move { Ok::<_, Infallible>(routes::answer(node, control, request).await) }
    });
    let mut connection = pin!(
        http1::Builder::new()
            .max_headers(MAX_HEADERS)
            .serve_connection(socket, service)
    );
    let mut closing = false;
    loop {
        tokio::select! {
            biased;
            due = control.due(), if !closing => match due {
                Due::Drop => return,
                Due::Idle => {
                    closing = true;
                    connection.as_mut().graceful_shutdown();
                }
            },
            // Errors are the client's doing: it left, or sent no HTTP.
            _ = connection.as_mut() => return,
        }
    }
}
