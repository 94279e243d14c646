use super::*;

#[test]
fn a_known_option_of_wrong_length_counts_as_unrecognised() {
    assert_eq!(
        OptionNumber::ETAG.check(&[0; 9], 0),
        Err(OptionError::Length {
            found: 9,
            min: 1,
            max: 8
        })
    );
    assert_eq!(OptionNumber::ETAG.check(&[0; 8], 0), Ok(()));
}
