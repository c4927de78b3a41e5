//! One client connection: request after request, in the order they came.

use std::rc::Rc;

use crate::io::{Stream, unless_panicked};
use crate::limits;
use crate::telemetry::{Cause, Counter, Side, Stage};

use super::Context;
use super::client::Client;
use super::request::{self, Next};

/// Serves a client until its connection ends. A panic of ours ends this connection alone.
///
/// # Cancel safety
///
/// Dropping it closes the connection and those to the nodes.
pub async fn serve(context: Rc<Context>, stream: Stream) {
    let _open = context.open();
    context.counters.count(Counter::Accepted);
    if let Err(panic) = unless_panicked(requests(&context, stream)).await {
        context
            .counters
            .failed(Stage::Request, Side::Proxy, Cause::Panic);
        tracing::error!(%panic, "a client's connection was ended by a defect of the proxy");
    }
    context.counters.count(Counter::Closed);
}

async fn requests(context: &Rc<Context>, stream: Stream) {
    let mut client = Client::new(stream, &context.timers, context.settings().client_times);
    loop {
        match request::serve(&mut client, context).await {
            Next::Request => {}
            Next::Close => return,
            Next::Linger => {
                let mut buffer = vec![0; limits::READ_CHUNK_BYTES];
                return client.close(&mut buffer).await;
            }
        }
    }
}
