use std::vec;

use antiphon_wire::{Code, OptionNumber};

use super::super::*;
use super::announcement::plain;
use crate::Request;

const ID: ImageId = ImageId([0xab; 8]);

// Covers: GC-A.3-06
#[test]
fn a_block_is_a_put_with_its_number_in_the_query_and_without_block1() {
    let request = block_request("/a/fw", ID, 1234, vec![1, 2, 3]);
    assert_eq!(request.method, Code::PUT);
    assert!(request.options.all(OptionNumber::URI_PATH).eq([
        &b"a"[..],
        b"fw",
        b"abababababababab"
    ]));
    assert!(request.options.all(OptionNumber::URI_QUERY).eq([b"b=1234"]));
    assert_eq!(
        request.options.get(OptionNumber::NO_RESPONSE),
        Some([26].as_slice())
    );
    assert_eq!(request.options.len(), 5, "neither Block1 nor anything else");
    assert_eq!(request.options.get(OptionNumber::BLOCK1), None);
    assert_eq!(request.payload, [1, 2, 3]);
    let read = Command::Block {
        id: ID,
        block: 1234,
        bytes: &[1, 2, 3],
    };
    assert_eq!(Command::of_request("a/fw", &request), read);
}

#[test]
fn requests_are_recognised_again() {
    let notice = Notice::Announced(plain());
    let request = notice_request("fw", &notice);
    assert_eq!(request.method, Code::POST);
    assert_eq!(
        request.options.get(OptionNumber::CONTENT_FORMAT),
        Some([60].as_slice())
    );
    assert_eq!(
        request.options.get(OptionNumber::NO_RESPONSE),
        Some([26].as_slice())
    );
    assert_eq!(
        Command::of_request("fw", &request),
        Command::Notice(Ok(notice))
    );
    let request = repair_request("fw", ID, 0);
    assert_eq!(
        Command::of_request("fw", &request),
        Command::Repair { id: ID, block: 0 }
    );
    assert_eq!(request.options.get(OptionNumber::NO_RESPONSE), None);
    assert_eq!(
        Command::of_request("fw", &status_request("fw")),
        Command::Status
    );
    assert_eq!(
        Command::of_request("", &status_request("")),
        Command::Status
    );
}

#[test]
fn a_message_is_read_as_the_request_that_it_carries() {
    use antiphon_wire::{Message, MessageId, Token, Type, Writer};
    let request = block_request("fw", ID, 7, vec![9; 16]);
    let mut buffer = [0; 128];
    let mut writer = Writer::new(
        &mut buffer,
        Type::Non,
        request.method,
        MessageId(1),
        Token::EMPTY,
    )
    .unwrap();
    request.options.write(&mut writer).unwrap();
    writer.payload(&request.payload).unwrap();
    let length = writer.finish();
    let message = Message::parse(&buffer[..length]).unwrap();
    let read = Command::Block {
        id: ID,
        block: 7,
        bytes: &[9; 16],
    };
    assert_eq!(Command::of_message("fw", &message), read);
}

#[test]
fn whatever_else_comes_is_told_apart() {
    let id = "abababababababab";
    let at = |method, path: &str| Request::new(method).path(path);
    let cases = [
        (at(Code::GET, "other"), Code::NOT_FOUND),
        (at(Code::GET, ""), Code::NOT_FOUND),
        (at(Code::PUT, "fw"), Code::METHOD_NOT_ALLOWED),
        (
            at(Code::GET, "fw/ABABABABABABABAB").query("b=1"),
            Code::NOT_FOUND,
        ),
        (
            at(Code::GET, &std::format!("fw/{id}/x")).query("b=1"),
            Code::NOT_FOUND,
        ),
        (
            at(Code::POST, &std::format!("fw/{id}")).query("b=1"),
            Code::METHOD_NOT_ALLOWED,
        ),
        (at(Code::PUT, &std::format!("fw/{id}")), Code::BAD_REQUEST),
        (
            at(Code::PUT, &std::format!("fw/{id}"))
                .query("b=1")
                .query("b=1"),
            Code::BAD_REQUEST,
        ),
        (
            at(Code::GET, &std::format!("fw/{id}"))
                .query("b=1")
                .query("c"),
            Code::BAD_REQUEST,
        ),
    ];
    for (request, code) in cases {
        assert_eq!(
            Command::of_request("fw", &request),
            Command::Other(code),
            "{request:?}"
        );
    }
    for number in [
        "",
        "01",
        "00",
        "-1",
        "+1",
        " 1",
        "1x",
        "4294967296",
        "99999999999999999999",
    ] {
        let request = at(Code::PUT, &std::format!("fw/{id}")).query(&std::format!("b={number}"));
        assert_eq!(
            Command::of_request("fw", &request),
            Command::Other(Code::BAD_REQUEST),
            "{number}"
        );
    }
    for (number, block) in [("0", 0), ("10", 10), ("4294967295", u32::MAX)] {
        let request = at(Code::GET, &std::format!("fw/{id}")).query(&std::format!("b={number}"));
        assert_eq!(
            Command::of_request("fw", &request),
            Command::Repair { id: ID, block }
        );
    }
    let request = at(Code::POST, "fw");
    assert_eq!(
        Command::of_request("fw", &request),
        Command::Notice(Err(Malformed))
    );
}
