//! A key, which is compared and sent, and never shown.

use std::fmt;
use std::str::FromStr;

/// A bearer token. Its `Debug` form says that there is one and not what it is, so that no log line and no
/// panic can hold it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<str>);

impl Secret {
    /// The key itself, for those who send it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether `given` is this key. The time it takes tells nothing of where the two differ: every byte of
    /// the key is looked at, whatever came before it. It does tell the key's length, which helps nobody to
    /// guess a key that is long enough.
    pub fn is(&self, given: &[u8]) -> bool {
        let ours = self.0.as_bytes();
        let mut differ = u8::from(ours.len() != given.len());
        for (place, byte) in ours.iter().enumerate() {
            // The compiler must not find out that one difference decides.
            differ = std::hint::black_box(differ | (byte ^ given.get(place).unwrap_or(&0)));
        }
        differ == 0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl From<&str> for Secret {
    fn from(key: &str) -> Self {
        Self(key.into())
    }
}

impl FromStr for Secret {
    type Err = std::convert::Infallible;

    fn from_str(key: &str) -> Result<Self, Self::Err> {
        Ok(key.into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn key_is_not_shown() {
        assert_eq!(format!("{:?}", Some(Secret::from("sk-1"))), "Some(Secret)");
    }

    #[test]
    fn key_that_differs_in_one_byte_or_in_length_is_another() {
        let key = Secret::from("sk-0123456789");
        assert!(key.is(b"sk-0123456789"));
        for place in 0..13 {
            let mut given = *b"sk-0123456789";
            given[place] ^= 1;
            assert!(!key.is(&given), "{place}");
            assert!(!key.is(&b"sk-0123456789"[..place]), "{place}");
        }
        assert!(!key.is(b"sk-0123456789\0"));
        assert!(!key.is(b"sk-01234567890"));
    }

    proptest! {
        #[test]
        fn key_equals_what_is_equal_to_it_and_nothing_else(key: String, given: Vec<u8>) {
            let secret = Secret::from(key.as_str());
            prop_assert!(secret.is(key.as_bytes()));
            prop_assert_eq!(secret.is(&given), key.as_bytes() == given.as_slice());
        }
    }
}
