//! Requests and responses between members, through the public interface.

use super::floor::*;

#[test]
fn a_group_request_is_answered_in_both_modes() {
    let mut floor = Floor::new(3, Suite::default());
    let request = get(1, &[0xaa], "temp");
    let (bytes, mut asked) = floor.ask(0, To::Group, &request);
    assert_eq!(Message::parse(&bytes).unwrap().code(), Code::POST);
    for server in [1, 2] {
        let mut opened = floor.hear(server, &bytes).unwrap();
        assert_eq!(opened.message, request);
        assert_eq!(opened.sender.kid(), kid(0));
        assert_eq!(opened.mode, Mode::Group);
        let answer = content(9, &[0xaa], b"21");
        for mode in [Mode::Group, Mode::Pairwise] {
            let protected = floor.answer(server, &mut opened.received, &answer, Some(mode));
            let response = floor.listen(0, &protected, &mut asked).unwrap();
            assert_eq!(response.message, answer);
            assert_eq!(response.mode, mode);
            assert_eq!(response.sender.kid(), kid(server));
        }
    }
    assert_eq!(asked.servers(), 2);
}

#[test]
fn a_pairwise_request_is_answered_in_both_modes() {
    for mode in [Mode::Group, Mode::Pairwise] {
        let mut floor = Floor::new(3, Suite::default());
        let request = get(1, &[0xaa], "temp");
        let (bytes, mut asked) = floor.ask(0, To::Member(kid(1)), &request);
        let mut opened = floor.hear(1, &bytes).unwrap();
        assert_eq!(opened.message, request);
        assert_eq!(opened.mode, Mode::Pairwise);
        let answer = content(9, &[0xaa], b"21");
        let protected = floor.answer(1, &mut opened.received, &answer, Some(mode));
        let response = floor.listen(0, &protected, &mut asked).unwrap();
        assert_eq!(response.message, answer);
        // Nobody else can read the request.
        assert_eq!(floor.hear(2, &bytes).unwrap_err(), Reason::NotVerified);
    }
}
