//! Who the current members are is said by a plug-in of the application.

use std::sync::{Arc, Mutex};

use super::*;
use crate::expect::{MembershipOracle, StaticMembers};

fn member(n: u16) -> Member {
    Member::named(alloc::format!("m{n}")).at(host(n))
}

fn current(request: GroupRequest) -> GroupRequest {
    GroupRequest {
        expect: Expectation::current(),
        ..request
    }
}

fn knows(oracle: impl MembershipOracle + 'static) -> Client {
    let mut client = Client::fast();
    let oracle = Box::new(oracle);
    client.collections.set_membership_oracle(Some(oracle));
    client
}

impl Client {
    fn expects(&self, id: CollectionId) -> Vec<&str> {
        let expected = self
            .collections
            .status(self.now, id)
            .map_or(0, |s| s.expected);
        let index = |n| MemberIndex(u32::try_from(n).unwrap());
        let name = |n| self.collections.member_name(id, index(n)).unwrap();
        (0..expected).map(name).collect()
    }
}

// Covers: GN-3.2-01, GN-3.2.1-01
#[test]
fn with_an_oracle_of_three_and_three_fresh_answers_nothing_is_sent() {
    let mut client = knows(StaticMembers::new().group(group(1), [1, 2, 3].map(member)));
    let first = client.start(kept(current(get())));
    assert_eq!(client.expects(first), ["m1", "m2", "m3"]);
    client.answer_with(first, host(1), Code::CONTENT, &[(MAX_AGE, &[20])], "a");
    client.answer(first, host(2), "b");
    assert!(!client.is_ended(first));
    client.answer(first, host(3), "c");
    assert!(client.is_ended(first), "all current members have answered");
    assert_eq!(client.sent.len(), 1);

    client.run_until(secs(20));
    let second = client.start(alone(current(get())));
    assert_eq!(client.sent.len(), 1, "nothing is sent");
    assert_eq!(client.delivered(second).len(), 3);
    assert_eq!(client.outcome(second).1.ended_by, EndedBy::AllExpected);
    // One of the three is stale.
    client.run_until(secs(20) + MICRO);
    client.start(alone(current(get())));
    assert_eq!(client.sent.len(), 2);
}

/// Members that come and go.
#[derive(Clone, Default)]
struct Watched(Arc<Mutex<Option<Vec<u16>>>>);

impl MembershipOracle for Watched {
    fn members(&self, targets: &[GroupTarget]) -> Option<Expectation> {
        assert_eq!(targets, [target(1)]);
        let known = self.0.lock().unwrap().clone()?;
        let mut expect = Expectation::nobody();
        for n in known {
            expect.add(member(n));
        }
        Some(expect)
    }
}

// Covers: GN-3.2-01
#[test]
fn the_oracle_is_asked_when_a_question_begins_and_may_not_know() {
    let watched = Watched::default();
    let mut client = knows(watched.clone());
    let nobody = client.start(alone(current(get())));
    assert!(client.expects(nobody).is_empty());
    assert_eq!(client.sent.len(), 1, "members that nobody knows are asked");
    client.answer(nobody, host(1), "a");
    *watched.0.lock().unwrap() = Some(Vec::from([1]));
    let known = client.start(alone(current(get())));
    assert_eq!((client.sent.len(), client.is_ended(known)), (1, true));
    // One that has just joined has no answer in the cache.
    *watched.0.lock().unwrap() = Some(Vec::from([1, 2]));
    let joined = client.start(alone(current(get())));
    assert_eq!(client.expects(joined), ["m1", "m2"]);
    assert_eq!(client.sent.len(), 2);
    // Who states whom it expects is not overruled, nor who expects nobody.
    let stated = client.start(get_from(1));
    assert_eq!(client.expects(stated), ["m1"]);
    let nobody = client.start(get());
    assert!(client.expects(nobody).is_empty());
    // Without an oracle nobody is known.
    client.collections.set_membership_oracle(None);
    let unknown = client.start(alone(current(get())));
    assert!(client.expects(unknown).is_empty());
    assert_eq!(client.sent.len(), 5);
}

// Covers: GN-3.2-01
#[test]
fn a_static_list_knows_its_groups_only_and_members_of_several_once() {
    let second = || Member::named("m1").at(host(11));
    let list = StaticMembers::new()
        .group(group(1), [9].map(member))
        .group(group(1), [1, 2].map(member))
        .group(group(2), [member(3), second()])
        .group(group(3), []);
    let names = |groups: &[u8]| {
        let targets: Vec<_> = groups.iter().map(|n| target(*n)).collect();
        let members = list.members(&targets)?;
        let members = crate::expect::Members::new(members, Rng::from_seed([1; 32]).keyed_hash());
        let members = members.unwrap();
        let all = 0..u32::try_from(members.len()).unwrap();
        let name = |n| alloc::string::String::from(members.name(MemberIndex(n)));
        let addresses = |n| members.addresses(MemberIndex(n)).len();
        Some(all.map(|n| (name(n), addresses(n))).collect::<Vec<_>>())
    };
    let named = |name: &str, addresses| (alloc::string::String::from(name), addresses);
    assert_eq!(names(&[1]), Some(vec![named("m1", 1), named("m2", 1)]));
    let oracle: &dyn MembershipOracle = &list;
    assert_eq!(alloc::format!("{oracle:?}"), "MembershipOracle");
    let both = vec![named("m1", 2), named("m2", 1), named("m3", 1)];
    assert_eq!(names(&[1, 2]), Some(both));
    assert_eq!(names(&[3]), Some(vec![]), "known to be empty");
    assert_eq!(names(&[4]), None);
    assert_eq!(names(&[1, 4]), None, "not all of them are known");
}
