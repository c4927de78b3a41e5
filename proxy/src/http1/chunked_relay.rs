//! A node's chunked body on its way to a client, without a copy.

use std::ops::Range;

use super::chunked::{Chunked, ChunkedError, Step};
use super::size_line::SizeLine;

/// Ranges one call may find. A read of a token stream gives one; extensions give one more per
/// chunk.
const RANGES_MAX: usize = 16;

/// What goes on of a piece of a chunked body: a size line of our own, perhaps, then ranges of the
/// buffer.
#[derive(Clone, Debug)]
pub struct Pieces {
    size_line: SizeLine,
    ranges: [Range<usize>; RANGES_MAX],
    count: usize,
}

impl Default for Pieces {
    fn default() -> Self {
        Self::new()
    }
}

impl Pieces {
    /// Nothing.
    pub const fn new() -> Self {
        Self {
            size_line: SizeLine::EMPTY,
            ranges: [const { 0..0 }; RANGES_MAX],
            count: 0,
        }
    }

    /// What goes first and stands in no buffer: the size line of a chunk whose own was cut between
    /// two reads. Empty as a rule.
    pub fn size_line(&self) -> &[u8] {
        self.size_line.as_bytes()
    }

    /// What goes next, as places in the buffer given to [`ChunkedRelay::forward`]; none is empty,
    /// no two touch.
    pub fn ranges(&self) -> &[Range<usize>] {
        self.ranges.get(..self.count).unwrap_or_default()
    }

    /// Everything that goes on, in order; `buf` is the one given to [`ChunkedRelay::forward`].
    pub fn iter<'a>(&'a self, buf: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        let ranges = self
            .ranges()
            .iter()
            .map(|range| buf.get(range.clone()).unwrap_or_default());
        std::iter::once(self.size_line())
            .chain(ranges)
            .filter(|piece| !piece.is_empty())
    }

    /// Bytes of all pieces.
    pub fn byte_count(&self) -> usize {
        self.size_line().len()
            + self
                .ranges()
                .iter()
                .map(ExactSizeIterator::len)
                .sum::<usize>()
    }

    /// Whether nothing goes on.
    pub fn is_empty(&self) -> bool {
        self.byte_count() == 0
    }

    /// Makes it a size line (an empty one for none) and one range.
    pub fn set(&mut self, size_line: SizeLine, range: Range<usize>) {
        self.clear();
        self.size_line = size_line;
        self.push(range);
    }

    /// Empties it.
    fn clear(&mut self) {
        self.size_line = SizeLine::EMPTY;
        self.count = 0;
    }

    /// Whether `ranges` more surely find room.
    const fn has_room(&self, ranges: usize) -> bool {
        self.count + ranges <= RANGES_MAX
    }

    /// Adds a range behind the last one, or lengthens that one.
    fn push(&mut self, range: Range<usize>) {
        if range.is_empty() {
            return;
        }
        if let Some(last) = self.ranges.get_mut(..self.count).and_then(<[_]>::last_mut)
            && last.end == range.start
        {
            last.end = range.end;
        } else if let Some(slot) = self.ranges.get_mut(self.count) {
            *slot = range;
            self.count += 1;
        } else {
            debug_assert!(false, "room is made before each step");
        }
    }
}

/// How far [`ChunkedRelay::forward`] came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayProgress {
    /// Bytes of the buffer that are dealt with. Fewer than it has if the body ended or the pieces
    /// are full.
    pub consumed: usize,
    /// Whether the body is whole.
    pub done: bool,
}

/// Says which bytes of a chunked body go on.
///
/// What goes on is a valid chunked body up to any moment, but never its end: extensions, the last
/// chunk and trailers are dropped, and [`LAST_CHUNK`](super::LAST_CHUNK) is the caller's to write
/// when `done`, and only then. A size line goes on when it is complete and not that of the last
/// chunk; data goes on as it comes.
#[derive(Clone, Debug)]
pub struct ChunkedRelay {
    chunked: Chunked,
    with_framing: bool,
}

impl ChunkedRelay {
    /// Passes the chunks on as they are, for a client of HTTP/1.1.
    pub const fn verbatim() -> Self {
        Self {
            chunked: Chunked::new(),
            with_framing: true,
        }
    }

    /// Passes the data alone on, for a client of HTTP/1.0 or a body of known length.
    pub const fn data_only() -> Self {
        Self {
            chunked: Chunked::new(),
            with_framing: false,
        }
    }

    /// Takes `buf`, which goes on where the bytes consumed so far ended, and puts what goes on into
    /// `pieces`, whose earlier content is dropped.
    ///
    /// If `consumed` is less than the buffer has and the body is not done, the pieces were full:
    /// write them and call again with the rest. Each call consumes at least one byte of a buffer
    /// that has any.
    ///
    /// # Errors
    ///
    /// What is wrong with the body. `pieces` then hold what was right before it.
    pub fn forward(
        &mut self,
        buf: &[u8],
        pieces: &mut Pieces,
    ) -> Result<RelayProgress, ChunkedError> {
        pieces.clear();
        let mut at = 0;
        // One step adds two ranges at most: a size line short of its extensions.
        while pieces.has_room(2) {
            let start = at;
            let is_new_line = self.chunked.is_before_size();
            match self.chunked.step(buf, &mut at)? {
                Step::Data(data) => pieces.push(data),
                Step::DataEnd => self.push_framing(start..at, pieces),
                Step::Size { digits, .. } if is_new_line => {
                    let digits_end = start + usize::from(digits);
                    self.push_framing(start..digits_end, pieces);
                    self.push_framing(at - b"\r\n".len()..at, pieces);
                }
                // The line began in an earlier buffer, so this is the first step of the call.
                Step::Size { size, .. } if self.with_framing => {
                    pieces.size_line = SizeLine::new(size);
                }
                Step::Size { .. } => {}
                Step::NeedMore => {
                    return Ok(RelayProgress {
                        consumed: at,
                        done: false,
                    });
                }
                Step::Done => {
                    return Ok(RelayProgress {
                        consumed: at,
                        done: true,
                    });
                }
            }
        }
        Ok(RelayProgress {
            consumed: at,
            done: false,
        })
    }

    fn push_framing(&self, range: Range<usize>, pieces: &mut Pieces) {
        if self.with_framing {
            pieces.push(range);
        }
    }
}
