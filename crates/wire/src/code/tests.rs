use super::*;
use std::format;

#[test]
fn a_code_is_shown_as_number_and_name() {
    assert_eq!(format!("{}", Code::CONTENT), "2.05 Content");
    assert_eq!(format!("{:?}", Code::CONTENT), "2.05");
    assert_eq!(format!("{}", Code::from_u8(0xff)), "7.31");
}
