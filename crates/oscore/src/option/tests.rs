use super::*;
use crate::test_vectors::{self as vectors, bytes, hex, list};
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use proptest::prelude::*;

fn piv(number: u64) -> Option<PartialIv> {
    Some(PartialIv::new(number).unwrap())
}

fn written(option: &OscoreOption<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    option.write(&mut out).unwrap();
    assert_eq!(out.len(), option.encoded_len());
    out
}

// Covers: GO-4.1-06
#[test]
fn the_examples_of_section_4_3() {
    let (gid, kid) = (Some(&b"Dal"[..]), Some(&b"\x25"[..]));
    let none = OscoreOption::default();
    for (encoded, option) in [
        (
            "39050344616c25",
            OscoreOption {
                partial_iv: piv(5),
                kid_context: gid,
                kid,
                group_flag: true,
            },
        ),
        (
            "2852",
            OscoreOption {
                kid: Some(b"\x52"),
                group_flag: true,
                ..none
            },
        ),
        (
            "19050344616c25",
            OscoreOption {
                partial_iv: piv(5),
                kid_context: gid,
                kid,
                group_flag: false,
            },
        ),
        ("", none),
    ] {
        assert_eq!(written(&option), hex(encoded));
        assert_eq!(OscoreOption::parse(&hex(encoded)), Ok(option), "{encoded}");
    }
}

#[test]
fn the_options_of_all_vectors() {
    let mut count = 0;
    let (single, appendix) = (vectors::oscore_single(), vectors::appendix_c());
    let groups = vectors::groups();
    let cases = groups.iter().flat_map(|file| list(file, "cases"));
    let cases = cases.chain(
        list(&single, "vectors")
            .iter()
            .flat_map(|vector| list(vector, "cases")),
    );
    for case in cases.chain(
        list(&appendix, "vectors")
            .iter()
            .filter(|vector| vector["oscore_option"].is_string()),
    ) {
        let value = bytes(case, "oscore_option");
        let protected = bytes(case, "protected_coap");
        let message = Message::parse(&protected).unwrap();
        let option = OscoreOption::of(&message).unwrap().unwrap();
        assert_eq!(written(&option), value);
        if case["kind"] == "request" {
            let (piv, kid) = option.check_request(case["mode"].is_string()).unwrap();
            assert_eq!(
                (piv, kid),
                (
                    vectors::piv(case, "request_piv"),
                    &*bytes(case, "request_kid")
                )
            );
        }
        count += 1;
    }
    assert!(count > 600, "{count}");
}

// Covers: GO-B-6.1-02
#[test]
fn no_fields_are_the_empty_value() {
    assert_eq!(written(&OscoreOption::default()), b"");
    assert_eq!(OscoreOption::parse(b""), Ok(OscoreOption::default()));
    assert_eq!(
        OscoreOption::parse(b"\x00"),
        Err(OptionMalformed::ZeroFlags)
    );
    assert_eq!(
        OscoreOption::parse(b"\x00\x00"),
        Err(OptionMalformed::TrailingBytes)
    );
    // the flag of the group mode alone is a field
    let group = OscoreOption {
        group_flag: true,
        ..OscoreOption::default()
    };
    assert_eq!(
        (written(&group), OscoreOption::parse(b"\x20")),
        (vec![0x20], Ok(group))
    );
}

// Covers: GO-B-6.1-03
#[test]
fn what_ends_too_early_or_too_late_is_malformed() {
    for (value, error) in [
        ("0b0102", OptionMalformed::Truncated),
        ("03", OptionMalformed::Truncated),
        ("10", OptionMalformed::Truncated),
        ("1105", OptionMalformed::Truncated),
        ("1905", OptionMalformed::Truncated),
        ("19050344", OptionMalformed::Truncated),
        ("1801", OptionMalformed::Truncated),
        ("010500", OptionMalformed::TrailingBytes),
        ("11050044", OptionMalformed::TrailingBytes),
        ("2052", OptionMalformed::TrailingBytes),
        ("020005", OptionMalformed::LeadingZeros),
        ("0a000552", OptionMalformed::LeadingZeros),
    ] {
        assert_eq!(OscoreOption::parse(&hex(value)), Err(error), "{value}");
    }
    let long = vec![0x08; 256];
    assert_eq!(OscoreOption::parse(&long), Err(OptionMalformed::TooLong));
    assert_eq!(
        OscoreOption::parse(&long[..255])
            .unwrap()
            .kid
            .unwrap()
            .len(),
        254
    );
}

