use alloc::format;
use alloc::vec;

use super::*;

/// As `TABLE` has it: number, name, critical, unsafe, no cache key, repeatable, format, shortest, longest. After the tables of
/// RFC 7252 (section 5.10), RFC 7641, 7959, 7967, 8613, 8768, 9175, 9177, 9668, and the drafts.
type Row = (
    u16,
    &'static str,
    bool,
    bool,
    bool,
    bool,
    Format,
    usize,
    usize,
);

#[rustfmt::skip]
const TABLE: [Row; 31] = [
    (1, "If-Match", true, false, false, true, Format::Opaque, 0, 8),
    (3, "Uri-Host", true, true, false, false, Format::String, 1, 255),
    (4, "ETag", false, false, false, true, Format::Opaque, 1, 8),
    (5, "If-None-Match", true, false, false, false, Format::Empty, 0, 0),
    (6, "Observe", false, true, false, false, Format::Uint, 0, 3),
    (7, "Uri-Port", true, true, false, false, Format::Uint, 0, 2),
    (8, "Location-Path", false, false, false, true, Format::String, 0, 255),
    (9, "OSCORE", true, false, false, false, Format::Opaque, 0, 255),
    (11, "Uri-Path", true, true, false, true, Format::String, 0, 255),
    (12, "Content-Format", false, false, false, false, Format::Uint, 0, 2),
    (14, "Max-Age", false, true, false, false, Format::Uint, 0, 4),
    (15, "Uri-Query", true, true, false, true, Format::String, 0, 255),
    (16, "Hop-Limit", false, false, false, false, Format::Uint, 1, 1),
    (17, "Accept", true, false, false, false, Format::Uint, 0, 2),
    (19, "Q-Block1", true, true, false, false, Format::Uint, 0, 3),
    (20, "Location-Query", false, false, false, true, Format::String, 0, 255),
    (21, "EDHOC", true, false, false, false, Format::Empty, 0, 0),
    (23, "Block2", true, true, false, false, Format::Uint, 0, 3),
    (27, "Block1", true, true, false, false, Format::Uint, 0, 3),
    (28, "Size2", false, false, true, false, Format::Uint, 0, 4),
    (31, "Q-Block2", true, true, false, true, Format::Uint, 0, 3),
    (35, "Proxy-Uri", true, true, false, false, Format::String, 1, 1034),
    (39, "Proxy-Scheme", true, true, false, false, Format::String, 1, 255),
    (60, "Size1", false, false, true, false, Format::Uint, 0, 4),
    (252, "Echo", false, false, true, false, Format::Opaque, 1, 40),
    (258, "No-Response", false, true, false, false, Format::Uint, 0, 1),
    (292, "Request-Tag", false, false, false, true, Format::Opaque, 0, 8),
    (2, "Multicast-Timeout", false, true, false, false, Format::Uint, 0, 4),
    (24, "Group-ETag", false, false, false, true, Format::Opaque, 1, 8),
    (248, "Reply-From", false, false, false, false, Format::Opaque, 5, 1034),
    (65000, "Multi-ETag", false, false, false, true, Format::Opaque, 0, 65804),
];

#[test]
fn known_options_are_as_their_documents_define_them() {
    for (number, name, critical, is_unsafe, no_cache_key, repeatable, format, min, max) in TABLE {
        let option = OptionNumber(number);
        assert_eq!(option.name(), Some(name));
        assert_eq!(option.is_critical(), critical, "{name}");
        assert_eq!(option.is_unsafe(), is_unsafe, "{name}");
        assert_eq!(option.is_no_cache_key(), no_cache_key, "{name}");
        assert_eq!(option.is_repeatable(), Some(repeatable), "{name}");
        assert_eq!(option.format(), format, "{name}");
        assert_eq!(option.length_limits(), Some((min, max)), "{name}");
    }
    assert!(
        OptionNumber::KNOWN
            .iter()
            .map(|option| option.0)
            .eq(TABLE.iter().map(|row| row.0))
    );
    let known = (0..=u16::MAX).filter(|number| OptionNumber(*number).name().is_some());
    assert_eq!(known.count(), TABLE.len());
}

#[test]
fn lengths_are_checked_to_the_byte() {
    for (number, name, _, _, _, _, _, min, max) in TABLE {
        let check = |length| OptionNumber(number).check(&vec![b'a'; length], 0);
        let error = |found| Err(OptionError::Length { found, min, max });
        assert_eq!(check(min), Ok(()), "{name}");
        assert_eq!(check(max), Ok(()), "{name}");
        assert_eq!(check(max + 1), error(max + 1), "{name}");
        if min > 0 {
            assert_eq!(check(min - 1), error(min - 1), "{name}");
        }
    }
}

