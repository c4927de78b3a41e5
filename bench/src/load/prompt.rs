//! Prompts made of random words.

use std::ops::Range;

/// Letters of one word.
const WORD_LETTERS: usize = 5;
/// Distance between the seeds of neighbouring prompts: 2^64 divided by the golden ratio, so that no
/// two small indices come near each other.
const SEED_STRIDE: u64 = 0x9e37_79b9_7f4a_7c15;
const LETTERS: Range<u8> = b'a'..b'z' + 1;

/// An endless numbered supply of prompts, the same for the same seed.
///
/// A prompt is computed from its number alone, so both passes of a run send the same texts without
/// anyone keeping them.
#[derive(Debug, Clone, Copy)]
pub struct Prompts {
    /// Prompts of one seed are the same in every run and on every machine.
    pub seed: u64,
    /// Words of each prompt, five lower-case letters each.
    pub words: usize,
}

impl Prompts {
    /// The prompt with this number.
    #[must_use]
    pub fn prompt(&self, number: u64) -> String {
        let mut rng =
            fastrand::Rng::with_seed(self.seed.wrapping_add(number.wrapping_mul(SEED_STRIDE)));
        let mut prompt = String::with_capacity(self.words * (WORD_LETTERS + 1));
        for word in 0..self.words {
            if word > 0 {
                prompt.push(' ');
            }
            for _ in 0..WORD_LETTERS {
                prompt.push(char::from(rng.u8(LETTERS)));
            }
        }
        prompt
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompt_is_words_of_five_lower_case_letters() {
        let prompt = Prompts { seed: 1, words: 64 }.prompt(0);

        let words: Vec<&str> = prompt.split(' ').collect();
        assert_eq!(words.len(), 64);
        for word in words {
            assert_eq!(word.len(), 5);
            assert!(word.bytes().all(|letter| letter.is_ascii_lowercase()));
        }
    }

    #[test]
    fn every_letter_occurs() {
        let prompt = Prompts {
            seed: 1,
            words: 1000,
        }
        .prompt(0);

        assert!(('a'..='z').all(|letter| prompt.contains(letter)));
    }

    #[test]
    fn same_seed_and_number_give_the_same_prompt() {
        let prompts = Prompts { seed: 7, words: 8 };

        assert_eq!(prompts.prompt(3), prompts.prompt(3));
    }

    #[test]
    fn numbers_and_seeds_give_different_prompts() {
        let prompts = Prompts { seed: 7, words: 8 };

        assert_ne!(prompts.prompt(0), prompts.prompt(1));
        assert_ne!(prompts.prompt(0), Prompts { seed: 8, ..prompts }.prompt(0));
    }

    #[test]
    fn no_words_make_an_empty_prompt() {
        assert_eq!(Prompts { seed: 0, words: 0 }.prompt(0), "");
    }
}
