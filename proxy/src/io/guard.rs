//! A panic ends the connection it happened in, not the shard.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Poll;

/// What a panicking future left behind.
#[derive(Debug, thiserror::Error)]
#[error("panicked: {0}")]
pub struct Panicked(String);

/// Starts a task on this shard's thread. monoio lets a panic of any task end the whole runtime, so a
/// task that meets bytes from outside is wrapped in [`unless_panicked`] first.
pub fn spawn(future: impl Future<Output = ()> + 'static) {
    drop(monoio::spawn(future));
}

/// Runs `future` and turns its panic into a value. The future is dropped where it panicked, so that its
/// guards give back what they hold.
///
/// # Errors
///
/// The panic's message.
///
/// # Cancel safety
///
/// As `future`.
pub fn unless_panicked<F: Future>(future: F) -> impl Future<Output = Result<F::Output, Panicked>> {
    // Boxed, and no async function: one that pins its argument has room for it twice.
    let mut future = Box::pin(future);
    // A future that panicked is never polled again, so no broken state of it can be seen.
    poll_fn(
        move |cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Err(panic) => Poll::Ready(Err(Panicked(message(panic.as_ref())))),
        },
    )
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
        .to_owned()
}
