//! What a person sees.

use std::env;
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

use crate::cli::Color;

/// Text for a person, with colours and lines where they are understood.
#[derive(Debug)]
pub(crate) struct Terminal<O> {
    out: O,
    rich: bool,
}

impl Terminal<io::Stdout> {
    /// Standard output, rich as the user or the surroundings want it.
    pub(crate) fn stdout(color: Color) -> Self {
        let out = io::stdout();
        let rich = match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => {
                let plain = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
                    || env::var_os("TERM").is_some_and(|value| value == "dumb");
                out.is_terminal() && !plain
            }
        };
        Self { out, rich }
    }
}

impl<O: Write> Terminal<O> {
    /// A line of text.
    pub(crate) fn line(&mut self, text: impl Display) -> io::Result<()> {
        writeln!(self.out, "{text}")?;
        self.out.flush()
    }

    /// Text as it comes, shown at once.
    pub(crate) fn piece(&mut self, text: &str) -> io::Result<()> {
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }

    /// Text that stands out.
    pub(crate) fn strong(&self, text: impl Display) -> String {
        self.styled("1", text)
    }

    /// Text that steps back.
    pub(crate) fn quiet(&self, text: impl Display) -> String {
        self.styled("2", text)
    }

    /// Text that says that all is well.
    pub(crate) fn good(&self, text: impl Display) -> String {
        self.styled("32", text)
    }

    /// The mark of something done; nothing where only words are understood.
    pub(crate) fn tick(&self) -> String {
        if self.rich {
            self.good("✓ ")
        } else {
            String::new()
        }
    }

    /// A sign such as an emoji; nothing where only words are understood.
    pub(crate) fn sign(&self, sign: &'static str) -> &'static str {
        if self.rich { sign } else { "" }
    }

    /// Lines in a frame, or between two rules where a frame cannot be drawn.
    pub(crate) fn framed(&mut self, lines: &[String]) -> io::Result<()> {
        let width = lines
            .iter()
            .map(|line| line.chars().count())
            .max()
            .unwrap_or(0);
        let (top, bottom, side) = if self.rich {
            let rule = "─".repeat(width + 2);
            (format!("╭{rule}╮"), format!("╰{rule}╯"), self.good("│"))
        } else {
            let rule = "-".repeat(width + 4);
            (rule.clone(), rule, "|".to_owned())
        };
        self.line(self.good(top))?;
        for line in lines {
            let padded = format!("{line:width$}");
            self.line(format!("{side} {} {side}", self.strong(padded)))?;
        }
        self.line(self.good(bottom))
    }

    /// Codes of ECMA-48 §8.3.117 (SGR).
    fn styled(&self, code: &str, text: impl Display) -> String {
        if self.rich {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_string()
        }
    }
}

/// Text that cannot move the cursor or change colours (ECMA-48 control functions).
pub(crate) fn printable(text: &str) -> String {
    let keep = |letter: &char| !letter.is_control() || matches!(letter, '\n' | '\t');
    text.chars().filter(keep).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_outside_cannot_steer_the_terminal() {
        assert_eq!(printable("a\x1b[31m\rb\n\tc\u{9b}é"), "a[31mb\n\tcé");
    }

    fn shown(rich: bool) -> String {
        let mut terminal = Terminal {
            out: Vec::new(),
            rich,
        };
        terminal
            .line(format!("{}{}", terminal.tick(), terminal.quiet("done")))
            .unwrap();
        terminal
            .framed(&["Ready".to_owned(), "http://x".to_owned()])
            .unwrap();
        String::from_utf8(terminal.out).unwrap()
    }

    #[test]
    fn plain_text_is_ascii_without_codes() {
        let shown = shown(false);

        assert!(shown.is_ascii() && !shown.contains('\x1b'));
        insta::assert_snapshot!(shown, @r"
        done
        ------------
        | Ready    |
        | http://x |
        ------------
        ");
    }

    #[test]
    fn rich_text_frames_and_colours() {
        let shown = shown(true).replace('\x1b', "^");

        insta::assert_snapshot!(shown, @r"
        ^[32m✓ ^[0m^[2mdone^[0m
        ^[32m╭──────────╮^[0m
        ^[32m│^[0m ^[1mReady   ^[0m ^[32m│^[0m
        ^[32m│^[0m ^[1mhttp://x^[0m ^[32m│^[0m
        ^[32m╰──────────╯^[0m
        ");
    }
}
