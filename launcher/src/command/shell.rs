//! Commands as text that can be pasted into a shell.

/// A word as POSIX shells read it back (XCU §2.2.2).
pub(crate) fn quote(word: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./:,=@%+".contains(letter);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use proptest::prelude::*;

    #[test]
    fn plain_words_stay_as_they_are() {
        assert_eq!(
            quote("Qwen/Qwen2.5-7B-Instruct"),
            "Qwen/Qwen2.5-7B-Instruct"
        );
        assert_eq!(quote(r#"{"a": "b"}"#), r#"'{"a": "b"}'"#);
        assert_eq!(quote("it's"), r"'it'\''s'");
        assert_eq!(quote(""), "''");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn shell_reads_back_what_was_quoted(word in "[ -~\n\t]{0,24}") {
            let script = format!("printf %s {}", quote(&word));
            let output = Command::new("sh").arg("-c").arg(script).output().unwrap();

            prop_assert_eq!(String::from_utf8(output.stdout).unwrap(), word);
        }
    }
}
