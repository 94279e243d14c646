use super::*;

#[test]
fn a_message_is_read_field_by_field() {
    let bytes = b"\x52\x45\x7d\x41\xab\xcd\x41\x07\x81\x28\xffon";
    let message = Message::parse(bytes).unwrap();
    assert_eq!(message.kind(), Type::Non);
    assert_eq!(message.code(), Code::CONTENT);
    assert_eq!(message.message_id(), MessageId(0x7d41));
    assert_eq!(message.token().as_bytes(), b"\xab\xcd");
    assert_eq!(message.option(OptionNumber::ETAG), Some(&b"\x07"[..]));
    assert_eq!(message.uint(OptionNumber::CONTENT_FORMAT), Some(40));
    assert_eq!(message.options().count(), 2);
    assert_eq!(message.payload(), b"on");
    assert_eq!(message.options_and_payload(), b"\x41\x07\x81\x28\xffon");
    assert_eq!(message.as_bytes(), bytes);
}
