//! The prefix cache: which full blocks of earlier prompts are still in memory.

use super::tokens::hash_tokens;
use std::collections::{BTreeMap, HashMap};

/// Tokens of one block, as vLLM's default.
pub(crate) const BLOCK_TOKENS: usize = 16;

/// Least recently used cache of block hashes. A block's hash covers all tokens before it, so equal
/// hashes stand for equal prefixes.
#[derive(Debug, Default)]
pub(crate) struct PrefixCache {
    capacity: usize,
    clock: u64,
    used_at: HashMap<u64, u64>,
    by_age: BTreeMap<u64, u64>,
}

impl PrefixCache {
    /// A cache of at most `capacity` blocks; 0 caches nothing.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            ..Self::default()
        }
    }

    /// Looks the prompt up and stores it. Answers how many leading tokens were cached; the last
    /// token is always computed, so never all of them.
    pub(crate) fn admit(&mut self, tokens: &[u32]) -> usize {
        if self.capacity == 0 {
            return 0;
        }
        let usable = tokens.len().saturating_sub(1) / BLOCK_TOKENS;
        let mut hit = 0;
        let mut unbroken = true;
        let mut hash = 0;
        for (index, block) in tokens.chunks_exact(BLOCK_TOKENS).enumerate() {
            hash = hash_tokens(hash, block);
            unbroken &= self.used_at.contains_key(&hash);
            if unbroken && index < usable {
                hit += BLOCK_TOKENS;
            }
            self.touch(hash);
        }
        hit
    }

    fn touch(&mut self, hash: u64) {
        self.clock += 1;
        if let Some(before) = self.used_at.insert(hash, self.clock) {
            self.by_age.remove(&before);
        }
        self.by_age.insert(self.clock, hash);
        if self.used_at.len() > self.capacity
            && let Some((_, oldest)) = self.by_age.pop_first()
        {
            self.used_at.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompt(start: u32, len: u32) -> Vec<u32> {
        (start..start + len).collect()
    }

    #[test]
    fn second_time_all_but_the_last_block_is_cached() {
        let mut cache = PrefixCache::new(100);

        assert_eq!(cache.admit(&prompt(0, 64)), 0);
        assert_eq!(cache.admit(&prompt(0, 64)), 48);
        assert_eq!(cache.admit(&prompt(0, 65)), 64);
    }

    #[test]
    fn shared_prefix_counts_and_other_text_does_not() {
        let mut cache = PrefixCache::new(100);
        cache.admit(&prompt(0, 64));

        let mut forked = prompt(0, 40);
        forked.extend(prompt(900, 40));

        assert_eq!(cache.admit(&forked), 32);
        assert_eq!(cache.admit(&prompt(900, 64)), 0);
    }

    #[test]
    fn oldest_block_leaves_first() {
        let mut cache = PrefixCache::new(4);
        cache.admit(&prompt(0, 64));
        cache.admit(&prompt(500, 16));

        assert_eq!(cache.admit(&prompt(0, 64)), 0);
        assert_eq!(cache.used_at.len(), 4);
        assert_eq!(cache.by_age.len(), 4);
    }

    #[test]
    fn cache_of_nothing_never_hits() {
        let mut cache = PrefixCache::new(0);
        cache.admit(&prompt(0, 64));
        assert_eq!(cache.admit(&prompt(0, 64)), 0);
    }
}
