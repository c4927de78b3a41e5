//! Taking new connections.

use std::io;
use std::rc::Rc;

use crate::io::{Listener, Stream, sleep, spawn};
use crate::limits;
use crate::relay::{self, Context};
use crate::telemetry::Counter;

/// Takes connections until the process drains; the listener is then shut down by whoever started the
/// drain.
///
/// # Cancel safety
///
/// It may be dropped at any point; connections not yet taken stay in the queue.
pub(super) async fn accept(context: &Rc<Context>, listener: &Listener, readiness: &Stream) {
    while !context.is_draining() {
        if readiness.readable().await.is_err() {
            sleep(limits::ACCEPT_PAUSE).await;
        }
        loop {
            if context.open_count() >= limits::CONNECTIONS_PER_SHARD_MAX {
                // The rest waits in the queue, and the kernel refuses what does not fit it.
                sleep(limits::ACCEPT_PAUSE).await;
                continue;
            }
            match listener.try_accept() {
                Ok(Some(stream)) => spawn(relay::serve(Rc::clone(context), stream)),
                Ok(None) => break,
                Err(error) => {
                    if context.is_draining() {
                        return;
                    }
                    pause(context, &error).await;
                    break;
                }
            }
        }
    }
}

/// Descriptors have run out, as a rule. The connection stays in the queue and the listener stays
/// readable: without a pause this would spin. Descriptors that idle nodes' connections hold are given
/// up first.
async fn pause(context: &Context, error: &io::Error) {
    context.counters.count(Counter::AcceptPauses);
    tracing::debug!(%error, "accepting pauses");
    context.pool.clear();
    sleep(limits::ACCEPT_PAUSE).await;
}
