use proptest::prelude::*;

use crate::http1::{Chunked, ChunkedError, ChunkedEvent, check_chunked};
use crate::limits::{
    CHUNK_EXTENSION_BYTES_MAX, CHUNK_EXTENSIONS_BYTES_MAX, CHUNK_SIZE_DIGITS_MAX, TRAILER_BYTES_MAX,
};

/// Data of a body and the bytes behind it.
type Whole<'a> = (Vec<u8>, &'a [u8]);

/// `None` if the body is not whole.
fn read(body: &[u8]) -> Result<Option<Whole<'_>>, ChunkedError> {
    check_chunked(body);
    let (mut chunked, mut at, mut data) = (Chunked::new(), 0, Vec::new());
    loop {
        match chunked.next(body, &mut at)? {
            ChunkedEvent::Data(range) => data.extend_from_slice(&body[range]),
            ChunkedEvent::Done => return Ok(Some((data, &body[at..]))),
            ChunkedEvent::NeedMore => return Ok(None),
        }
    }
}

fn refused(body: &str) -> ChunkedError {
    read(body.as_bytes()).expect_err(body)
}

#[test]
fn data_of_all_chunks_is_found_and_what_follows_is_left() {
    let answer = read(b"5\r\nhello\r\nA\r\n, wide wor\r\n2\r\nld\r\n0\r\n\r\nGET");

    assert_eq!(
        answer,
        Ok(Some((b"hello, wide world".to_vec(), &b"GET"[..])))
    );
}

#[test]
fn an_empty_body_is_whole() {
    assert_eq!(read(b"0\r\n\r\n"), Ok(Some((vec![], &b""[..]))));
    assert_eq!(read(b"000\r\n\r\n"), Ok(Some((vec![], &b""[..]))));
}

#[test]
fn a_body_is_not_whole_wherever_it_is_cut() {
    let body = b"5;a=\"b\\\"\";c\r\nhello\r\n00a\r\n0123456789\r\n0;x\r\nA: b\r\nC:\r\n\r\n";

    assert!(matches!(read(body), Ok(Some((_, b"")))));
    for seen in 0..body.len() {
        assert_eq!(read(&body[..seen]), Ok(None), "{seen}");
    }
}

#[test]
fn a_reader_that_is_done_stays_done() {
    let (mut chunked, mut at) = (Chunked::new(), 0);

    assert_eq!(chunked.next(b"0\r\n\r\n0", &mut at), Ok(ChunkedEvent::Done));
    assert_eq!(chunked.next(b"0\r\n\r\n0", &mut at), Ok(ChunkedEvent::Done));
    assert_eq!(at, 5);
}

#[test]
fn sizes_are_hexadecimal_in_either_case() {
    for size in ["1f", "1F", "01f"] {
        let body = format!("{size}\r\n{}\r\n0\r\n\r\n", "x".repeat(31));
        assert_eq!(read(body.as_bytes()), Ok(Some((vec![b'x'; 31], &b""[..]))));
    }
}

#[test]
fn a_missing_size_is_refused() {
    for body in [
        "\r\n", "\n", ";a\r\n", " 5\r\n", "+5\r\n", "-5\r\n", "x5", "\t5", "g", "\"5\"",
    ] {
        assert_eq!(refused(body), ChunkedError::MissingSize, "{body:?}");
    }
    assert_eq!(refused("1\r\na\r\n\r\n"), ChunkedError::MissingSize);
}

#[test]
fn a_size_that_is_no_number_is_refused() {
    for body in [
        "0x5\r\n",
        "5g\r\n",
        "5,5\r\n",
        "5.\r\n",
        "5\0",
        "5_0\r\n",
        "5\u{b}\r\n",
        "5:",
    ] {
        assert_eq!(refused(body), ChunkedError::Size, "{body:?}");
    }
    for body in ["5 \r\n", "5\t\r\n", "5 5\r\n"] {
        assert_eq!(refused(body), ChunkedError::Extension, "{body:?}");
    }
}

