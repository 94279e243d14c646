use alloc::format;

use super::*;

#[test]
fn a_token_has_at_most_eight_bytes() {
    for len in 0..=8 {
        let bytes = [0xa5; 8];
        let token = Token::new(&bytes[..len]).unwrap();
        assert_eq!(token.as_bytes(), &bytes[..len]);
        assert_eq!((token.len(), token.is_empty()), (len, len == 0));
    }
    assert_eq!(Token::new(&[1; 9]), None);
    assert_eq!(Token::new(&[]), Some(Token::EMPTY));
    assert_eq!(
        Token::full([1, 2, 3, 4, 5, 6, 7, 8]),
        Token::new(&[1, 2, 3, 4, 5, 6, 7, 8]).unwrap()
    );
}

#[test]
fn tokens_of_other_length_are_other_tokens() {
    let token = |bytes: &[u8]| Token::new(bytes).unwrap();
    assert_ne!(token(&[]), token(&[0]));
    assert_ne!(token(&[1]), token(&[1, 0]));
    assert_eq!(token(&[1, 0]), token(&[1, 0]));
}

#[test]
fn message_ids_wrap_around() {
    assert_eq!(MessageId(0x7d41).next(), MessageId(0x7d42));
    assert_eq!(MessageId(0xffff).next(), MessageId(0));
}

#[test]
fn tokens_and_message_ids_are_shown_in_hexadecimal() {
    let token = Token::new(&[0x0a, 0xff]).unwrap();
    assert_eq!(format!("{token} {token:?}"), "0aff Token(0aff)");
    assert_eq!(
        format!("{} {:?}", MessageId(0x7d), MessageId(0x7d41)),
        "0x007d 0x7d41"
    );
}
