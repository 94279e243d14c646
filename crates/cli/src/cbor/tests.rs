use super::*;
use crate::hex;

fn diag(hex_text: &str) -> String {
    read(&hex::parse(hex_text).unwrap()).unwrap().diagnostic()
}

#[test]
fn shows_the_examples_of_rfc_8949_appendix_a() {
    for (bytes, text) in [
        ("00", "0"),
        ("1864", "100"),
        ("1bffffffffffffffff", "18446744073709551615"),
        ("3bffffffffffffffff", "-18446744073709551616"),
        ("20", "-1"),
        ("3903e7", "-1000"),
        ("f90000", "0.0"),
        ("f98000", "-0.0"),
        ("f93c00", "1.0"),
        ("fb3ff199999999999a", "1.1"),
        ("f97bff", "65504.0"),
        ("fa47c35000", "100000.0"),
        ("f90001", "5.960464477539063e-8"),
        ("f90400", "6.103515625e-5"),
        ("f9c400", "-4.0"),
        ("f97c00", "Infinity"),
        ("f97e00", "NaN"),
        ("f9fc00", "-Infinity"),
        ("f4", "false"),
        ("f5", "true"),
        ("f6", "null"),
        ("f7", "undefined"),
        ("f0", "simple(16)"),
        ("f8ff", "simple(255)"),
        ("c11a514b67b0", "1(1363896240)"),
        ("d74401020304", "23(h'01020304')"),
        ("40", "h''"),
        ("6449455446", "\"IETF\""),
        ("62225c", "\"\\\"\\\\\""),
        ("8301820203820405", "[1, [2, 3], [4, 5]]"),
        ("a201020304", "{1: 2, 3: 4}"),
        ("a26161016162820203", "{\"a\": 1, \"b\": [2, 3]}"),
        ("5f42010243030405ff", "h'0102030405'"),
        ("7f657374726561646d696e67ff", "\"streaming\""),
        ("9f018202039f0405ffff", "[1, [2, 3], [4, 5]]"),
        ("bf61610161629f0203ffff", "{\"a\": 1, \"b\": [2, 3]}"),
    ] {
        assert_eq!(diag(bytes), text, "{bytes}");
    }
}

#[test]
fn every_half_survives_the_way_to_a_float_and_back() {
    for bits in 0..=u16::MAX {
        let value = half_to_f64(bits);
        if value.is_nan() {
            assert_eq!(f64_to_half(value), Some(0x7e00));
        } else {
            assert_eq!(f64_to_half(value), Some(bits), "{bits:#06x}");
        }
    }
    for lossy in [
        0.1,
        65_505.0,
        65_520.0,
        1.0 + f64::powi(2.0, -11),
        f64::powi(2.0, -25),
        3.0 * f64::powi(2.0, -25),
    ] {
        assert_eq!(f64_to_half(lossy), None, "{lossy}");
    }
}

#[test]
fn writes_the_shortest_form() {
    for (json, bytes) in [
        ("0", "00"),
        ("23", "17"),
        ("24", "1818"),
        ("256", "190100"),
        ("18446744073709551615", "1bffffffffffffffff"),
        ("-1", "20"),
        ("-9223372036854775808", "3b7fffffffffffffff"),
        ("1.5", "f93e00"),
        ("100000.0", "fa47c35000"),
        ("1.1", "fb3ff199999999999a"),
        ("[]", "80"),
        (
            "{\"on\": true, \"level\": [1, null, \"x\"]}",
            "a2626f6ef5656c6576656c8301f66178",
        ),
    ] {
        assert_eq!(
            hex::plain(&Value::from_json(json.as_bytes()).unwrap().to_bytes()),
            bytes,
            "{json}"
        );
    }
    let far = Value::Negative(u64::MAX);
    assert_eq!(hex::plain(&far.to_bytes()), "3bffffffffffffffff");
    assert_eq!(read(&far.to_bytes()).unwrap(), far);
}