#[test]
fn a_size_of_too_many_digits_is_refused() {
    let longest = "f".repeat(CHUNK_SIZE_DIGITS_MAX);

    assert_eq!(read(format!("{longest}\r\nx").as_bytes()), Ok(None));
    assert_eq!(refused(&format!("{longest}f")), ChunkedError::SizeTooLong);
    assert_eq!(
        refused(&"0".repeat(CHUNK_SIZE_DIGITS_MAX + 1)),
        ChunkedError::SizeTooLong
    );
}

#[test]
fn a_line_that_does_not_end_with_crlf_is_refused() {
    for body in [
        "5\n",
        "5\r\r",
        "5\rh",
        "5;a\n",
        "5;a\rx",
        "0\n",
        "0\r\n\n",
        "0\r\n\rx",
        "0\r\nA: b\n",
        "0\r\nA: b\rx",
        "5;a=\"\n",
    ] {
        assert_eq!(refused(body), ChunkedError::LineEnd, "{body:?}");
    }
}

#[test]
fn data_longer_than_its_size_is_refused() {
    for body in [
        "2\r\nabc\r\n",
        "2\r\nab\n",
        "2\r\nab\rx",
        "2\r\nab0\r\n\r\n",
        "2\r\nabXX0\r\n",
    ] {
        assert_eq!(refused(body), ChunkedError::DataEnd, "{body:?}");
    }
}

#[test]
fn data_shorter_than_its_size_takes_the_next_line_for_data() {
    assert_eq!(refused("4\r\nab\r\n0\r\n\r\n"), ChunkedError::DataEnd);
}

#[test]
fn extensions_of_the_grammar_are_skipped() {
    for extension in [
        ";a",
        ";a=b",
        ";a=\"\"",
        ";a=\"b c;\td\"",
        ";a=\"\\\"\\\\\"",
        ";a;b=c;d=\"e\"",
        " ;a",
        "\t; a = b ; c",
        ";a =\t\"b\" ;c",
        ";a=\"\u{e9}\"",
    ] {
        let body = format!("2{extension}\r\nab\r\n0{extension}\r\n\r\n");
        assert_eq!(
            read(body.as_bytes()),
            Ok(Some((b"ab".to_vec(), &b""[..]))),
            "{extension:?}"
        );
    }
}

#[test]
fn extensions_outside_of_the_grammar_are_refused() {
    for extension in [
        ";\r\n",
        ";;a\r\n",
        ";=b\r\n",
        ";a=\r\n",
        ";a=;b\r\n",
        ";a=b=c\r\n",
        ";a=\"b\rc",
        ";a\0",
        ";a=\"b\"c\r\n",
        ";a b\r\n",
        ";a \r\n",
        ";a=b \r\n",
        ";a=\"b\" \r\n",
        ";a=(\r\n",
        " a\r\n",
        ";\u{e9}\r\n",
        ";a=\"\\\r\n",
        ";a=\"\u{7f}",
    ] {
        let answer = refused(&format!("2{extension}"));
        assert_eq!(answer, ChunkedError::Extension, "{extension:?}");
    }
}

#[test]
fn an_endless_extension_is_refused_at_the_limit() {
    let longest = format!("1;{}", "a".repeat(CHUNK_EXTENSION_BYTES_MAX - 1));

    assert!(read(format!("{longest}\r\nx\r\n").as_bytes()).is_ok());
    assert_eq!(
        refused(&format!("{longest}a")),
        ChunkedError::ExtensionTooLong
    );
}

#[test]
fn extensions_of_many_chunks_are_refused_at_their_limit() {
    let chunk = format!("1;{}\r\nx\r\n", "a".repeat(1023));
    let longest = chunk.repeat(CHUNK_EXTENSIONS_BYTES_MAX / 1024);

    assert!(read(longest.as_bytes()).is_ok());
    assert_eq!(
        refused(&format!("{longest}1;")),
        ChunkedError::ExtensionTooLong
    );
}

