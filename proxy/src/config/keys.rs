//! The keys of clients: from flags, and from a file.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use crate::limits;
use crate::secret::Secret;

use super::ConfigError;

/// The keys given by flag and those in the file.
///
/// # Errors
///
/// A key that no client could send, the empty one among them: a variable that was meant to hold a key and
/// does not must not open the proxy to everybody. A file that cannot be read, or that holds no key.
pub(super) fn of_clients(
    given: &[Secret],
    file: Option<&Path>,
) -> Result<Vec<Secret>, ConfigError> {
    let mut keys = given.to_vec();
    if let Some(path) = file {
        keys.extend(read(path).map_err(|why| ConfigError::KeyFile {
            path: path.to_owned(),
            why,
        })?);
    }
    if keys.iter().all(|key| is_token(key.expose())) {
        Ok(keys)
    } else {
        Err(ConfigError::ClientKey)
    }
}

/// Whether `key` can be the token of an `Authorization` field.
pub(super) fn is_token(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The lines of a file that are not blank, without the space around them.
fn read(path: &Path) -> Result<Vec<Secret>, String> {
    let mut text = String::new();
    let file = File::open(path).map_err(|error| error.to_string())?;
    let bytes = file
        .take(limits::API_KEY_FILE_BYTES_MAX + 1)
        .read_to_string(&mut text)
        .map_err(|error| error.to_string())?;
    if u64::try_from(bytes).unwrap_or(u64::MAX) > limits::API_KEY_FILE_BYTES_MAX {
        return Err(format!(
            "longer than {} bytes",
            limits::API_KEY_FILE_BYTES_MAX
        ));
    }
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let keys: Vec<Secret> = lines.map(Secret::from).collect();
    if keys.is_empty() {
        return Err("it holds no key".to_owned());
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn file(text: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text).unwrap();
        file
    }

    /// What is wrong with a file of this text.
    fn refusal(text: &[u8]) -> String {
        let error = of_clients(&[], Some(file(text).path())).unwrap_err();
        error.to_string()
    }

    #[test]
    fn keys_of_flags_and_of_the_file_count_together() {
        let file = file(b"one\n\n  two \r\nthree");
        let keys = of_clients(&[Secret::from("zero")], Some(file.path())).unwrap();
        let keys: Vec<&str> = keys.iter().map(Secret::expose).collect();
        assert_eq!(keys, ["zero", "one", "two", "three"]);
    }

    #[test]
    fn file_without_a_key_is_refused() {
        assert!(refusal(b"").ends_with("it holds no key"));
        assert!(refusal(b" \n\t\n").ends_with("it holds no key"));
    }

    #[test]
    fn file_that_is_too_long_or_no_text_is_refused_and_not_shown() {
        let long = "k".repeat(64 * 1024 + 1);
        assert!(refusal(long.as_bytes()).ends_with("longer than 65536 bytes"));
        assert!(refusal(b"key\xff").contains("UTF-8"));
    }

    #[test]
    fn file_that_is_not_there_is_named() {
        let error = of_clients(&[], Some(Path::new("/nowhere/keys"))).unwrap_err();
        let error = error.to_string();
        assert!(
            error.starts_with("--api-key-file /nowhere/keys: "),
            "{error}"
        );
    }

    #[test]
    fn key_that_no_client_could_send_is_refused_and_not_shown() {
        for key in ["", "a b", "a\tb", "a\r\nX: y", "\u{e4}"] {
            let error = of_clients(&[Secret::from(key)], None).unwrap_err();
            assert_eq!(error, ConfigError::ClientKey);
        }
        assert_eq!(refusal(b"good\na b\n"), ConfigError::ClientKey.to_string());
    }
}
