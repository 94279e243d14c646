use super::*;

#[test]
fn a_message_is_written_byte_for_byte() {
    let mut buf = [0; 64];
    let token = Token::new(b"\xab\xcd").unwrap();
    let mut writer =
        Writer::new(&mut buf, Type::Non, Code::CONTENT, MessageId(0x7d41), token).unwrap();
    writer.option(OptionNumber::ETAG, b"\x07").unwrap();
    writer
        .uint_option(OptionNumber::CONTENT_FORMAT, 40)
        .unwrap();
    writer.payload(b"on").unwrap();
    let len = writer.finish();
    assert_eq!(
        &buf[..len],
        b"\x52\x45\x7d\x41\xab\xcd\x41\x07\x81\x28\xffon"
    );
}