#[test]
fn surplus_occurrences_are_found() {
    for (number, name, _, _, _, repeatable, _, min, _) in TABLE {
        let check = |occurrence| OptionNumber(number).check(&vec![b'a'; min], occurrence);
        let expected = if repeatable {
            Ok(())
        } else {
            Err(OptionError::Surplus)
        };
        assert_eq!(check(0), Ok(()), "{name}");
        assert_eq!(check(1), expected, "{name}");
        assert_eq!(check(2), expected, "{name}");
    }
}

#[test]
fn entity_tags_are_repeated_in_requests_only() {
    for option in [OptionNumber::ETAG, OptionNumber::GROUP_ETAG] {
        assert_eq!(option.is_repeatable_in(Code::GET), Some(true));
        assert_eq!(option.is_repeatable_in(Code::CONTENT), Some(false));
    }
    assert_eq!(
        OptionNumber::URI_PATH.is_repeatable_in(Code::CONTENT),
        Some(true)
    );
    assert_eq!(
        OptionNumber::ACCEPT.is_repeatable_in(Code::GET),
        Some(false)
    );
    assert_eq!(OptionNumber(9999).is_repeatable_in(Code::GET), None);
}

#[test]
fn strings_are_utf8() {
    assert_eq!(OptionNumber::URI_PATH.check(b"caf\xc3\xa9", 0), Ok(()));
    assert_eq!(
        OptionNumber::URI_PATH.check(b"caf\xe9", 0),
        Err(OptionError::NotUtf8)
    );
    assert_eq!(OptionNumber::ETAG.check(b"\xff", 0), Ok(()));
}

#[test]
fn unknown_options_say_how_to_treat_them() {
    let option = OptionNumber(9999);
    assert_eq!((option.name(), option.format()), (None, Format::Unknown));
    assert_eq!(
        (option.length_limits(), option.is_repeatable()),
        (None, None)
    );
    assert_eq!(option.check(&[0xff; 2000], 7), Ok(()));
    // RFC 7252, section 5.4.6: 0x1c in the lowest five bits, the lowest left out.
    for number in [0x1c, 0x3c, 0x11c] {
        assert!(OptionNumber(number).is_no_cache_key());
    }
    for number in [0x1e, 0x18, 0x14, 0x0c, 0x1f] {
        assert!(!OptionNumber(number).is_no_cache_key());
    }
    assert!(OptionNumber(0x1d).is_no_cache_key());
}

// Covers: GC-3.2.2-02, GC-7.1-01
#[test]
fn the_numbers_that_the_documents_leave_open_say_how_to_treat_them() {
    for (option, name) in [
        (OptionNumber::MULTI_ETAG, "Multi-ETag"),
        (OptionNumber::GROUP_ETAG, "Group-ETag"),
    ] {
        // One place names each number, and nothing else has it.
        let same = OptionNumber::KNOWN.iter().filter(|known| **known == option);
        assert_eq!((option.name(), same.count()), (Some(name), 1));
        // Elective, safe to forward, part of the cache key.
        assert_eq!((option.0 & 1, option.0 & 2), (0, 0));
        assert_ne!(option.0 & 0x1e, 0x1c);
        assert!(!option.is_critical() && !option.is_unsafe() && !option.is_no_cache_key());
    }
    // In one request: of any length, and more than once.
    let multi = OptionNumber::MULTI_ETAG;
    for (len, occurrence) in [(0, 0), (300, 1), (1, 7)] {
        assert_eq!(multi.check(&alloc::vec![1; len], occurrence), Ok(()));
    }
    assert_eq!(multi.is_repeatable_in(Code::GET), Some(true));
}

#[test]
fn options_are_shown_by_name_or_number() {
    assert_eq!(
        format!("{}|{:8}|", OptionNumber::ETAG, OptionNumber::ETAG),
        "ETag|ETag    |"
    );
    assert_eq!(
        format!("{:?} {:?}", OptionNumber::ETAG, OptionNumber(9999)),
        "ETag(4) Option(9999)"
    );
    assert_eq!(format!("{}", OptionNumber(9999)), "9999");
    assert_eq!(
        format!("{}", OptionNumber::ETAG.check(b"", 0).unwrap_err()),
        "option value of 0 bytes, allowed are 1 to 8"
    );
    assert_eq!(
        format!("{} / {}", OptionError::NotUtf8, OptionError::Surplus),
        "option value is not UTF-8 / option occurs more often than allowed"
    );
}
