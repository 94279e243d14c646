use std::vec::Vec;

use super::super::ResponseRefused::{
    ContextRetired, KidChanged, Older, Replayed, SecondWithoutPartialIv,
};
use super::super::*;
use super::{piv, size};

const KID: &[u8] = &[0x52];
const OTHER: &[u8] = &[0x53];

fn strict() -> ResponseOrder {
    ResponseOrder::new(OrderPolicy::default())
}

fn permissive(window: u8) -> ResponseOrder {
    let policy = OrderPolicy {
        older: OlderResponses::Within(size(window)),
        kid_change: KidChange::Followed,
    };
    ResponseOrder::new(policy)
}

fn commit(order: &mut ResponseOrder, number: u64) -> Result<bool, ResponseRefused> {
    order
        .commit(1, KID, Some(piv(number)))
        .map(|order| order.freshest)
}

fn rank(context: u64, change: u8, number: u64) -> Rank {
    Rank::Numbered {
        context,
        change,
        number: piv(number),
    }
}

// Covers: GO-5.3.1-08
#[test]
fn the_strict_policy_takes_newer_responses_only() {
    let mut order = strict();
    assert_eq!(commit(&mut order, 5), Ok(true));
    assert_eq!(commit(&mut order, 9), Ok(true));
    assert_eq!(order.check(1, KID, Some(piv(7))), Err(Older));
    assert_eq!(commit(&mut order, 7), Err(Older));
    assert_eq!(commit(&mut order, 9), Err(Replayed));
    assert_eq!(order.response_number(1), Some(piv(9)));
    let mut order = permissive(32);
    assert_eq!(
        [5, 9, 7].map(|number| commit(&mut order, number)),
        [Ok(true), Ok(true), Ok(false)]
    );
}

// Covers: GO-5.3.1-09, GO-5.3.1-07
#[test]
fn the_permissive_policy_takes_older_responses_once_and_within_its_window() {
    let mut order = permissive(8);
    assert_eq!(commit(&mut order, 10), Ok(true));
    assert_eq!(commit(&mut order, 7), Ok(false));
    assert_eq!(commit(&mut order, 7), Err(Replayed));
    assert_eq!(commit(&mut order, 10), Err(Replayed));
    assert_eq!(
        commit(&mut order, 3),
        Ok(false),
        "the oldest within the window"
    );
    assert_eq!(commit(&mut order, 2), Err(Replayed), "the first one below");
    assert_eq!(commit(&mut order, 1), Err(Replayed));
    assert_eq!(order.response_number(1), Some(piv(10)));
}

// Covers: GO-5.3.1-04, GO-5.3.1-10
#[test]
fn the_response_number_is_the_largest_partial_iv_that_was_committed() {
    for mut order in [strict(), permissive(32)] {
        assert_eq!(order.response_number(1), None);
        order.commit(1, KID, None).unwrap();
        assert_eq!(
            order.response_number(1),
            None,
            "a response without Partial IV does not initialise it"
        );
        commit(&mut order, 5).unwrap();
        assert_eq!(order.response_number(1), Some(piv(5)));
        commit(&mut order, 9).unwrap();
        assert_eq!(order.response_number(1), Some(piv(9)));
        // 12 passes the check but is not verified
        assert_eq!(order.check(1, KID, Some(piv(12))), Ok(()));
        assert_eq!(order.response_number(1), Some(piv(9)));
        assert_eq!(order.response_number(2), None);
    }
    let mut order = permissive(32);
    commit(&mut order, 9).unwrap();
    commit(&mut order, 5).unwrap();
    assert_eq!(
        order.response_number(1),
        Some(piv(9)),
        "an older one does not lower it"
    );
}