#[test]
fn trailer_fields_are_dropped() {
    let answer = read(b"1\r\nx\r\n0\r\nContent-Length: 5\r\nA:\xFF\t \r\n\r\nrest");

    assert_eq!(answer, Ok(Some((b"x".to_vec(), &b"rest"[..]))));
}

#[test]
fn a_malformed_trailer_is_refused() {
    for trailer in [
        " a: b",
        "\ta: b",
        ": b",
        "a b: c",
        "a : b",
        "a\r\n",
        "(: b",
        "a: \0",
        "a: \u{7f}",
    ] {
        assert_eq!(
            refused(&format!("0\r\n{trailer}")),
            ChunkedError::Trailer,
            "{trailer:?}"
        );
    }
    assert_eq!(refused("0\r\nA: b\r\n c\r\n"), ChunkedError::Trailer);
}

#[test]
fn an_endless_trailer_section_is_refused_at_the_limit() {
    let line = format!("A: {}\r\n", "b".repeat(1019));
    let longest = format!("0\r\n{}", line.repeat(TRAILER_BYTES_MAX / line.len()));

    assert_eq!(read(longest.as_bytes()), Ok(None));
    assert_eq!(
        refused(&format!("{longest}A")),
        ChunkedError::TrailerTooLong
    );
}

/// A chunked body, its data, and where its chunks were cut.
pub(super) fn encoded() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let chunk = (
        proptest::collection::vec(any::<u8>(), 1..40),
        "(;[a-z]{1,3}(=[a-z]{1,3})?){0,2}",
        0..3,
    );
    (
        proptest::collection::vec(chunk, 0..24),
        "([A-Z]{1,3}: [a-z]{0,3}\r\n){0,2}",
    )
        .prop_map(|(chunks, trailers)| {
            let (mut body, mut data) = (Vec::new(), Vec::new());
            for (piece, extension, zeros) in chunks {
                let zeros = "0".repeat(usize::try_from(zeros).unwrap());
                body.extend(format!("{zeros}{:x}{extension}\r\n", piece.len()).bytes());
                body.extend(&piece);
                body.extend(b"\r\n");
                data.extend(piece);
            }
            body.extend(format!("0\r\n{trailers}\r\n").bytes());
            (body, data)
        })
}

/// A piece of what looks like a chunked body.
const PART: &str = "[0-9a-f]{0,2}|;[a-z\"= ]{0,4}|\r\n|\r|\n|.|a: b|\r\n0\r\n";

proptest! {
    #[test]
    fn a_body_reads_back_as_it_was_written((body, data) in encoded(), cuts: Vec<u8>) {
        let (mut chunked, mut rest, mut out) = (Chunked::new(), &body[..], Vec::new());
        let mut cuts = cuts.into_iter().chain(std::iter::repeat(u8::MAX));
        let done = loop {
            let (read, behind) = rest.split_at(rest.len().min(usize::from(cuts.next().unwrap())));
            let mut at = 0;
            let event = loop {
                match chunked.next(read, &mut at).unwrap() {
                    ChunkedEvent::Data(range) => out.extend_from_slice(&read[range]),
                    event => break event,
                }
            };
            rest = behind;
            if rest.is_empty() || event == ChunkedEvent::Done {
                break event;
            }
        };

        prop_assert_eq!(done, ChunkedEvent::Done);
        prop_assert!(rest.is_empty());
        prop_assert_eq!(out, data);
    }

    #[test]
    fn whole_bodies_keep_their_property((body, _) in encoded()) {
        check_chunked(&body);
    }

    #[test]
    fn damaged_bodies_keep_their_property(
        (mut body, _) in encoded(), at: prop::sample::Index, byte: u8,
    ) {
        let at = at.index(body.len());
        body[at] = byte;
        check_chunked(&body);
    }

    #[test]
    fn any_bytes_keep_their_property(
        parts in proptest::collection::vec(PART, 0..20)
    ) {
        check_chunked(parts.concat().as_bytes());
    }
}
