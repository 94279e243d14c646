use alloc::format;

use super::*;

#[test]
fn the_registered_codes_have_their_numbers_and_names() {
    let registered = [
        (Code::EMPTY, 0, 0, "Empty"),
        (Code::GET, 0, 1, "GET"),
        (Code::POST, 0, 2, "POST"),
        (Code::PUT, 0, 3, "PUT"),
        (Code::DELETE, 0, 4, "DELETE"),
        (Code::FETCH, 0, 5, "FETCH"),
        (Code::PATCH, 0, 6, "PATCH"),
        (Code::IPATCH, 0, 7, "iPATCH"),
        (Code::CREATED, 2, 1, "Created"),
        (Code::DELETED, 2, 2, "Deleted"),
        (Code::VALID, 2, 3, "Valid"),
        (Code::CHANGED, 2, 4, "Changed"),
        (Code::CONTENT, 2, 5, "Content"),
        (Code::CONTINUE, 2, 31, "Continue"),
        (Code::BAD_REQUEST, 4, 0, "Bad Request"),
        (Code::UNAUTHORIZED, 4, 1, "Unauthorized"),
        (Code::BAD_OPTION, 4, 2, "Bad Option"),
        (Code::FORBIDDEN, 4, 3, "Forbidden"),
        (Code::NOT_FOUND, 4, 4, "Not Found"),
        (Code::METHOD_NOT_ALLOWED, 4, 5, "Method Not Allowed"),
        (Code::NOT_ACCEPTABLE, 4, 6, "Not Acceptable"),
        (
            Code::REQUEST_ENTITY_INCOMPLETE,
            4,
            8,
            "Request Entity Incomplete",
        ),
        (Code::CONFLICT, 4, 9, "Conflict"),
        (Code::PRECONDITION_FAILED, 4, 12, "Precondition Failed"),
        (
            Code::REQUEST_ENTITY_TOO_LARGE,
            4,
            13,
            "Request Entity Too Large",
        ),
        (
            Code::UNSUPPORTED_CONTENT_FORMAT,
            4,
            15,
            "Unsupported Content-Format",
        ),
        (Code::UNPROCESSABLE_ENTITY, 4, 22, "Unprocessable Entity"),
        (Code::TOO_MANY_REQUESTS, 4, 29, "Too Many Requests"),
        (Code::INTERNAL_SERVER_ERROR, 5, 0, "Internal Server Error"),
        (Code::NOT_IMPLEMENTED, 5, 1, "Not Implemented"),
        (Code::BAD_GATEWAY, 5, 2, "Bad Gateway"),
        (Code::SERVICE_UNAVAILABLE, 5, 3, "Service Unavailable"),
        (Code::GATEWAY_TIMEOUT, 5, 4, "Gateway Timeout"),
        (Code::PROXYING_NOT_SUPPORTED, 5, 5, "Proxying Not Supported"),
        (Code::HOP_LIMIT_REACHED, 5, 8, "Hop Limit Reached"),
    ];
    for (code, class, detail, name) in registered {
        assert_eq!(code.to_u8(), class * 32 + detail);
        assert_eq!((code.class(), code.detail()), (class, detail));
        assert_eq!(code.name(), Some(name));
        assert_eq!(Code::new(class, detail), Some(code));
    }
    let named = (0..=255)
        .filter(|byte| Code::from_u8(*byte).name().is_some())
        .count();
    assert_eq!(named, registered.len());
}

#[test]
fn class_and_detail_have_limits() {
    assert_eq!(Code::new(7, 31), Some(Code::from_u8(255)));
    assert_eq!(Code::new(8, 0), None);
    assert_eq!(Code::new(0, 32), None);
}

#[test]
fn every_code_is_of_one_kind() {
    for byte in 0..=255 {
        let code = Code::from_u8(byte);
        let kinds = [
            code.is_empty(),
            code.is_request(),
            code.is_response(),
            code.is_reserved(),
        ];
        let expected = match (byte >> 5, byte & 31) {
            (0, 0) => [true, false, false, false],
            (0, _) => [false, true, false, false],
            (2..=5, _) => [false, false, true, false],
            _ => [false, false, false, true],
        };
        assert_eq!(kinds, expected, "{code}");
    }
}

#[test]
fn responses_have_a_class() {
    assert_eq!(Code::CONTENT.response_class(), Some(Class::Success));
    assert_eq!(Code::NOT_FOUND.response_class(), Some(Class::ClientError));
    assert_eq!(Code::BAD_GATEWAY.response_class(), Some(Class::ServerError));
    for code in [
        Code::EMPTY,
        Code::GET,
        Code::from_u8(0x20),
        Code::from_u8(0x60),
        Code::from_u8(0xc0),
    ] {
        assert_eq!(code.response_class(), None);
    }
}

#[test]
fn an_unknown_error_counts_as_the_generic_one_of_its_class() {
    let code = |class, detail| Code::new(class, detail).unwrap();
    assert_eq!(code(4, 30).or_generic(), Code::BAD_REQUEST);
    assert_eq!(code(5, 30).or_generic(), Code::INTERNAL_SERVER_ERROR);
    assert_eq!(code(2, 30).or_generic(), code(2, 30));
    assert_eq!(Code::NOT_FOUND.or_generic(), Code::NOT_FOUND);
    assert_eq!(code(0, 30).or_generic(), code(0, 30));
}

#[test]
fn a_code_is_shown_as_number_and_name() {
    assert_eq!(format!("{}", Code::CONTENT), "2.05 Content");
    assert_eq!(format!("{:?}", Code::CONTENT), "2.05");
    assert_eq!(format!("{:?}", Code::CONTINUE), "2.31");
    assert_eq!(format!("{}", Code::from_u8(0xff)), "7.31");
}
