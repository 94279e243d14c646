//! What is told of contexts, what is forgotten with a group, and when a credential is asked for.

use super::*;

const NOW: Instant = Instant::from_micros(5_000_000);
const MICRO: Duration = Duration::from_micros(1);

fn guard() -> Guard {
    Guard::new(SecurityConfig::default(), &mut Rng::from_seed([1; 32]))
}

fn silent(name: &str) -> Group {
    let suite = Suite::new(
        Hkdf::Sha256,
        None,
        Some(GroupEncryption::A128Ctr),
        Some(SignatureAlgorithm::EdDsa),
        None,
    );
    let parameters = Parameters {
        gid: Gid::new(name.as_bytes()).unwrap(),
        generation: 0,
        master_secret: Secret::new(alloc::vec![1; 16]),
        master_salt: Secret::new(Vec::new()),
        suite: suite.unwrap(),
        format: CredentialFormat::Ccs,
        gm_credential: GroupManagerCredential::no_manager(),
    };
    Group::new(name, parameters, None, Settings::default(), None).unwrap()
}

#[test]
fn each_pair_whose_numbers_are_lost_is_told_once() {
    let mut guard = guard();
    let ids = ["one", "two"].map(|name| guard.contexts.add_pair(pair(name)));
    assert_eq!(guard.poll_event(), None);
    for id in ids {
        let pair = guard.contexts.pair_mut(id).unwrap();
        pair.sequence_mut().mark_lost();
    }
    let told = [guard.poll_event(), guard.poll_event()];
    let lost = ids.map(|id| Some(SecurityEvent::Lost(ContextId::Pair(id))));
    assert!(lost.iter().all(|event| told.contains(event)), "{told:?}");
    assert_eq!(guard.poll_event(), None);
}

#[test]
fn with_a_group_goes_what_was_remembered_of_it_and_of_no_other() {
    let mut guard = guard();
    let groups = ["g", "h"].map(|name| guard.contexts.add_group(silent(name)));
    let kid = Kid::new(&[1]).unwrap();
    for group in groups {
        let id = ContextId::Group(group);
        let reached = Reached {
            identity: 7,
            address: ([10, 0, 0, 1], 5683).into(),
        };
        guard.reached.insert((id, kid), reached);
        guard.unknown.insert((group, kid), NOW);
        guard.warned.push((id, SecurityEvent::Lost(id)));
        guard.reserve_from.insert(id, NOW);
    }
    let [left, stays] = groups;
    guard.forget(left);
    let id = ContextId::Group(stays);
    assert!(guard.reached.keys().eq([&(id, kid)]));
    assert!(guard.unknown.keys().eq([&(stays, kid)]));
    assert_eq!(guard.warned, [(id, SecurityEvent::Lost(id))]);
    assert!(guard.reserve_from.keys().eq([&id]));
}

#[test]
fn a_credential_is_asked_for_again_when_patience_or_the_pause_is_over() {
    let (group, kid) = (some_group(), Kid::new(&[1]).unwrap());
    let source = IpAddr::from([10, 0, 0, 1]);
    let mut guard = guard();
    let work = WorkId(1);
    guard.fetching(NOW, group, kid, work);
    let over = NOW + FETCH_PATIENCE;
    let before = NOW + (FETCH_PATIENCE - MICRO);
    for message in 2..6 {
        assert_eq!(guard.fetch(before, source, group, kid), Fetch::Wait);
        guard.wait_for(group, kid, WorkId(message));
    }
    assert_eq!(
        guard.fetch(before, source, group, kid),
        Fetch::Drop,
        "four wait"
    );
    assert_eq!(guard.fetch(over, source, group, kid), Fetch::Ask);
    guard.unknown.insert((group, kid), over);
    assert_eq!(guard.fetch(before, source, group, kid), Fetch::Drop);
    assert_eq!(guard.fetch(over, source, group, kid), Fetch::Ask);
}
