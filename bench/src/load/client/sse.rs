//! Events of a `text/event-stream` (WHATWG HTML §9.2.6), of which only `data` means anything here.

use std::collections::VecDeque;

/// Bytes of one event. A token is a few hundred; the last one with usage hardly more.
const EVENT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Cuts a stream that arrives in pieces into the data of its events.
#[derive(Debug, Default)]
pub struct SseLines {
    line: Vec<u8>,
    /// Data of the event that is being read; `None` until its first `data` field.
    data: Option<Vec<u8>>,
    /// The last byte was a CR: an LF now belongs to it.
    after_cr: bool,
    events: VecDeque<Vec<u8>>,
}

/// An event longer than [`SseLines`] accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventTooLong {
    /// Bytes that would have been accepted.
    pub limit: usize,
}

impl SseLines {
    /// Takes the next bytes of the stream.
    ///
    /// # Errors
    ///
    /// An event grows beyond the limit.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), EventTooLong> {
        for &byte in bytes {
            let after_cr = std::mem::replace(&mut self.after_cr, byte == b'\r');
            match byte {
                b'\n' if after_cr => {}
                b'\n' | b'\r' => self.end_line(),
                _ => self.line.push(byte),
            }
            if self.line.len() + self.data.as_ref().map_or(0, Vec::len) > EVENT_BYTES_MAX {
                return Err(EventTooLong {
                    limit: EVENT_BYTES_MAX,
                });
            }
        }
        Ok(())
    }

    /// The data of the next complete event. One without an empty line after it is none: the stream
    /// was cut.
    pub fn next_event(&mut self) -> Option<Vec<u8>> {
        self.events.pop_front()
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            self.events.extend(self.data.take());
            return;
        }
        let value = match line.strip_prefix(b"data") {
            Some([]) => &[][..],
            Some([b':', b' ', value @ ..] | [b':', value @ ..]) => value,
            // Comments and the fields `event`, `id` and `retry`.
            _ => return,
        };
        match &mut self.data {
            Some(data) => {
                data.push(b'\n');
                data.extend_from_slice(value);
            }
            None => self.data = Some(value.to_vec()),
        }
    }
}

/// The property of the event cutter, for unit tests, proptest and fuzzing: however the input is cut,
/// the events are those of the input in one piece.
///
/// # Panics
///
/// The property does not hold.
pub fn check_sse_lines(data: &[u8]) {
    let whole = events(&[data]);
    for at in 0..=data.len() {
        let (head, tail) = data.split_at(at);
        assert_eq!(events(&[head, tail]), whole, "cut at {at}");
    }
}

fn events(pieces: &[&[u8]]) -> Result<Vec<Vec<u8>>, EventTooLong> {
    let mut lines = SseLines::default();
    for piece in pieces {
        lines.feed(piece)?;
    }
    Ok(std::iter::from_fn(|| lines.next_event()).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn data_of(stream: &str) -> Vec<String> {
        let events = events(&[stream.as_bytes()]).unwrap();
        events
            .into_iter()
            .map(|event| String::from_utf8(event).unwrap())
            .collect()
    }

    #[test]
    fn each_line_end_ends_lines() {
        for end in ["\n", "\r\n", "\r"] {
            let stream = format!("data: a{end}{end}data:b{end}{end}");
            assert_eq!(data_of(&stream), ["a", "b"], "{end:?}");
        }
    }

    #[test]
    fn data_lines_of_one_event_join() {
        assert_eq!(data_of("data: a\ndata\ndata:  b\n\n"), ["a\n\n b"]);
    }

    #[test]
    fn comments_other_fields_and_events_without_data_are_skipped() {
        assert_eq!(
            data_of(": ping\n\nevent: x\nid: 1\n\ndatabase: x\n\ndata: a\n\n"),
            ["a"]
        );
    }

    #[test]
    fn event_without_its_empty_line_is_not_given() {
        assert_eq!(data_of("data: a\n\ndata: b\n"), ["a"]);
    }

    #[test]
    fn endless_event_is_refused() {
        let limit = EventTooLong {
            limit: EVENT_BYTES_MAX,
        };

        assert_eq!(
            SseLines::default().feed(&vec![b'x'; EVENT_BYTES_MAX + 1]),
            Err(limit)
        );
    }

    proptest! {
        #[test]
        fn cuts_change_nothing(stream in "(data|data:|data: |:|x|é|\r|\n|\r\n){0,24}") {
            check_sse_lines(stream.as_bytes());
        }
    }
}
