use proptest::prelude::*;

use super::*;

fn length_of(status: u16, fields: &[(&str, &str)]) -> Result<BodyLength, FramingError> {
    let fields: Vec<_> = fields
        .iter()
        .map(|(name, value)| httparse::Header {
            name,
            value: value.as_bytes(),
        })
        .collect();
    BodyLength::of_response(status, &fields)
}

fn decoded(body: &[u8]) -> Decoded {
    decode_pieces(&[body])
}

#[test]
fn length_follows_the_fields() {
    assert_eq!(
        length_of(200, &[("Content-Length", "12")]),
        Ok(BodyLength::Exactly(12))
    );
    assert_eq!(
        length_of(200, &[("Transfer-Encoding", "Chunked")]),
        Ok(BodyLength::Chunked)
    );
    assert_eq!(length_of(200, &[("x", "y")]), Ok(BodyLength::UntilClose));
}

#[test]
fn answers_without_content_have_no_body() {
    for status in [101, 204, 304] {
        assert_eq!(
            length_of(status, &[("content-length", "5")]),
            Ok(BodyLength::Exactly(0))
        );
    }
}

#[test]
fn repeated_equal_lengths_are_one_length() {
    let fields = [("content-length", "5, 5"), ("content-length", "5")];

    assert_eq!(length_of(200, &fields), Ok(BodyLength::Exactly(5)));
}

#[test]
fn ambiguous_lengths_are_refused() {
    let refused = |fields: &[(&str, &str)]| length_of(200, fields).unwrap_err();

    assert_eq!(
        refused(&[("content-length", "5, 6")]),
        FramingError::ContentLength
    );
    assert_eq!(
        refused(&[("content-length", "+5")]),
        FramingError::ContentLength
    );
    assert_eq!(
        refused(&[("content-length", "")]),
        FramingError::ContentLength
    );
    assert_eq!(
        refused(&[("content-length", "99999999999999999999")]),
        FramingError::ContentLength
    );
    assert_eq!(
        refused(&[("content-length", "5"), ("transfer-encoding", "chunked")]),
        FramingError::TwoLengths
    );
    assert_eq!(
        refused(&[("transfer-encoding", "gzip, chunked")]),
        FramingError::TransferCoding
    );
    assert_eq!(
        refused(&[("transfer-encoding", "chunked, chunked")]),
        FramingError::TransferCoding
    );
}

#[test]
fn chunks_join_and_what_follows_is_left() {
    let body = b"5\r\nhello\r\n00006;x=\"y\"\r\n world\r\n0\r\nTrailer: 1\r\n\r\nHTTP/1.1";

    let (content, end) = decoded(body);

    assert_eq!(content, b"hello world");
    assert_eq!(end, Ok((body.len() - 8, true)));
}

#[test]
fn body_cut_at_any_byte_is_not_done() {
    let body = b"5\r\nhello\r\n0\r\nTrailer: 1\r\n\r\n";

    for end in 0..body.len() {
        let (_, decoded) = decoded(&body[..end]);
        assert_eq!(decoded, Ok((end, false)), "cut at {end}");
    }
}

#[test]
fn known_length_ends_at_its_last_byte() {
    let mut decoder = BodyDecoder::new(BodyLength::Exactly(5));
    let mut content = Vec::new();

    assert_eq!(decoder.decode(b"hel", &mut content), Ok(3));
    assert!(!decoder.is_done());
    assert_eq!(decoder.decode(b"lo world", &mut content), Ok(2));
    assert!(decoder.is_done());
    assert_eq!(content, b"hello");
}

#[test]
fn only_unframed_bodies_may_end_with_the_connection() {
    assert!(BodyDecoder::new(BodyLength::UntilClose).may_end_with_connection());
    assert!(BodyDecoder::new(BodyLength::Exactly(0)).may_end_with_connection());
    assert!(!BodyDecoder::new(BodyLength::Exactly(1)).may_end_with_connection());
    assert!(!BodyDecoder::new(BodyLength::Chunked).may_end_with_connection());
}

#[test]
fn malformed_chunks_are_refused() {
    let refused = |body: &[u8]| decoded(body).1.unwrap_err();

    assert_eq!(refused(b"\r\n"), FramingError::ChunkSize);
    assert_eq!(refused(b"x\r\n"), FramingError::ChunkSize);
    assert_eq!(refused(b"-1\r\n"), FramingError::ChunkSize);
    assert_eq!(refused(b"0x5\r\n"), FramingError::ChunkSize);
    assert_eq!(refused(b"1000000000000000\r\n"), FramingError::ChunkSize);
    assert_eq!(refused(b"5\nhello"), FramingError::ChunkSize);
    assert_eq!(refused(b"5;a\nhello"), FramingError::ChunkEnd);
    assert_eq!(refused(b"5\r\nhelloX"), FramingError::ChunkEnd);
    assert_eq!(refused(b"0\r\nTrailer\n\r\n"), FramingError::ChunkEnd);
}

#[test]
fn endless_extensions_are_refused() {
    let mut body = b"5;".to_vec();
    body.resize(OVERHEAD_BYTES_MAX + 3, b'x');

    assert_eq!(decoded(&body).1, Err(FramingError::Overhead));
}

proptest! {
    #[test]
    fn any_content_in_any_chunks_survives(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..8),
    ) {
        let mut body = Vec::new();
        for chunk in &chunks {
            body.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            body.extend_from_slice(chunk);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"0\r\n\r\n");

        let (content, end) = decoded(&body);

        prop_assert_eq!(content, chunks.concat());
        prop_assert_eq!(end, Ok((body.len(), true)));
        check_chunked_decoder(&body);
    }

    #[test]
    fn cuts_change_nothing_in_noise(noise in "[0-9a-f;\r\n x]{0,60}") {
        check_chunked_decoder(noise.as_bytes());
    }
}
