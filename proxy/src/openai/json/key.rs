//! Keys, compared by what they mean rather than by how they are spelt.

/// A key as it stands between its quotes.
#[derive(Clone, Copy, Debug)]
pub(in crate::openai) struct RawKey<'a> {
    pub(super) text: &'a [u8],
    /// Where its quote stands.
    pub(in crate::openai) at: usize,
    /// Whether a backslash occurs in it: then its bytes are not its meaning.
    pub(in crate::openai) is_escaped: bool,
}

impl<'a> RawKey<'a> {
    /// The bytes, if they are also the meaning.
    pub(in crate::openai) fn plain(&self) -> Option<&'a [u8]> {
        (!self.is_escaped).then_some(self.text)
    }

    /// Whether it means `name`, which is ASCII.
    pub(in crate::openai) fn means(&self, name: &str) -> bool {
        if !self.is_escaped {
            return self.text == name.as_bytes();
        }
        let mut rest = self.text;
        for &wanted in name.as_bytes() {
            let Some((unit, tail)) = next_unit(rest) else {
                return false;
            };
            if unit != u16::from(wanted) {
                return false;
            }
            rest = tail;
        }
        rest.is_empty()
    }
}

/// Reads one byte or one escape of a checked string: its UTF-16 code unit, and what follows. A byte of
/// a longer UTF-8 sequence stands for itself, which is enough to differ from ASCII.
fn next_unit(text: &[u8]) -> Option<(u16, &[u8])> {
    let (&byte, rest) = text.split_first()?;
    if byte != b'\\' {
        return Some((u16::from(byte), rest));
    }
    let (&escape, rest) = rest.split_first()?;
    let unit = match escape {
        b'b' => 0x08,
        b't' => 0x09,
        b'n' => 0x0a,
        b'f' => 0x0c,
        b'r' => 0x0d,
        b'u' => {
            let (digits, rest) = rest.split_at_checked(4)?;
            let digits = std::str::from_utf8(digits).ok()?;
            return Some((u16::from_str_radix(digits, 16).ok()?, rest));
        }
        itself => u16::from(itself),
    };
    Some((unit, rest))
}
