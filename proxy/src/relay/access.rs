//! Who may ask.

use crate::http1::RequestHead;
use crate::secret::Secret;

/// The keys that clients may have. With none, everybody may ask.
#[derive(Clone, Debug, Default)]
pub struct Access {
    keys: Box<[Secret]>,
}

impl Access {
    /// For the holders of any of `keys`; for everybody, if there are none.
    pub fn new(keys: Vec<Secret>) -> Self {
        Self { keys: keys.into() }
    }

    /// Whether a key is asked for.
    pub fn is_guarded(&self) -> bool {
        !self.keys.is_empty()
    }

    /// Whether the request with this head may go on. What is guarded is `/v1` and all below it, whether
    /// there is such an endpoint or not; health, version and metrics are for those who watch the proxy.
    pub(super) fn admits(&self, head: &RequestHead, bytes: &[u8]) -> bool {
        let path = head.path.get(bytes);
        let is_api = path
            .strip_prefix(b"/v1")
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"));
        if !self.is_guarded() || !is_api {
            return true;
        }
        let mut given = head.fields.get_all(bytes, "authorization");
        match (given.next(), given.next()) {
            (Some(credentials), None) => bearer(credentials).is_some_and(|key| self.knows(key)),
            // Of two, nobody can say which one counts.
            _ => false,
        }
    }

    /// Whether `given` is one of the keys. All are compared, so that the time does not tell which.
    fn knows(&self, given: &[u8]) -> bool {
        let found = self.keys.iter().map(|key| key.is(given));
        found.fold(false, |any, is| any | is)
    }
}

/// The token of `Authorization: Bearer …` (RFC 6750 §2.1). The name of the scheme is matched without
/// regard to case (RFC 9110 §11.1).
fn bearer(credentials: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = credentials.split_at_checked(b"bearer".len())?;
    let token = token.strip_prefix(b" ")?.trim_ascii_start();
    scheme.eq_ignore_ascii_case(b"bearer").then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a guarded proxy admits a GET of `path` with these fields.
    fn admits(path: &str, fields: &str) -> bool {
        let head = format!("GET {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let access = Access::new(vec![Secret::from("one"), Secret::from("two")]);
        let parsed = RequestHead::parse(head.as_bytes()).unwrap();
        access.admits(&parsed, head.as_bytes())
    }

    #[test]
    fn any_of_the_keys_admits() {
        for key in ["Bearer one", "Bearer two", "bearer one", "BEARER  two"] {
            assert!(admits("/v1/models", &format!("Authorization: {key}\r\n")));
        }
    }

    #[test]
    fn anything_but_one_bearer_with_a_key_is_not_admitted() {
        for fields in [
            "",
            "Authorization: \r\n",
            "Authorization: Bearer\r\n",
            "Authorization: Bearerone\r\n",
            "Authorization: one\r\n",
            "Authorization: Basic one\r\n",
            "Authorization: Bearer on\r\n",
            "Authorization: Bearer one two\r\n",
            "Authorization: Bearer one, Bearer two\r\n",
            "Authorization: Bearer one\r\nAuthorization: Bearer one\r\n",
            "X-Api-Key: one\r\n",
        ] {
            assert!(!admits("/v1/models", fields), "{fields}");
        }
    }

    #[test]
    fn what_is_below_v1_is_guarded_and_nothing_else() {
        for path in [
            "/v1",
            "/v1/",
            "/v1/nothing",
            "/v1/models?a=b",
            "http://a/v1/models",
        ] {
            assert!(!admits(path, ""), "{path}");
        }
        for path in ["/health", "/metrics", "/version", "/v10", "/", "/v2/v1/"] {
            assert!(admits(path, ""), "{path}");
        }
    }

    #[test]
    fn without_keys_everybody_is_admitted() {
        let head = b"GET /v1/models HTTP/1.1\r\nHost: a\r\n\r\n";
        let parsed = RequestHead::parse(head).unwrap();
        assert!(Access::default().admits(&parsed, head));
    }
}
