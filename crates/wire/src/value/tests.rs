use super::*;

#[test]
fn an_integer_takes_as_few_bytes_as_it_can() {
    assert_eq!(encode_uint(0).as_bytes(), b"");
    assert_eq!(encode_uint(255).as_bytes(), b"\xff");
    assert_eq!(encode_uint(256).as_bytes(), b"\x01\x00");
    assert_eq!(encode_uint(u32::MAX).as_bytes(), &[255; 4]);
}
