//! Bytes as people write them.

use std::fmt;

/// Why a text is not hexadecimal: what, and at which character (from 1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HexError {
    pub(crate) at: usize,
    what: String,
}

impl fmt::Display for HexError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at character {}", self.what, self.at)
    }
}

/// Reads hexadecimal digits; white space, `:`, `-`, `,` and a `0x` before a group may stand between bytes.
pub(crate) fn parse(text: &str) -> Result<Vec<u8>, HexError> {
    let mut bytes = Vec::with_capacity(text.len() / 2);
    let mut high: Option<(usize, u8)> = None;
    let mut group_start = true;
    let mut chars = text.chars().enumerate().peekable();
    while let Some((i, c)) = chars.next() {
        if c.is_whitespace() || matches!(c, ':' | '-' | ',') {
            if let Some((at, _)) = high {
                return Err(half_byte(at));
            }
            group_start = true;
            continue;
        }
        if c == '0' && group_start && matches!(chars.peek(), Some((_, 'x' | 'X'))) {
            chars.next();
            group_start = false;
            continue;
        }
        group_start = false;
        let Some(digit) = c.to_digit(16) else {
            return Err(HexError {
                at: i + 1,
                what: format!(
                    "{} is not a hexadecimal digit",
                    crate::terminal::quoted(&c.to_string())
                ),
            });
        };
        match high.take() {
            None => high = Some((i, digit as u8)),
            Some((_, h)) => bytes.push((h << 4) | digit as u8),
        }
    }
    match high {
        Some((at, _)) => Err(half_byte(at)),
        None => Ok(bytes),
    }
}

fn half_byte(at: usize) -> HexError {
    HexError {
        at: at + 1,
        what: "half a byte (one lonely digit)".into(),
    }
}

/// Digits without anything between.
pub(crate) fn plain(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Digits with a space after each byte but the last.
pub(crate) fn spaced(bytes: &[u8]) -> String {
    let parts: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    parts.join(" ")
}

/// Lines of 16 bytes: offset, hexadecimal, printable ASCII.
pub(crate) fn dump(bytes: &[u8]) -> String {
    let lines: Vec<String> = bytes
        .chunks(16)
        .enumerate()
        .map(|(i, chunk)| {
            let text: String = chunk
                .iter()
                .map(|&b| {
                    if (0x20..0x7f).contains(&b) {
                        b as char
                    } else {
                        '.'
                    }
                })
                .collect();
            format!("{:04x}  {:<47}  {text}", i * 16, spaced(chunk))
        })
        .collect();
    lines.join("\n")
}

const BASE64URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Base64url without padding (RFC 4648 section 5).
pub(crate) fn base64url(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let mut word = 0u32;
        for i in 0..3 {
            word = (word << 8) | u32::from(chunk.get(i).copied().unwrap_or(0));
        }
        for i in 0..=chunk.len() {
            out.push(BASE64URL[((word >> (18 - 6 * i)) & 63) as usize] as char);
        }
    }
    out
}

/// Reads base64url, with or without padding; the ordinary alphabet is taken as well.
pub(crate) fn from_base64url(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=');
    if text.len() - digits.len() > 2 || digits.len() % 4 == 1 {
        return None;
    }
    let mut out = Vec::with_capacity(digits.len() * 3 / 4);
    let (mut word, mut bits) = (0u32, 0u32);
    for c in digits.bytes() {
        let c = match c {
            b'+' => b'-',
            b'/' => b'_',
            other => other,
        };
        let digit = BASE64URL.iter().position(|&d| d == c)? as u32;
        word = (word << 6) | digit;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            out.push((word >> bits) as u8);
            word &= (1 << bits) - 1;
        }
    }
    (word == 0).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_usual_ways_to_write_bytes() {
        for text in [
            "5101ab",
            "51 01 AB",
            "51:01:ab",
            "0x5101ab",
            "0x51 0x01 0xab",
            "0x51,0x01,0xAB",
            " 51\n\t01-ab ",
        ] {
            assert_eq!(parse(text), Ok(vec![0x51, 0x01, 0xab]), "{text:?}");
        }
        assert_eq!(parse(""), Ok(vec![]));
        assert_eq!(parse("00"), Ok(vec![0]));
    }

    #[test]
    fn says_what_is_wrong_and_at_which_character() {
        assert_eq!(
            parse("51 0g").unwrap_err().to_string(),
            "\"g\" is not a hexadecimal digit at character 5"
        );
        assert_eq!(
            parse("51 0 1").unwrap_err().to_string(),
            "half a byte (one lonely digit) at character 4"
        );
        assert_eq!(parse("510").unwrap_err().at, 3);
        assert_eq!(parse("510x01").unwrap_err().at, 4);
        assert_eq!(
            parse("\u{1b}").unwrap_err().to_string(),
            "\"\\u001b\" is not a hexadecimal digit at character 1"
        );
    }

    #[test]
    fn dumps_sixteen_bytes_a_line() {
        let bytes: Vec<u8> = (0x3f..0x50).collect();
        assert_eq!(
            dump(&bytes),
            "0000  3f 40 41 42 43 44 45 46 47 48 49 4a 4b 4c 4d 4e  ?@ABCDEFGHIJKLMN\n\
             0010  4f                                               O"
        );
        assert_eq!(dump(b"\x1b\x7f~").split_whitespace().last(), Some("..~"));
        assert_eq!(dump(&[]), "");
    }

    #[test]
    fn base64url_both_ways() {
        for (bytes, text) in [
            (&b""[..], ""),
            (b"f", "Zg"),
            (b"fo", "Zm8"),
            (b"foo", "Zm9v"),
            (b"foobar", "Zm9vYmFy"),
            (&[0xff, 0xef, 0xbe], "_---"),
        ] {
            assert_eq!(base64url(bytes), text);
            assert_eq!(from_base64url(text).as_deref(), Some(bytes));
        }
        assert_eq!(from_base64url("Zg=="), Some(b"f".to_vec()));
        assert_eq!(from_base64url("/+++"), from_base64url("_---"));
        for bad in ["Z", "Zg===", "Z!", "Zh"] {
            assert_eq!(from_base64url(bad), None, "{bad}");
        }
    }
}
