//! What may be written to a terminal: text of strangers made harmless, colours only where they are wanted.

use std::io::IsTerminal;

/// Would this character steer a terminal, hide, or turn the direction of the text around it?
fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{00ad}'
            | '\u{061c}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}

fn push_escaped(out: &mut String, c: char) {
    match c {
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        c if (c as u32) <= 0xffff => out.push_str(&format!("\\u{:04x}", c as u32)),
        c => out.push_str(&format!("\\u{{{:x}}}", c as u32)),
    }
}

/// The text on one line, with everything harmful written as an escape.
pub(crate) fn line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_harmful(c) {
            push_escaped(&mut out, c);
        } else {
            out.push(c);
        }
    }
    out
}

/// Like [`line`], but line ends and tabs stay.
pub(crate) fn block(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.replace("\r\n", "\n").chars() {
        match c {
            '\n' | '\t' => out.push(c),
            c if is_harmful(c) => push_escaped(&mut out, c),
            c => out.push(c),
        }
    }
    out
}

/// The text in double quotes, with quotes, backslashes and everything harmful escaped.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if is_harmful(c) => push_escaped(&mut out, c),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// How many columns a text takes.
pub(crate) fn columns(text: &str) -> usize {
    text.chars()
        .map(|c| match c as u32 {
            0x300..=0x36f | 0xfe00..=0xfe0f => 0,
            0x1100..=0x115f
            | 0x2e80..=0xa4cf
            | 0xac00..=0xd7a3
            | 0xf900..=0xfaff
            | 0xfe30..=0xfe6f
            | 0xff00..=0xff60
            | 0xffe0..=0xffe6
            | 0x1f300..=0x1faff
            | 0x20000..=0x3fffd => 2,
            _ => 1,
        })
        .sum()
}

/// The beginning of a text that fits into `width` columns, ended by `…` where something was cut off.
pub(crate) fn fit(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.into();
    }
    let mut out = String::new();
    let mut used = 0;
    for c in text.chars() {
        let more = columns(c.encode_utf8(&mut [0; 4]));
        if used + more + 1 > width {
            break;
        }
        used += more;
        out.push(c);
    }
    out.push('…');
    out
}

/// Colours of one output stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style {
    colour: bool,
}

impl Style {
    /// Colours for standard output: only on a terminal, and never against NO_COLOR.
    pub(crate) fn stdout() -> Self {
        Self {
            colour: std::io::stdout().is_terminal() && wants_colour(),
        }
    }

    /// Colours for standard error.
    pub(crate) fn stderr() -> Self {
        Self {
            colour: std::io::stderr().is_terminal() && wants_colour(),
        }
    }

    /// No colours.
    #[cfg(test)]
    pub(crate) const PLAIN: Self = Self { colour: false };

    fn wrap(self, code: &str, text: &str) -> String {
        if self.colour {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.into()
        }
    }

    pub(crate) fn bold(self, text: &str) -> String {
        self.wrap("1", text)
    }

    pub(crate) fn dim(self, text: &str) -> String {
        self.wrap("2", text)
    }

    pub(crate) fn good(self, text: &str) -> String {
        self.wrap("32", text)
    }

    pub(crate) fn warn(self, text: &str) -> String {
        self.wrap("33", text)
    }

    pub(crate) fn bad(self, text: &str) -> String {
        self.wrap("31", text)
    }
}

/// <https://no-color.org>: a NO_COLOR that is set and not empty means no colour.
fn wants_colour() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Width of the terminal behind standard output; `None` where the output is no terminal.
pub(crate) fn width() -> Option<usize> {
    if !std::io::stdout().is_terminal() {
        return None;
    }
    let from_shell = std::env::var("COLUMNS")
        .ok()
        .and_then(|text| text.parse().ok());
    Some(
        from_shell
            .filter(|&w| w >= 40)
            .unwrap_or_else(|| terminal_size().unwrap_or(100)),
    )
}

fn terminal_size() -> Option<usize> {
    terminal_size::terminal_size()
        .map(|(width, _)| usize::from(width.0))
        .filter(|&w| w >= 40)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_of_a_stranger_reaches_the_terminal_as_a_command() {
        let evil = "\x1b]0;owned\x07\x1b[2J\u{9b}31m\r\u{202e}gnp.exe\u{200b}\u{7f}\0";
        for made_harmless in [line(evil), block(evil), quoted(evil)] {
            assert!(
                made_harmless.chars().all(|c| !is_harmful(c)),
                "{made_harmless:?}"
            );
            assert!(made_harmless.contains("\\u001b]0;owned\\u0007"));
            assert!(made_harmless.contains("\\u009b31m\\r\\u202egnp.exe\\u200b\\u007f\\u0000"));
        }
        assert_eq!(line("\u{e0041}"), "\\u{e0041}");
    }

    #[test]
    fn ordinary_text_stays_as_it_is() {
        let text = "21.5 °C, Küche, 台所, \"q\" \\";
        assert_eq!(line(text), text);
        assert_eq!(block("a\r\nb\n\tc"), "a\nb\n\tc");
        assert_eq!(line("a\nb\tc"), "a\\nb\\tc");
        assert_eq!(quoted("a\"b\\"), "\"a\\\"b\\\\\"");
    }

    #[test]
    fn counts_columns_and_cuts_at_them() {
        assert_eq!(columns("abc"), 3);
        assert_eq!(columns("台所"), 4);
        assert_eq!(columns("e\u{301}"), 1);
        assert_eq!(fit("abcdef", 6), "abcdef");
        assert_eq!(fit("abcdefg", 6), "abcde…");
        assert_eq!(fit("台所台所", 6), "台所…");
    }

    #[test]
    fn colours_only_where_they_are_wanted() {
        assert_eq!(Style::PLAIN.bad("x"), "x");
        assert_eq!(Style { colour: true }.bad("x"), "\x1b[31mx\x1b[0m");
    }
}
