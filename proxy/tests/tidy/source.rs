//! Rust source, taken apart into code and comments.

use std::fs;
use std::path::Path;

/// One file of the workspace.
#[derive(Debug)]
pub(crate) struct Source {
    /// Its path from the repository's root, with slashes.
    pub(crate) path: String,
    /// The file with comments, strings and characters blanked; every line keeps its number.
    pub(crate) code: String,
    /// The file with everything but comments blanked.
    pub(crate) comments: String,
}

impl Source {
    /// Takes `text` apart.
    pub(crate) fn parse(path: &str, text: &str) -> Self {
        let (code, comments) = split(text);
        Self {
            path: path.to_owned(),
            code,
            comments,
        }
    }

    /// How many lines it has.
    pub(crate) fn line_count(&self) -> usize {
        self.code.lines().count()
    }

    /// Whether all of it is tests.
    pub(crate) fn is_test(&self) -> bool {
        self.path.contains("/tests/")
            || self.path.ends_with("/tests.rs")
            || self.path.ends_with("_tests.rs")
    }

    /// The lines of its code with their numbers, without its `mod tests`.
    pub(crate) fn product(&self) -> Vec<(usize, &str)> {
        if self.is_test() {
            return Vec::new();
        }
        let product = self.code.split("#[cfg(test)]\nmod tests {").next();
        numbered(product.unwrap_or_default()).collect()
    }
}

/// The lines of `text` with their numbers, from 1.
pub(crate) fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line))
}

/// Whether `word` stands in `line` as a word of its own.
pub(crate) fn has_word(line: &str, word: &str) -> bool {
    let is_part = |byte: Option<&u8>| byte.is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_');
    let bytes = line.as_bytes();
    line.match_indices(word).any(|(at, _)| {
        let before = at.checked_sub(1).and_then(|at| bytes.get(at));
        !is_part(before) && !is_part(bytes.get(at + word.len()))
    })
}

/// Every Rust file under `directory` of the repository at `root`, in order of its path.
pub(crate) fn read_all(root: &Path, directory: &str) -> Vec<Source> {
    let mut sources = Vec::new();
    let mut directories = vec![root.join(directory)];
    while let Some(directory) = directories.pop() {
        let Ok(entries) = fs::read_dir(&directory) else {
            continue;
        };
        for entry in entries {
            let path = entry.expect("a readable entry").path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("a readable file");
                let path = path.strip_prefix(root).expect("a path under the root");
                let path = path.to_str().expect("a path in UTF-8").replace('\\', "/");
                sources.push(Source::parse(&path, &text));
            }
        }
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    sources
}

/// What a character of the source belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Code,
    Comment,
    Literal,
}

/// The code of `text`, and its comments.
fn split(text: &str) -> (String, String) {
    let text: Vec<char> = text.chars().collect();
    let (mut code, mut comments) = (String::new(), String::new());
    let mut at = 0;
    while at < text.len() {
        let (part, length) = token(&text, at);
        for character in &text[at..at + length] {
            let blank = if *character == '\n' { '\n' } else { ' ' };
            code.push(if part == Part::Code {
                *character
            } else {
                blank
            });
            comments.push(if part == Part::Comment {
                *character
            } else {
                blank
            });
        }
        at += length;
    }
    (code, comments)
}

/// What stands at `at`, and how many characters of it.
fn token(text: &[char], at: usize) -> (Part, usize) {
    let rest = &text[at..];
    match rest {
        ['/', '/', ..] => {
            let length = rest.iter().position(|c| *c == '\n').unwrap_or(rest.len());
            (Part::Comment, length)
        }
        ['/', '*', ..] => (Part::Comment, block_comment(rest)),
        ['"', ..] => (Part::Literal, quoted(rest, '"')),
        ['\'', '\\', ..] | ['\'', _, '\'', ..] => (Part::Literal, quoted(rest, '\'')),
        [first, ..] if is_word(*first) => {
            // A whole word, so that the `r` of a raw string is not the end of another word.
            let word = rest.iter().position(|c| !is_word(*c)).unwrap_or(rest.len());
            match raw_string(rest, word) {
                Some(length) => (Part::Literal, length),
                None => (Part::Code, word),
            }
        }
        _ => (Part::Code, 1),
    }
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// The length of a block comment; they nest.
fn block_comment(rest: &[char]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match &rest[at..] {
            ['/', '*', ..] => {
                depth += 1;
                at += 2;
            }
            ['*', '/', ..] => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    rest.len()
}

/// The length of a literal between two of `quote`, with escapes.
fn quoted(rest: &[char], quote: char) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            '\\' => at += 2,
            end if end == quote => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// The length of a raw string whose prefix is the `word` first characters of `rest`, if it is one.
fn raw_string(rest: &[char], word: usize) -> Option<usize> {
    let prefix: String = rest[..word].iter().collect();
    let hashes = rest[word..].iter().take_while(|c| **c == '#').count();
    let begin = word + hashes;
    if !matches!(prefix.as_str(), "r" | "br" | "cr") || rest.get(begin) != Some(&'"') {
        return None;
    }
    let end: Vec<char> = std::iter::once('"')
        .chain(std::iter::repeat_n('#', hashes))
        .collect();
    let body = &rest[begin + 1..];
    let length = body.windows(end.len()).position(|window| window == end);
    Some(length.map_or(rest.len(), |length| begin + 1 + length + end.len()))
}

#[test]
fn comments_strings_and_characters_are_no_code() {
    let text = concat!(
        "let a = \"unsafe \\\" //\"; // dbg!\n",
        "/* one /* two */ async */ let b = br#\"todo! \" \"#;\n",
        "let c: &'static str = x('\\'', 'r', '\"');\n",
    );

    let source = Source::parse("a.rs", text);

    for word in ["unsafe", "dbg", "todo", "async", "one"] {
        assert!(!has_word(&source.code, word), "{word}: {}", source.code);
    }
    assert!(source.code.contains("&'static str = x("));
    assert!(source.code.lines().nth(1).unwrap().contains("let b = "));
    assert!(has_word(&source.comments, "dbg"));
    assert!(has_word(&source.comments, "async"));
    assert!(!has_word(&source.comments, "let"));
}

#[test]
fn tests_of_a_file_are_not_product() {
    let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\n";

    assert_eq!(Source::parse("a.rs", text).product(), [(1, "fn a() {}")]);
    assert!(Source::parse("x/tests.rs", text).product().is_empty());
}