// Covers: GO-B-6.1-04
#[test]
fn requests_have_partial_iv_and_kid() {
    let full = OscoreOption::parse(b"\x39\x05\x03Dal\x25").unwrap();
    assert_eq!(
        full.check_request(true),
        Ok((PartialIv::new(5).unwrap(), &b"\x25"[..]))
    );
    for group in [false, true] {
        assert_eq!(
            OscoreOption::parse(b"\x31\x05\x03Dal")
                .unwrap()
                .check_request(group),
            Err(OptionMalformed::NoKid)
        );
        assert_eq!(
            OscoreOption::parse(b"\x38\x03Dal\x25")
                .unwrap()
                .check_request(group),
            Err(OptionMalformed::NoPartialIv)
        );
    }
    let without_context = OscoreOption::parse(b"\x29\x05\x25").unwrap();
    assert_eq!(
        without_context.check_request(true),
        Err(OptionMalformed::NoKidContext)
    );
    assert!(without_context.check_request(false).is_ok());
}

#[test]
fn empty_is_not_absent() {
    let empty = OscoreOption::parse(b"\x19\x05\x00").unwrap();
    assert_eq!(
        (empty.kid, empty.kid_context),
        (Some(&b""[..]), Some(&b""[..]))
    );
    assert_eq!(
        empty.check_request(true),
        Ok((PartialIv::new(5).unwrap(), &b""[..]))
    );
    assert_eq!(written(&empty), b"\x19\x05\x00");
    let absent = OscoreOption::parse(b"\x01\x05").unwrap();
    assert_eq!((absent.kid, absent.kid_context), (None, None));
}

// Covers: GO-B-2-01
#[test]
fn the_option_is_number_9_and_comes_with_a_payload() {
    let number = OptionNumber::OSCORE;
    assert_eq!(number, OptionNumber(9));
    assert!(number.is_critical() && !number.is_unsafe() && !number.is_no_cache_key());
    assert!(number.check(&[0; 255], 0).is_ok() && number.check(&[], 0).is_ok());
    assert!(number.check(&[0; 256], 0).is_err());
    assert!(number.check(b"\x09\x14", 1).is_err());
    let of = |bytes: &[u8]| {
        OscoreOption::of(&Message::parse(bytes).unwrap()).map(|option| option.is_some())
    };
    assert_eq!(of(b"\x50\x02\x00\x01\x92\x09\x14\xff\x61"), Ok(true));
    assert_eq!(
        of(b"\x50\x02\x00\x01\x92\x09\x14"),
        Err(OptionMalformed::NoPayload)
    );
    assert_eq!(of(b"\x50\x02\x00\x01\x90"), Err(OptionMalformed::NoPayload));
    assert_eq!(
        of(b"\x50\x02\x00\x01\x92\x09\x14\x02\x09\x14\xff\x61"),
        Err(OptionMalformed::Repeated)
    );
    assert_eq!(of(b"\x50\x02\x00\x01\xff\x61"), Ok(false));
    assert_eq!(
        of(b"\x50\x02\x00\x01\x92\xc9\x14\xff\x61"),
        Err(OptionMalformed::ReservedBits)
    );
}

/// What the flags announce, by the text of RFC 8613, section 6.1, with another structure than the parser's.
fn expected(value: &[u8]) -> Result<(), OptionMalformed> {
    let Some(&flags) = value.first() else {
        return Ok(());
    };
    if flags > 0x3f {
        return Err(OptionMalformed::ReservedBits);
    }
    let n = usize::from(flags % 8);
    if n >= 6 {
        return Err(OptionMalformed::ReservedLength);
    }
    if value.len() < 1 + n {
        return Err(OptionMalformed::Truncated);
    }
    if n > 1 && value[1] == 0 {
        return Err(OptionMalformed::LeadingZeros);
    }
    let mut need = 1 + n;
    if flags / 16 % 2 == 1 {
        need += 1 + value.get(need).map_or(usize::MAX / 2, |s| usize::from(*s));
    }
    match (value.len(), flags / 8 % 2 == 1) {
        (len, _) if len < need => Err(OptionMalformed::Truncated),
        (len, false) if len > need => Err(OptionMalformed::TrailingBytes),
        (1, false) if flags == 0 => Err(OptionMalformed::ZeroFlags),
        _ => Ok(()),
    }
}