// Covers: GO-5.3.1-05, GO-5.3.1-11
#[test]
fn one_response_without_partial_iv_is_taken_and_is_the_oldest() {
    let mut order = permissive(32);
    let first = order.commit(1, KID, Some(piv(0))).unwrap();
    assert_eq!(
        first,
        Order {
            rank: rank(1, 0, 0),
            freshest: true
        }
    );
    let without = order.commit(1, KID, None).unwrap();
    assert_eq!(
        without,
        Order {
            rank: Rank::Oldest,
            freshest: false
        }
    );
    assert_eq!(order.check(1, KID, None), Err(SecondWithoutPartialIv));
    assert_eq!(order.commit(1, KID, None), Err(SecondWithoutPartialIv));
    let newest = order.commit(1, KID, Some(piv(9))).unwrap();
    let late = order.commit(1, KID, Some(piv(7))).unwrap();
    assert_eq!((newest.freshest, late.freshest), (true, false));
    let mut ranks = [newest, without, late, first].map(|order| order.rank);
    ranks.sort();
    assert_eq!(
        ranks,
        [Rank::Oldest, rank(1, 0, 0), rank(1, 0, 7), rank(1, 0, 9)]
    );
}

#[test]
fn what_comes_first_without_partial_iv_is_the_freshest_for_now() {
    for mut order in [strict(), permissive(32)] {
        assert_eq!(
            order.commit(1, KID, None),
            Ok(Order {
                rank: Rank::Oldest,
                freshest: true
            })
        );
        assert_eq!(order.commit(1, KID, None), Err(SecondWithoutPartialIv));
        assert_eq!(commit(&mut order, 0), Ok(true));
    }
    let mut order = strict();
    commit(&mut order, 0).unwrap();
    assert_eq!(
        order.commit(1, KID, None),
        Err(Older),
        "strictly, nothing older is taken"
    );
}

#[test]
fn a_new_context_has_no_response_number_yet() {
    for mut order in [strict(), permissive(32)] {
        order.commit(1, KID, None).unwrap();
        commit(&mut order, 50).unwrap();
        order.retire_before(2);
        assert_eq!(
            (order.response_number(1), order.response_number(2)),
            (None, None)
        );
        assert_eq!(commit(&mut order, 51), Err(ContextRetired));
        let first = order.commit(2, KID, Some(piv(0))).unwrap();
        assert_eq!(
            first,
            Order {
                rank: rank(2, 0, 0),
                freshest: true
            }
        );
        assert!(first.rank > rank(1, 0, 50));
        assert_eq!(order.commit(2, KID, Some(piv(0))), Err(Replayed));
        assert_eq!(
            order.commit(2, KID, None),
            Err(SecondWithoutPartialIv),
            "one in the whole exchange"
        );
    }
}

#[test]
fn a_retained_context_keeps_its_response_number() {
    let mut order = permissive(32);
    commit(&mut order, 50).unwrap();
    order.commit(2, KID, Some(piv(3))).unwrap();
    // the old context is retained: its responses are no replays of the new one, and its replays are known
    assert_eq!(commit(&mut order, 50), Err(Replayed));
    assert_eq!(
        commit(&mut order, 51),
        Ok(false),
        "the new context is fresher"
    );
    assert_eq!(
        (order.response_number(1), order.response_number(2)),
        (Some(piv(51)), Some(piv(3)))
    );
    order.retire_before(2);
    order.retire_before(1);
    assert_eq!(commit(&mut order, 52), Err(ContextRetired));
    assert_eq!(
        order
            .commit(2, KID, Some(piv(4)))
            .map(|order| order.freshest),
        Ok(true)
    );
}

#[test]
fn strictly_a_late_first_response_of_the_retained_context_is_older() {
    let mut order = strict();
    order.commit(2, KID, Some(piv(3))).unwrap();
    assert_eq!(commit(&mut order, 51), Err(Older));
    let mut order = permissive(32);
    order.commit(2, KID, Some(piv(3))).unwrap();
    assert_eq!(commit(&mut order, 51), Ok(false));
}

