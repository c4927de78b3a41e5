//! The fields of a head, as places in the buffer that holds it.

use std::fmt;

/// A place in a head: which bytes of it, not the bytes themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// The bytes at this place of `buf`; none if `buf` is too short to have them.
    pub fn get(self, buf: &[u8]) -> &[u8] {
        buf.get(self.start as usize..self.end as usize)
            .unwrap_or_default()
    }

    /// Whether there is nothing at this place.
    pub const fn is_empty(self) -> bool {
        self.start >= self.end
    }

    /// Bytes at this place.
    pub const fn len(self) -> usize {
        self.end.saturating_sub(self.start) as usize
    }

    /// The offset of its first byte.
    pub const fn start(self) -> usize {
        self.start as usize
    }

    /// The offset behind its last byte.
    pub const fn end(self) -> usize {
        self.end as usize
    }

    /// The place of `part` in `whole`; an empty one if it is no part of it.
    pub(super) fn of(part: &[u8], whole: &[u8]) -> Self {
        let start = part.as_ptr().addr().wrapping_sub(whole.as_ptr().addr());
        let end = start.wrapping_add(part.len());
        match (u32::try_from(start), u32::try_from(end)) {
            (Ok(start), Ok(end)) if start <= end && end as usize <= whole.len() => {
                Self { start, end }
            }
            _ => Self::default(),
        }
    }
}

/// The fields of a head in the order they came, names as they were written and values without the
/// white space around them.
///
/// It holds places, so each question is asked together with the head that was parsed.
#[derive(Clone, Default)]
pub struct Fields {
    spans: Box<[(Span, Span)]>,
}

impl Fields {
    /// The places of fields that were found in `head`.
    pub(super) fn of(found: &[httparse::Header<'_>], head: &[u8]) -> Self {
        let place = |field: &httparse::Header<'_>| {
            (
                Span::of(field.name.as_bytes(), head),
                Span::of(field.value, head),
            )
        };
        Self {
            spans: found.iter().map(place).collect(),
        }
    }

    /// Name and value of every field.
    pub fn iter<'a>(&'a self, buf: &'a [u8]) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        self.spans
            .iter()
            .map(|(name, value)| (name.get(buf), value.get(buf)))
    }

    /// The value of the first field called `name`, in upper or lower case.
    pub fn get<'a>(&self, buf: &'a [u8], name: &str) -> Option<&'a [u8]> {
        self.get_all_spans(buf, name)
            .next()
            .map(|value| value.get(buf))
    }

    /// The values of all fields called `name`, in upper or lower case.
    pub fn get_all<'a>(&'a self, buf: &'a [u8], name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.get_all_spans(buf, name).map(|value| value.get(buf))
    }

    /// How many fields there are.
    pub fn count(&self) -> usize {
        self.spans.len()
    }

    /// The places of names and values.
    pub(super) fn spans(&self) -> &[(Span, Span)] {
        &self.spans
    }

    fn get_all_spans(&self, buf: &[u8], name: &str) -> impl Iterator<Item = Span> {
        self.spans
            .iter()
            .filter(move |(span, _)| {
                span.len() == name.len() && span.get(buf).eq_ignore_ascii_case(name.as_bytes())
            })
            .map(|(_, value)| *value)
    }
}

impl fmt::Debug for Fields {
    /// Only their number: values hold keys and cookies, and the spans alone tell nothing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fields")
            .field("count", &self.spans.len())
            .finish()
    }
}
