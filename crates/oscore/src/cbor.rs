//! The few CBOR encodings that enter keys, authenticated data, credentials and records: definite lengths, shortest form (RFC 8949, section 4.2.1).

use alloc::vec::Vec;

const UNSIGNED: u8 = 0;
const NEGATIVE: u8 = 1;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const MAP: u8 = 5;

#[inline]
fn head(out: &mut Vec<u8>, major: u8, argument: u64) {
    let major = major << 5;
    let wide = argument.to_be_bytes();
    match argument {
        0..=23 => out.push(major + wide[7]),
        24..=0xff => out.extend_from_slice(&[major + 24, wide[7]]),
        0x100..=0xffff => out.extend_from_slice(&[major + 25, wide[6], wide[7]]),
        0x1_0000..=0xffff_ffff => {
            out.push(major + 26);
            out.extend_from_slice(&wide[4..]);
        }
        _ => {
            out.push(major + 27);
            out.extend_from_slice(&wide);
        }
    }
}

pub(crate) fn array(out: &mut Vec<u8>, elements: u64) {
    head(out, ARRAY, elements);
}

pub(crate) fn map(out: &mut Vec<u8>, entries: u64) {
    head(out, MAP, entries);
}

pub(crate) fn unsigned(out: &mut Vec<u8>, value: u64) {
    head(out, UNSIGNED, value);
}

pub(crate) fn int(out: &mut Vec<u8>, value: i32) {
    let value = i64::from(value);
    match u64::try_from(value) {
        Ok(value) => head(out, UNSIGNED, value),
        // -1 - n, for which two's complement is the bitwise inverse
        Err(_) => head(out, NEGATIVE, !value as u64),
    }
}

pub(crate) fn int_or_null(out: &mut Vec<u8>, value: Option<i32>) {
    match value {
        Some(value) => int(out, value),
        None => null(out),
    }
}

#[inline]
pub(crate) fn bytes(out: &mut Vec<u8>, value: &[u8]) {
    head(out, BYTES, value.len() as u64);
    out.extend_from_slice(value);
}

/// The head of a byte string whose bytes follow.
pub(crate) fn bytes_head(out: &mut Vec<u8>, length: usize) {
    head(out, BYTES, length as u64);
}

pub(crate) fn bytes_or_null(out: &mut Vec<u8>, value: Option<&[u8]>) {
    match value {
        Some(value) => bytes(out, value),
        None => null(out),
    }
}

pub(crate) fn text(out: &mut Vec<u8>, value: &str) {
    head(out, TEXT, value.len() as u64);
    out.extend_from_slice(value.as_bytes());
}

pub(crate) fn boolean(out: &mut Vec<u8>, value: bool) {
    out.push(if value { 0xf5 } else { 0xf4 });
}

pub(crate) fn null(out: &mut Vec<u8>) {
    out.push(0xf6);
}

/// How many bytes [`bytes`] writes for a string of this length.
#[inline]
pub(crate) fn bytes_len(length: usize) -> usize {
    length
        + match length {
            0..=23 => 1,
            24..=0xff => 2,
            0x100..=0xffff => 3,
            _ => 5,
        }
}

/// How many bytes [`int`] writes.
pub(crate) fn int_len(value: i32) -> usize {
    let argument = if value < 0 { !value } else { value };
    match argument {
        0..=23 => 1,
        24..=0xff => 2,
        0x100..=0xffff => 3,
        _ => 5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out);
        out
    }

    #[test]
    fn integers_take_their_shortest_form() {
        // RFC 8949, appendix A
        for (value, encoded) in [
            (0, &[0x00][..]),
            (23, &[0x17]),
            (24, &[0x18, 0x18]),
            (255, &[0x18, 0xff]),
            (256, &[0x19, 0x01, 0x00]),
            (65_535, &[0x19, 0xff, 0xff]),
            (65_536, &[0x1a, 0x00, 0x01, 0x00, 0x00]),
            (-1, &[0x20]),
            (-24, &[0x37]),
            (-25, &[0x38, 0x18]),
            (-27, &[0x38, 0x1a]),
            (-256, &[0x38, 0xff]),
            (-257, &[0x39, 0x01, 0x00]),
            (-65_534, &[0x39, 0xff, 0xfd]),
            (i32::MIN, &[0x3a, 0x7f, 0xff, 0xff, 0xff]),
        ] {
            assert_eq!(written(|out| int(out, value)), encoded, "{value}");
            assert_eq!(int_len(value), encoded.len(), "{value}");
        }
        assert_eq!(
            written(|out| unsigned(out, 1 << 32)),
            [0x1b, 0, 0, 0, 1, 0, 0, 0, 0]
        );
        assert_eq!(
            written(|out| unsigned(out, u64::from(u32::MAX))),
            [0x1a, 0xff, 0xff, 0xff, 0xff]
        );
    }

    #[test]
    fn byte_strings_are_as_long_as_announced() {
        for length in [0, 1, 23, 24, 255, 256, 65_535, 65_536] {
            let value = alloc::vec![7; length];
            let encoded = written(|out| bytes(out, &value));
            assert_eq!(encoded.len(), bytes_len(length), "{length}");
            assert_eq!(
                written(|out| bytes_head(out, length)),
                encoded[..encoded.len() - length]
            );
        }
        assert_eq!(written(|out| bytes(out, b"\x01\x02")), [0x42, 1, 2]);
    }

    #[test]
    fn the_other_types() {
        assert_eq!(written(|out| text(out, "IV")), [0x62, b'I', b'V']);
        assert_eq!(written(|out| boolean(out, true)), [0xf5]);
        assert_eq!(written(|out| boolean(out, false)), [0xf4]);
        assert_eq!(written(|out| int_or_null(out, None)), [0xf6]);
        assert_eq!(written(|out| int_or_null(out, Some(10))), [0x0a]);
        assert_eq!(written(|out| bytes_or_null(out, None)), [0xf6]);
        assert_eq!(written(|out| bytes_or_null(out, Some(&[]))), [0x40]);
        assert_eq!(written(|out| array(out, 9)), [0x89]);
        assert_eq!(written(|out| map(out, 2)), [0xa2]);
    }
}
