use super::*;

#[test]
fn a_token_has_at_most_eight_bytes() {
    assert_eq!(Token::new(&[1; 8]).unwrap().as_bytes(), &[1; 8]);
    assert_eq!(Token::new(&[1; 9]), None);
}
