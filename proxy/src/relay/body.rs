//! A node's body on its way to a client: which bytes go on, in which framing, and where it ends.

use crate::http1::{ChunkedRelay, LAST_CHUNK, Pieces, ResponseBody, SizeLine};
use crate::upstream::Fault;

/// How the client learns where the body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is no body.
    None,
    /// By its length.
    Length(u64),
    /// By the last chunk.
    Chunked,
    /// By the end of the connection: all that HTTP/1.0 has for a body of unknown length.
    Close,
}

/// A body under way.
#[derive(Debug)]
pub(super) struct Body {
    source: Source,
    framing: Framing,
    has_begun: bool,
}

/// How the node's bytes come.
#[derive(Debug)]
enum Source {
    /// This many are still to come.
    Length(u64),
    /// In chunks.
    Chunked(ChunkedRelay),
    /// Until the node closes its connection.
    UntilClose,
}

/// What became of some input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Passed {
    /// Bytes of the input that were used; fewer than there were only if the pieces were full, or the
    /// body has ended.
    pub(super) consumed: usize,
    /// What follows the pieces.
    pub(super) suffix: &'static [u8],
    /// Whether the body has ended.
    pub(super) done: bool,
}

impl Body {
    /// The way of a body that a node frames as `source`, to a client that understands chunked coding or
    /// does not.
    pub(super) fn new(source: ResponseBody, is_http11: bool) -> Self {
        let (source, framing) = match source {
            ResponseBody::None => (Source::Length(0), Framing::None),
            ResponseBody::Length(length) => (Source::Length(length), Framing::Length(length)),
            // The node's own chunks go on as they are.
            ResponseBody::Chunked if is_http11 => {
                (Source::Chunked(ChunkedRelay::verbatim()), Framing::Chunked)
            }
            ResponseBody::Chunked => (Source::Chunked(ChunkedRelay::data_only()), Framing::Close),
            ResponseBody::UntilClose if is_http11 => (Source::UntilClose, Framing::Chunked),
            ResponseBody::UntilClose => (Source::UntilClose, Framing::Close),
        };
        Self {
            source,
            framing,
            has_begun: false,
        }
    }

    /// How the client learns where it ends.
    pub(super) const fn framing(&self) -> Framing {
        self.framing
    }

    /// Whether a byte of it has come.
    pub(super) const fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// Whether nothing more is to come.
    pub(super) const fn is_over(&self) -> bool {
        matches!(self.source, Source::Length(0))
    }

    /// Takes the next bytes of the body and puts those that go on into `pieces`.
    ///
    /// # Errors
    ///
    /// When they are not what the node's framing allows.
    pub(super) fn pass(&mut self, input: &[u8], pieces: &mut Pieces) -> Result<Passed, Fault> {
        self.has_begun |= !input.is_empty();
        match &mut self.source {
            Source::Length(left) => {
                let length = u64::try_from(input.len()).unwrap_or(u64::MAX).min(*left);
                let consumed = usize::try_from(length).unwrap_or(input.len());
                *left -= length;
                pieces.set(SizeLine::new(0), 0..consumed);
                Ok(Passed {
                    consumed,
                    suffix: b"",
                    done: *left == 0,
                })
            }
            Source::Chunked(relay) => {
                let progress = relay.forward(input, pieces)?;
                let is_end = progress.done && self.framing == Framing::Chunked;
                let suffix = if is_end { LAST_CHUNK } else { b"" };
                Ok(Passed {
                    consumed: progress.consumed,
                    suffix,
                    done: progress.done,
                })
            }
            Source::UntilClose => {
                let is_chunk = self.framing == Framing::Chunked && !input.is_empty();
                let size = if is_chunk {
                    u64::try_from(input.len()).unwrap_or(0)
                } else {
                    0
                };
                pieces.set(SizeLine::new(size), 0..input.len());
                let suffix: &[u8] = if is_chunk { b"\r\n" } else { b"" };
                Ok(Passed {
                    consumed: input.len(),
                    suffix,
                    done: false,
                })
            }
        }
    }

    /// What the end of the node's connection means: the end of the body, and what the client is to be
    /// sent for it; or that the body was cut.
    pub(super) fn end_of_stream(&self) -> Result<&'static [u8], Fault> {
        match self.source {
            Source::UntilClose if self.framing == Framing::Chunked => Ok(LAST_CHUNK),
            Source::UntilClose => Ok(b""),
            Source::Length(_) | Source::Chunked(_) => Err(Fault::end_of_stream()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a client of HTTP/1.1 or 1.0 gets of `inputs`, and whether the body was seen to end.
    fn relay(source: ResponseBody, is_http11: bool, inputs: &[&[u8]]) -> (Vec<u8>, bool) {
        let mut body = Body::new(source, is_http11);
        let (mut out, mut done) = (Vec::new(), false);
        for input in inputs {
            let mut rest = *input;
            while !rest.is_empty() && !done {
                let mut pieces = Pieces::new();
                let passed = body.pass(rest, &mut pieces).unwrap();
                pieces
                    .iter(rest)
                    .for_each(|piece| out.extend_from_slice(piece));
                out.extend_from_slice(passed.suffix);
                rest = &rest[passed.consumed..];
                done = passed.done;
            }
        }
        if !done && let Ok(end) = body.end_of_stream() {
            out.extend_from_slice(end);
            done = true;
        }
        (out, done)
    }

    #[test]
    fn chunks_go_on_as_they_are_without_extensions_and_trailers() {
        let inputs: [&[u8]; 2] = [b"3;x=y\r\nabc\r\n", b"0\r\nTrailer: x\r\n\r\nbeyond"];
        let (out, done) = relay(ResponseBody::Chunked, true, &inputs);
        assert_eq!(out, b"3\r\nabc\r\n0\r\n\r\n");
        assert!(done);
    }

    #[test]
    fn client_of_http10_gets_the_data_alone() {
        let (out, done) = relay(ResponseBody::Chunked, false, &[b"3\r\nabc\r\n0\r\n\r\n"]);
        assert_eq!(out, b"abc");
        assert!(done);
    }

    #[test]
    fn body_that_ends_with_the_connection_is_chunked_for_http11() {
        let (out, done) = relay(
            ResponseBody::UntilClose,
            true,
            &[b"abc", b"0123456789abcdef"],
        );
        assert_eq!(out, b"3\r\nabc\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n");
        assert!(done);
        assert_eq!(
            relay(ResponseBody::UntilClose, false, &[b"abc"]),
            (b"abc".to_vec(), true)
        );
    }

    #[test]
    fn bytes_beyond_the_length_stay_behind() {
        assert_eq!(
            relay(ResponseBody::Length(3), true, &[b"ab", b"cd"]),
            (b"abc".to_vec(), true)
        );
    }

    #[test]
    fn cut_body_never_looks_complete() {
        for cut in 0..b"3\r\nabc\r\n0\r\n\r\n".len() {
            let input = &b"3\r\nabc\r\n0\r\n\r\n"[..cut];
            let (out, done) = relay(ResponseBody::Chunked, true, &[input]);
            assert!(!done, "cut at {cut}");
            assert!(!out.ends_with(b"0\r\n\r\n"), "cut at {cut}");
        }
        assert!(!relay(ResponseBody::Length(3), true, &[b"ab"]).1);
    }
}