/// What a reader without the checks makes of a value: it passes over bits and bytes that say nothing to it, and takes what is there of
/// what is announced.
fn read_without_checks(value: &[u8]) -> OscoreOption<'_> {
    let Some((&flags, rest)) = value.split_first() else {
        return OscoreOption::default();
    };
    let there = |rest: &[u8], announced: u8| rest.len().min(announced.into());
    let (number, rest) = rest.split_at(there(rest, flags & 7));
    let value = number
        .iter()
        .fold(0, |n: u64, byte| n << 8 | u64::from(*byte));
    let (kid_context, rest) = match rest.split_first() {
        Some((&len, rest)) if flags & 0x10 != 0 => {
            let (context, rest) = rest.split_at(there(rest, len));
            (Some(context), rest)
        }
        _ => (None, rest),
    };
    OscoreOption {
        partial_iv: (!number.is_empty()).then(|| piv(value % (1 << 40)).unwrap()),
        kid_context,
        kid: (flags & 8 != 0).then_some(rest),
        group_flag: flags & 0x20 != 0,
    }
}

// Covers: GO-B-6.1-01
#[test]
fn threat_24_every_first_byte_at_every_length_is_read_or_refused_for_its_reason() {
    let (mut accepted, mut misread) = (0, 0);
    for flags in 0..=255 {
        for len in 0..=40_usize {
            // contents: zeros, small, ascending, large, so that lengths inside of the value are right and wrong
            for fill in [|_| 0, |_| 1, |at: usize| at as u8, |_| 0xff] {
                let mut value: Vec<u8> = (0..len).map(fill).collect();
                if let Some(first) = value.first_mut() {
                    *first = flags;
                }
                let parsed = OscoreOption::parse(&value);
                assert_eq!(parsed.map(drop), expected(&value), "{value:02x?}");
                if let Ok(option) = parsed {
                    assert_eq!(written(&option), value);
                    assert_eq!(read_without_checks(&value), option);
                    accepted += 1;
                } else {
                    // The control: without the checks it would pass for fields that are written in another way.
                    assert_ne!(written(&read_without_checks(&value)), value);
                    misread += 1;
                }
                if len > 0 && (flags & 0xc0 != 0 || flags & 7 > 5) {
                    assert!(parsed.is_err());
                }
            }
        }
    }
    assert!(accepted > 2_000, "{accepted}");
    assert!(misread > 20_000, "{misread}");
}

#[test]
fn what_does_not_fit_is_not_written() {
    let context = [7; 250];
    let fits = OscoreOption {
        partial_iv: piv(5),
        kid_context: Some(&context),
        kid: Some(b"\x01\x02"),
        group_flag: true,
    };
    assert_eq!(written(&fits).len(), 255);
    let too_long = OscoreOption {
        kid: Some(b"\x01\x02\x03"),
        ..fits
    };
    let mut out = vec![9];
    assert_eq!(too_long.write(&mut out), Err(OptionMalformed::TooLong));
    assert_eq!(out, [9]);
    let long = [7; 256];
    let too_long = OscoreOption {
        kid_context: Some(&long),
        ..OscoreOption::default()
    };
    assert_eq!(too_long.write(&mut out), Err(OptionMalformed::TooLong));
}

proptest! {
    #[test]
    fn fields_survive_the_round_trip(
        number in prop::option::of(0..1_u64 << 40),
        context in prop::option::of(prop::collection::vec(any::<u8>(), 0..=100)),
        kid in prop::option::of(prop::collection::vec(any::<u8>(), 0..=100)),
        group_flag in any::<bool>(),
    ) {
        let partial_iv = number.and_then(PartialIv::new);
        let option = OscoreOption { partial_iv, kid_context: context.as_deref(), kid: kid.as_deref(), group_flag };
        let value = written(&option);
        prop_assert_eq!(OscoreOption::parse(&value), Ok(option));
    }

    /// What is accepted is exactly what would have been written.
    #[test]
    fn accepted_values_have_one_encoding(value in prop::collection::vec(any::<u8>(), 0..=300)) {
        if let Ok(option) = OscoreOption::parse(&value) {
            prop_assert_eq!(written(&option), value);
        }
    }
}

#[test]
fn what_is_wrong_with_an_option_is_said() {
    assert_eq!(
        format!("{}", OptionMalformed::ReservedBits),
        "the OSCORE option has a reserved flag bit set"
    );
    assert_eq!(
        format!("{}", OptionMalformed::NoKid),
        "a request has no kid"
    );
}
