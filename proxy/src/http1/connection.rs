//! The `Connection` options of a head (RFC 9110 §7.6.1).

use super::bytes::{is_all_token, list};
use super::head_error::HeadError;
use super::request::Version;
use crate::limits::CONNECTION_OPTIONS_MAX;

/// What the `Connection` fields of one head say about the connection itself.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Connection {
    close: bool,
    keep_alive: bool,
    options: usize,
}

impl Connection {
    /// Takes in one field value.
    ///
    /// An option that is not a token can neither be understood nor name a field: the connection
    /// ends after this exchange, which is right whatever was meant.
    pub(super) fn note(&mut self, value: &[u8]) -> Result<(), HeadError> {
        for option in list(value) {
            self.options += 1;
            if self.options > CONNECTION_OPTIONS_MAX {
                return Err(HeadError::TooManyConnectionOptions);
            }
            if option.eq_ignore_ascii_case(b"keep-alive") {
                self.keep_alive = true;
            } else if option.eq_ignore_ascii_case(b"close")
                || !(option.is_empty() || is_all_token(option))
            {
                self.close = true;
            }
        }
        Ok(())
    }

    /// Whether the sender means to use the connection again (RFC 9112 §9.3).
    pub(super) fn persists(self, version: Version) -> bool {
        !self.close && (version == Version::Http11 || self.keep_alive)
    }
}
