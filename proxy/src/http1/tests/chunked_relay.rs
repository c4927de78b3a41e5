use std::slice::from_ref;

use proptest::prelude::*;

use super::chunked::encoded;
use crate::http1::{ChunkedError, ChunkedRelay, LAST_CHUNK, Pieces, RelayProgress};

/// What goes on of `reads`, and whether the body was whole.
fn relay(mut relay: ChunkedRelay, reads: &[&[u8]]) -> (Vec<u8>, bool) {
    let (mut pieces, mut out, mut done) = (Pieces::new(), Vec::new(), false);
    for read in reads {
        let mut rest = *read;
        while !rest.is_empty() && !done {
            let progress = relay.forward(rest, &mut pieces).unwrap();
            pieces
                .iter(rest)
                .for_each(|piece| out.extend_from_slice(piece));
            rest = &rest[progress.consumed..];
            done = progress.done;
        }
    }
    (out, done)
}

#[test]
fn chunks_in_one_read_go_on_as_one_range() {
    let body = b"5\r\nhello\r\n6\r\n world\r\n";
    let mut pieces = Pieces::new();

    let progress = ChunkedRelay::verbatim().forward(body, &mut pieces);

    assert_eq!(
        progress,
        Ok(RelayProgress {
            consumed: body.len(),
            done: false
        })
    );
    assert_eq!(pieces.size_line(), b"");
    assert_eq!(pieces.ranges(), from_ref(&(0..body.len())));
    assert_eq!(pieces.byte_count(), body.len());
}

#[test]
fn the_last_chunk_and_trailers_stay_behind() {
    let body = b"1\r\nx\r\n00;e=f\r\nA: b\r\n\r\nHTTP/1.1";
    let mut pieces = Pieces::new();

    let progress = ChunkedRelay::verbatim().forward(body, &mut pieces).unwrap();

    assert!(progress.done);
    assert_eq!(&body[progress.consumed..], b"HTTP/1.1");
    assert_eq!(pieces.iter(body).collect::<Vec<_>>(), [b"1\r\nx\r\n"]);
}

#[test]
fn an_empty_body_passes_nothing_on() {
    let mut pieces = Pieces::new();

    let progress = ChunkedRelay::verbatim()
        .forward(LAST_CHUNK, &mut pieces)
        .unwrap();

    assert!(progress.done && pieces.is_empty());
}

#[test]
fn extensions_stay_behind() {
    let body = b"1;a=b\r\nx\r\n2 ;c=\"d\"\r\nyz\r\n0\r\n\r\n";

    let (out, done) = relay(ChunkedRelay::verbatim(), &[body]);

    assert!(done);
    assert_eq!(out, b"1\r\nx\r\n2\r\nyz\r\n");
}

#[test]
fn a_cut_size_line_goes_on_when_it_is_complete() {
    let mut chunked = ChunkedRelay::verbatim();
    let mut pieces = Pieces::new();

    chunked.forward(b"000", &mut pieces).unwrap();
    assert!(pieces.is_empty());
    chunked.forward(b"A;e\r", &mut pieces).unwrap();
    assert!(pieces.is_empty());
    chunked.forward(b"\n0123", &mut pieces).unwrap();

    assert_eq!(pieces.size_line(), b"a\r\n");
    assert_eq!(pieces.ranges(), from_ref(&(1..5)));
}

#[test]
fn zeros_cut_before_the_line_end_never_go_on() {
    let mut chunked = ChunkedRelay::verbatim();
    let mut pieces = Pieces::new();
    for read in [&b"0"[..], b"00", b"\r", b"\n", b"\r"] {
        let progress = chunked.forward(read, &mut pieces).unwrap();
        assert!(!progress.done && pieces.is_empty(), "{read:?}");
    }

    let progress = chunked.forward(b"\n", &mut pieces).unwrap();

    assert!(progress.done && pieces.is_empty());
}

#[test]
fn every_cut_passes_the_same_data_on() {
    let body = b"5\r\nhello\r\n01;a\r\n,\r\n6\r\n world\r\n0\r\nA: b\r\n\r\n";
    for first in 0..=body.len() {
        for second in first..=body.len() {
            let reads = [&body[..first], &body[first..second], &body[second..]];

            let (data, done) = relay(ChunkedRelay::data_only(), &reads);
            assert!(done);
            assert_eq!(data, b"hello, world", "{first} {second}");

            let (chunks, done) = relay(ChunkedRelay::verbatim(), &reads);
            assert!(done);
            let again = relay(ChunkedRelay::data_only(), &[&chunks, LAST_CHUNK]);
            assert_eq!(again, (b"hello, world".to_vec(), true), "{first} {second}");
        }
    }
}

#[test]
fn full_pieces_stop_the_relay_early_and_lose_nothing() {
    let body = b"1;a\r\nx\r\n".repeat(100);
    let mut pieces = Pieces::new();

    let progress = ChunkedRelay::verbatim()
        .forward(&body, &mut pieces)
        .unwrap();

    assert!(progress.consumed < body.len() && !progress.done);
    let (out, _) = relay(ChunkedRelay::verbatim(), &[&body]);
    assert_eq!(out, b"1\r\nx\r\n".repeat(100));
}

#[test]
fn what_was_right_before_a_fault_goes_on() {
    let body = b"2\r\nab\r\n2\r\nabX";
    let mut pieces = Pieces::new();

    let answer = ChunkedRelay::verbatim().forward(body, &mut pieces);

    assert_eq!(answer, Err(ChunkedError::DataEnd));
    assert_eq!(pieces.ranges(), from_ref(&(0..12)));
}

proptest! {
    #[test]
    fn data_survives_any_cuts((body, data) in encoded(), read in 1_usize..50) {
        let reads: Vec<&[u8]> = body.chunks(read).collect();

        let (chunks, done) = relay(ChunkedRelay::verbatim(), &reads);
        prop_assert!(done);
        let (again, whole) = relay(ChunkedRelay::data_only(), &[&chunks]);
        prop_assert_eq!(&again, &data);
        prop_assert!(!whole);
        prop_assert_eq!(relay(ChunkedRelay::data_only(), &reads), (data, true));
    }
}
