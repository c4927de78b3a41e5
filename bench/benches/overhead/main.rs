//! What the proxy adds to a request, piece by piece.
#![expect(
    clippy::unwrap_used,
    reason = "a benchmark whose input is wrong may fail loudly"
)]

mod body;
mod choice;
mod head;
mod stream;

use criterion::Criterion;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    head::bench(&mut criterion);
    body::bench(&mut criterion);
    stream::bench(&mut criterion);
    choice::bench(&mut criterion);
    criterion.final_summary();
}
