//! Properties that hold for any bytes, shared by unit tests, property tests and fuzz targets.

use super::bytes::{is_all_token, is_value, trim_ows};
use super::{
    Chunked, ChunkedError, ChunkedEvent, ChunkedRelay, Fields, HeadError, HeadScan, HeadWriter,
    LAST_CHUNK, Pieces, RequestBody, RequestHead, ResponseBody, ResponseHead, end_to_end,
};
use crate::limits::{HEAD_BYTES_MAX, HEAD_FIELDS_MAX};

/// The shared property of request heads, for any bytes.
///
/// The scan's answer does not depend on reads; what the parser takes is exactly what the scan
/// found; what is passed on of it is read the same by the next reader, and has no body unless one
/// is written.
///
/// # Panics
///
/// If the property does not hold.
pub fn check_request_head(data: &[u8]) {
    let found = check_scan(&HeadScan::request(), data);
    if RequestHead::parse(data).is_ok() {
        assert_eq!(found, Ok(Some(data.len())));
    }
    let Ok(Some(bytes)) = found else { return };
    let head = data.get(..bytes).unwrap_or_default();
    let Ok(request) = RequestHead::parse(head) else {
        return;
    };

    check_fields(&request.fields, head);
    let target = request.target.get(head);
    assert!(!target.is_empty() && target.iter().all(u8::is_ascii_graphic));
    assert!(target.starts_with(request.path.get(head)) && !request.path.is_empty());
    assert!(!(request.expects_continue && request.body == RequestBody::None));

    let mut method = head
        .strip_prefix(b"\r\n")
        .unwrap_or(head)
        .split(|byte| *byte == b' ');
    let method = method
        .next()
        .and_then(|method| std::str::from_utf8(method).ok());
    let mut out = Vec::new();
    let is_ours =
        |name: &[u8]| name.eq_ignore_ascii_case(b"host") || name.eq_ignore_ascii_case(b"expect");
    let sent = || end_to_end(&request.fields, head).filter(|(name, _)| !is_ours(name));
    HeadWriter::request(&mut out, method.unwrap_or_default(), target)
        .fields(sent())
        .field("Host", "node:8000")
        .finish();
    if out.len() > HEAD_BYTES_MAX || sent().count() >= HEAD_FIELDS_MAX {
        return;
    }
    let next = RequestHead::parse(&out);
    assert!(next.is_ok(), "{next:?}");
    let Ok(next) = next else { return };
    assert_eq!(next.method, request.method);
    assert_eq!(next.target.get(&out), target);
    assert_eq!(next.path.get(&out), request.path.get(head));
    assert_eq!(next.body, RequestBody::None);
    assert_eq!(next.fields.count(), sent().count() + 1);
}

/// The shared property of response heads, for any bytes: as [`check_request_head`].
///
/// # Panics
///
/// If the property does not hold.
pub fn check_response_head(data: &[u8]) {
    let found = check_scan(&HeadScan::response(), data);
    if ResponseHead::parse(data).is_ok() {
        assert_eq!(found, Ok(Some(data.len())));
    }
    let Ok(Some(bytes)) = found else { return };
    let head = data.get(..bytes).unwrap_or_default();
    let Ok(response) = ResponseHead::parse(head) else {
        return;
    };

    check_fields(&response.fields, head);
    assert!((100..600).contains(&response.status));
    assert!(response.reason.get(head).iter().copied().all(is_value));
    assert_eq!(response.body(true), ResponseBody::None);
    assert!(!(response.keep_alive && response.body(false) == ResponseBody::UntilClose));

    let mut out = Vec::new();
    let sent = || end_to_end(&response.fields, head);
    HeadWriter::status(&mut out, response.status, response.reason.get(head))
        .fields(sent())
        .finish();
    if out.len() > HEAD_BYTES_MAX {
        return;
    }
    let next = ResponseHead::parse(&out);
    assert!(next.is_ok(), "{next:?}");
    let Ok(next) = next else { return };
    assert_eq!(next.status, response.status);
    assert_eq!(next.reason.get(&out), response.reason.get(head));
    assert_eq!(next.fields.count(), sent().count());
    assert!(matches!(
        next.body(false),
        ResponseBody::None | ResponseBody::UntilClose
    ));
}

/// The scan's answer for `data` as a whole, which must be the one for `data` byte by byte and in
/// two reads.
fn check_scan(scan: &HeadScan, data: &[u8]) -> Result<Option<usize>, HeadError> {
    let whole = scan.clone().find(data);
    let mut bytewise = scan.clone();
    let mut steps =
        (0..=data.len()).map(|seen| bytewise.find(data.get(..seen).unwrap_or_default()));
    let answer = steps.find(|answer| *answer != Ok(None)).unwrap_or(Ok(None));
    assert_eq!(answer, whole, "byte by byte");

    let cut = data
        .first()
        .map_or(0, |byte| usize::from(*byte) % data.len());
    let mut twice = scan.clone();
    let first = twice.find(data.get(..cut).unwrap_or_default());
    assert!(
        first == Ok(None) || first == whole,
        "cut at {cut}: {first:?}, not {whole:?}"
    );
    assert_eq!(twice.find(data), whole, "cut at {cut}");
    whole
}