#[test]
fn what_was_read_is_written_again() {
    for bytes in [
        "a3016161f9c400d81844deadbeef8101f7",
        "f6",
        "f8ff",
        "c249010000000000000000",
    ] {
        let raw = hex::parse(bytes).unwrap();
        assert_eq!(read(&raw).unwrap().to_bytes(), raw);
    }
}

#[test]
fn refuses_what_is_not_well_formed_and_says_where() {
    for (bytes, offset) in [
        ("", 0),
        ("18", 0),
        ("8201", 2),
        ("0001", 1),
        ("ff", 0),
        ("1c", 0),
        ("f93c", 0),
        ("9f01", 2),
        ("a101", 2),
        ("62ff", 0),
    ] {
        let raw = hex::parse(bytes).unwrap();
        let error = read(&raw).unwrap_err();
        assert_eq!(error.offset, offset, "{bytes}: {error}");
    }
    // Announced, not there: refused without reserving memory for it.
    assert!(read(&hex::parse("9bffffffffffffffff").unwrap()).is_err());
    assert!(read(&hex::parse("5bffffffffffffffff").unwrap()).is_err());
    // Text that is not UTF-8.
    assert!(read(&[0x61, 0xff]).is_err());
}

#[test]
fn nesting_is_bounded_in_both_directions() {
    let nest = |levels: usize| {
        let mut bytes = vec![0x81; levels];
        bytes.push(0x00);
        bytes
    };
    assert!(read(&nest(MAX_NESTING)).is_ok());
    assert_eq!(
        read(&nest(MAX_NESTING + 1)).unwrap_err().offset,
        MAX_NESTING + 1
    );
    assert!(
        read(&vec![0xc1; 100_000])
            .unwrap_err()
            .to_string()
            .contains("nested deeper")
    );

    let json = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
    assert!(Value::from_json(json(MAX_NESTING).as_bytes()).is_ok());
    let refused = Value::from_json(json(MAX_NESTING + 1).as_bytes()).unwrap_err();
    assert!(refused.to_string().contains("nested deeper than 64 levels"));
    assert!(Value::from_json(json(100_000).as_bytes()).is_err());
}

#[test]
fn json_with_a_repeated_key_or_a_tail_is_refused() {
    let twice = Value::from_json(b"{\"a\":1,\"a\":2}")
        .unwrap_err()
        .to_string();
    assert!(twice.contains("\"a\" occurs twice"), "{twice}");
    assert!(Value::from_json(b"1 2").is_err());
    assert!(Value::from_json(b"").is_err());
}

#[test]
fn becomes_json_by_section_6_1() {
    let bytes = hex::parse("a5 0101 6161 41ff 6162 f7 6163 c11864 6164 f97e00").unwrap();
    assert_eq!(
        read(&bytes).unwrap().to_json(),
        serde_json::json!({"1": 1, "a": "_w", "b": null, "c": 100, "d": null})
    );
}

#[test]
fn a_wide_item_is_broken_into_lines() {
    let value = Value::from_json(b"{\"name\":\"kitchen\",\"list\":[1,2,3]}").unwrap();
    assert_eq!(
        value.diagnostic_block(80),
        "{\"name\": \"kitchen\", \"list\": [1, 2, 3]}"
    );
    assert_eq!(
        value.diagnostic_block(24),
        "{\n  \"name\": \"kitchen\",\n  \"list\": [1, 2, 3]\n}"
    );
}

#[test]
fn sequences_are_read_to_the_end() {
    assert_eq!(read_sequence(&[]).unwrap(), vec![]);
    assert_eq!(
        read_sequence(&[1, 2]).unwrap(),
        vec![Value::Unsigned(1), Value::Unsigned(2)]
    );
    assert_eq!(read_sequence(&[1, 0x18]).unwrap_err().offset, 1);
}

#[test]
fn text_in_an_item_cannot_steer_a_terminal() {
    let mut bytes = vec![0x65];
    bytes.extend_from_slice(b"\x1b[2Jx");
    assert_eq!(read(&bytes).unwrap().diagnostic(), "\"\\u001b[2Jx\"");
}
