//! The prefill leg's body: the client's bytes with a few values replaced.

use std::iter;

use super::json::Value;
use super::lax;
use super::scan::{Key, Scan, scan};

/// One stretch of the body and what stands there instead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Splice {
    start: usize,
    end: usize,
    text: &'static [u8],
}

/// Splices of one body: four values to replace, one place to insert.
const SPLICES_MAX: usize = 5;

/// The difference between the client's body and the one that a node is sent, as replacements in
/// ascending order. The body itself is not copied: it is written in slices around them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Patch {
    splices: [Splice; SPLICES_MAX],
    len: usize,
}

impl Patch {
    /// Slices of a patched body at most, for a gather write.
    pub const SLICES_MAX: usize = 2 * SPLICES_MAX + 1;

    /// The body that makes a P2pNccl prefill node compute the prompt and nothing else. `scan` is of
    /// `body`, which [`admit`](super::admit()) let in.
    ///
    /// - `max_tokens` is 1, added when absent: a second token kills the prefill engine, and a null
    ///   would mean 16 in completions. `max_completion_tokens` is 1 when present, because in chats it
    ///   wins.
    /// - `min_tokens` is 0 when it is a number a node would take: more than `max_tokens` is refused.
    ///   Anything else stays, for the node to refuse.
    /// - `stream` is true, added when absent: without it, vLLM up to 0.11 fails on
    ///   `tool_choice: "required"` after it has pushed the KV cache, because one token is no tool call.
    /// - `stream_options` stays: it is legal now that `stream` is true, and `admit` refused it for
    ///   clients that do not stream.
    ///
    /// The same body under the same request id, sent to the decode node, releases the KV cache of a
    /// request that nobody waits for any longer: the node has accepted it once, and it ends after one
    /// token.
    pub fn prefill(scan: &Scan, body: &[u8]) -> Self {
        let mut patch = Self::default();
        for key in [Key::MaxTokens, Key::MaxCompletionTokens] {
            patch.replace(scan.value(key), body, b"1");
        }
        let min_tokens = scan.value(Key::MinTokens);
        let is_number = |value: &Value| lax::integer(*value, body).is_some_and(|least| least >= 0);
        patch.replace(min_tokens.filter(is_number), body, b"0");
        patch.replace(scan.value(Key::Stream), body, b"true");

        let has = |key| scan.value(key).is_some();
        let members: &'static [u8] = match (has(Key::MaxTokens), has(Key::Stream)) {
            (true, true) => b"",
            (false, true) => b",\"max_tokens\":1",
            (true, false) => b",\"stream\":true",
            (false, false) if scan.is_empty() => b"\"max_tokens\":1,\"stream\":true",
            (false, false) => b",\"max_tokens\":1,\"stream\":true",
        };
        if !members.is_empty() {
            patch.push(Splice {
                start: scan.close(),
                end: scan.close(),
                text: members,
            });
        }
        patch
    }

    /// Bytes of the patched body: its `Content-Length`.
    pub fn len(&self, body: &[u8]) -> u64 {
        let bytes: usize = self.slices(body).map(<[u8]>::len).sum();
        // A usize is no wider than a u64 on any platform with a ring.
        bytes as u64
    }

    /// The patched body, in at most [`Patch::SLICES_MAX`] slices, none of them empty.
    pub fn slices<'a>(&'a self, body: &'a [u8]) -> impl Iterator<Item = &'a [u8]> + Clone {
        let splices = self.splices.get(..self.len).unwrap_or_default();
        let kept_from = iter::once(0).chain(splices.iter().map(|splice| splice.end));
        let kept_to = splices
            .iter()
            .map(|splice| splice.start)
            .chain(iter::once(body.len()));
        let texts = splices
            .iter()
            .map(|splice| splice.text)
            .chain(iter::once::<&[u8]>(b""));
        kept_from
            .zip(kept_to)
            .zip(texts)
            .flat_map(|((from, to), text)| [body.get(from..to).unwrap_or_default(), text])
            .filter(|slice| !slice.is_empty())
    }

    /// Puts `text` in the place of a value, unless there is none or it says that already.
    fn replace(&mut self, value: Option<Value>, body: &[u8], text: &'static [u8]) {
        if let Some(Value { start, end, .. }) = value.filter(|value| value.text(body) != text) {
            self.push(Splice { start, end, text });
        }
    }

    /// Adds a splice and keeps the order. Splices do not overlap: each is a value of another key.
    fn push(&mut self, splice: Splice) {
        let Some(place) = self.splices.get_mut(self.len) else {
            return;
        };
        *place = splice;
        self.len += 1;
        let splices = self.splices.get_mut(..self.len).unwrap_or_default();
        splices.sort_unstable_by_key(|splice| splice.start);
    }
}

/// The property of [`Patch::prefill`] that tests and fuzzing share: in any body that can be scanned,
/// the named values are what they must be and every other byte is what and where it was; the length is
/// right, and a patched body needs no patch.
///
/// # Panics
///
/// The property does not hold.
pub fn check_patch(data: &[u8]) {
    let Ok(before) = scan(data) else { return };
    let patch = Patch::prefill(&before, data);
    let slices: Vec<&[u8]> = patch.slices(data).collect();
    let patched = slices.concat();
    assert!(slices.len() <= Patch::SLICES_MAX);
    assert_eq!(patch.len(data), patched.len() as u64);

    let after = scan(&patched);
    assert!(after.is_ok(), "the patched body is broken: {after:?}");
    let Ok(after) = after else { return };
    let said = |key| after.value(key).map(|value| value.text(&patched));
    assert_eq!(said(Key::MaxTokens), Some(&b"1"[..]));
    assert_eq!(said(Key::Stream), Some(&b"true"[..]));
    assert!(matches!(said(Key::MaxCompletionTokens), None | Some(b"1")));
    assert_eq!(
        Patch::prefill(&after, &patched).len,
        0,
        "a patched body needs no patch"
    );

    let owned = [
        Key::MaxTokens,
        Key::MaxCompletionTokens,
        Key::MinTokens,
        Key::Stream,
    ];
    let kept: Vec<Key> = owned
        .into_iter()
        .filter(|key| before.value(*key).is_some())
        .collect();
    let (head, tail) = without_values(data, &before, &kept);
    let (new_head, new_tail) = without_values(&patched, &after, &kept);
    let absent = |key, member| before.value(key).is_none().then_some(member);
    let added = [
        absent(Key::MaxTokens, "\"max_tokens\":1"),
        absent(Key::Stream, "\"stream\":true"),
    ];
    let mut expected = head;
    for member in added.into_iter().flatten() {
        let is_first = before.is_empty() && !expected.ends_with(b"1");
        expected.extend_from_slice(if is_first { b"" } else { b"," });
        expected.extend_from_slice(member.as_bytes());
    }
    assert_eq!(new_head, expected);
    assert_eq!(new_tail, tail);
}

/// `text` up to its final `}` and from there, with the values of `keys` left out.
fn without_values(text: &[u8], scan: &Scan, keys: &[Key]) -> (Vec<u8>, Vec<u8>) {
    let is_left_out = |at: usize| {
        keys.iter()
            .filter_map(|key| scan.value(*key))
            .any(|v| (v.start..v.end).contains(&at))
    };
    let (head, tail) = text.split_at_checked(scan.close()).unwrap_or_default();
    let head = head
        .iter()
        .enumerate()
        .filter(|(at, _)| !is_left_out(*at))
        .map(|(_, byte)| *byte);
    (head.collect(), tail.to_vec())
}

#[cfg(test)]
mod tests;