/// What every accepted list of fields is.
fn check_fields(fields: &Fields, head: &[u8]) {
    for (name, value) in fields.iter(head) {
        assert!(is_all_token(name));
        assert!(value.iter().copied().all(is_value));
        assert_eq!(value, trim_ows(value));
    }
    let count = |name| fields.get_all(head, name).count();
    assert!(count("content-length") + count("transfer-encoding") <= 1);
    assert!(count("host") <= 1 || head.starts_with(b"HTTP/"));
}

/// How reading a chunked body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Behind this many bytes.
    Done(usize),
    NeedMore,
    Refused(ChunkedError),
}

/// The shared property of chunked bodies, for any bytes.
///
/// Data and end do not depend on reads. What a relay passes on is, up to any moment, a valid
/// chunked body that has not ended and has the same data; with the last chunk behind it, it has
/// ended.
///
/// # Panics
///
/// If the property does not hold.
pub fn check_chunked(data: &[u8]) {
    let (body, end) = decode(data, data.len());
    let odd = data.first().map_or(1, |byte| usize::from(*byte) % 19 + 1);
    for read in [1, 2, 3, odd, data.len()] {
        assert_eq!(
            decode(data, read),
            (body.clone(), end),
            "in reads of {read}"
        );
        check_relay(data, read, &body, end);
    }
}

/// Reads `data` in pieces of `read` bytes.
fn decode(data: &[u8], read: usize) -> (Vec<u8>, End) {
    let mut chunked = Chunked::new();
    let mut body = Vec::new();
    let mut before = 0;
    for piece in data.chunks(read.max(1)) {
        let mut at = 0;
        match decode_piece(&mut chunked, piece, &mut at, &mut body) {
            End::NeedMore => before += piece.len(),
            End::Done(at) => return (body, End::Done(before + at)),
            end @ End::Refused(_) => return (body, end),
        }
    }
    (body, End::NeedMore)
}

fn decode_piece(chunked: &mut Chunked, piece: &[u8], at: &mut usize, body: &mut Vec<u8>) -> End {
    loop {
        match chunked.next(piece, at) {
            Ok(ChunkedEvent::Data(range)) => {
                assert!(!range.is_empty() && range.end == *at);
                body.extend_from_slice(piece.get(range).unwrap_or_default());
            }
            Ok(ChunkedEvent::Done) => return End::Done(*at),
            Ok(ChunkedEvent::NeedMore) => {
                assert_eq!(*at, piece.len());
                return End::NeedMore;
            }
            Err(error) => {
                assert_eq!(chunked.next(piece, at), Err(error));
                return End::Refused(error);
            }
        }
    }
}

/// Relays `data`, read in pieces of `read` bytes, both ways.
fn check_relay(data: &[u8], read: usize, body: &[u8], end: End) {
    let (mut verbatim, mut data_only) = (ChunkedRelay::verbatim(), ChunkedRelay::data_only());
    let (mut client, mut received, mut plain) = (Chunked::new(), Vec::new(), Vec::new());
    let (mut relayed, mut plain_end) = (End::NeedMore, End::NeedMore);
    let mut before = 0;
    for piece in data.chunks(read.max(1)) {
        relayed = relay_piece(&mut verbatim, piece, before, |sent| {
            let end = decode_piece(&mut client, sent, &mut 0, &mut received);
            assert_eq!(
                end,
                End::NeedMore,
                "what is passed on neither ends nor is it refused"
            );
        });
        plain_end = relay_piece(&mut data_only, piece, before, |sent| {
            plain.extend_from_slice(sent);
        });
        if relayed != End::NeedMore {
            break;
        }
        before += piece.len();
    }
    assert_eq!((relayed, plain_end), (end, end), "in reads of {read}");
    assert_eq!(
        (received.as_slice(), plain.as_slice()),
        (body, body),
        "in reads of {read}"
    );
    if matches!(end, End::Done(_)) {
        let last = decode_piece(&mut client, LAST_CHUNK, &mut 0, &mut received);
        assert_eq!(last, End::Done(LAST_CHUNK.len()));
    }
}

/// Relays one read, which begins `before` bytes behind the first.
fn relay_piece(
    relay: &mut ChunkedRelay,
    piece: &[u8],
    before: usize,
    mut send: impl FnMut(&[u8]),
) -> End {
    let mut pieces = Pieces::new();
    let mut at = 0;
    loop {
        let rest = piece.get(at..).unwrap_or_default();
        let progress = relay.forward(rest, &mut pieces);
        assert_eq!(
            pieces.byte_count(),
            pieces.iter(rest).map(<[u8]>::len).sum::<usize>()
        );
        pieces.iter(rest).for_each(&mut send);
        match progress {
            Err(error) => return End::Refused(error),
            Ok(progress) if progress.done => return End::Done(before + at + progress.consumed),
            Ok(progress) if progress.consumed == rest.len() => return End::NeedMore,
            Ok(progress) => {
                assert!(progress.consumed > 0);
                at += progress.consumed;
            }
        }
    }
}