#[test]
fn another_kid_is_not_taken_by_default() {
    let mut order = strict();
    assert_eq!(order.kid(), None);
    commit(&mut order, 5).unwrap();
    assert_eq!(order.kid(), Some(KID));
    assert_eq!(order.check(1, OTHER, Some(piv(6))), Err(KidChanged));
    assert_eq!(order.commit(1, OTHER, Some(piv(6))), Err(KidChanged));
    assert_eq!(order.commit(1, OTHER, None), Err(KidChanged));
    assert_eq!(
        (order.kid(), order.response_number(1)),
        (Some(KID), Some(piv(5)))
    );
    order.retire_before(2);
    assert_eq!(
        order.commit(2, OTHER, Some(piv(0))),
        Err(KidChanged),
        "kid1 lasts as long as the exchange"
    );
    assert_eq!(
        order
            .commit(2, KID, Some(piv(0)))
            .map(|order| order.freshest),
        Ok(true)
    );
}

#[test]
fn a_kid_that_is_followed_has_a_response_number_of_its_own() {
    let mut order = permissive(32);
    commit(&mut order, 5).unwrap();
    let changed = order.commit(1, OTHER, Some(piv(0))).unwrap();
    assert_eq!(
        changed,
        Order {
            rank: rank(1, 1, 0),
            freshest: true
        }
    );
    assert_eq!(order.response_number(1), Some(piv(0)));
    assert_eq!(
        commit(&mut order, 5),
        Err(Replayed),
        "the old kid's numbers are still known"
    );
    assert_eq!(commit(&mut order, 6), Ok(false));
    assert_eq!(order.commit(1, OTHER, Some(piv(0))), Err(Replayed));
    assert_eq!(order.kid(), Some(KID), "kid1 stays");
    // under a new context the count of changes begins again
    assert_eq!(
        order.commit(2, OTHER, Some(piv(0))).unwrap().rank,
        rank(2, 0, 0)
    );
}

#[test]
fn what_is_kept_of_a_server_is_bounded() {
    let mut order = permissive(32);
    let kids: Vec<[u8; 1]> = (0..5).map(|kid| [kid]).collect();
    for kid in &kids[..ResponseOrder::NUMBERS] {
        order.commit(1, kid, Some(piv(0))).unwrap();
    }
    assert_eq!(order.check(1, &kids[4], Some(piv(0))), Err(KidChanged));
    assert_eq!(order.commit(1, &kids[4], Some(piv(0))), Err(KidChanged));
    assert_eq!(order.commit(1, &kids[0], Some(piv(0))), Err(Replayed));
    order.retire_before(2);
    order.commit(2, &kids[4], Some(piv(0))).unwrap();
}

// Covers: GO-5.3.1-03, GO-5.3.1-06
#[test]
fn servers_have_response_numbers_of_their_own() {
    let mut servers = [strict(), strict(), strict()];
    for (server, numbers) in servers.iter_mut().zip([[7, 8], [7, 100], [2, 7]]) {
        for number in numbers {
            assert_eq!(commit(server, number), Ok(true));
        }
    }
    assert_eq!(
        servers.each_ref().map(|server| server.response_number(1)),
        [8, 100, 7].map(|n| Some(piv(n)))
    );
    assert_eq!(commit(&mut servers[2], 7), Err(Replayed));
}

#[test]
fn an_own_response_number_belongs_to_each_id_of_a_server() {
    let policy = OrderPolicy {
        older: OlderResponses::Refused,
        kid_change: KidChange::Followed,
    };
    let mut order = ResponseOrder::new(policy);
    assert!(order.commit(1, KID, Some(piv(5))).unwrap().freshest);
    // Under the same context the numbers of the new ID begin anew.
    let second = order.commit(1, OTHER, Some(piv(3))).unwrap();
    assert_eq!((second.rank, second.freshest), (rank(1, 1, 3), true));
    assert_eq!(order.check(1, OTHER, Some(piv(3))), Err(Replayed));
    assert_eq!(order.check(1, OTHER, Some(piv(2))), Err(Older));
    assert_eq!(order.check(1, OTHER, Some(piv(4))), Ok(()));
    assert_eq!(order.check(1, KID, Some(piv(6))), Ok(()));
    // Behind a newer context it is too late for them.
    assert!(order.commit(2, KID, Some(piv(0))).unwrap().freshest);
    assert_eq!(order.check(1, b"new", Some(piv(9))), Err(Older));
    assert_eq!(order.check(2, b"new", Some(piv(0))), Ok(()));
}
