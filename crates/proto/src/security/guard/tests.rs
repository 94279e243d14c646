//! Reservations, counters and what is remembered, by themselves.

mod remembered;
mod reservations;

use antiphon_oscore::credential::CredentialFormat;
use antiphon_oscore::secret::Secret;
use antiphon_oscore::sequence::SequenceSettings;
use antiphon_oscore::suite::{Aead, GroupEncryption, Hkdf, SignatureAlgorithm, Suite};
use antiphon_oscore::{
    Gid, Group, GroupManagerCredential, Mode, Pair, PairParameters, PairSettings, Parameters,
    Settings,
};

use super::*;

/// A context of two devices under this name.
fn pair(name: &str) -> Pair {
    let parameters = PairParameters {
        master_secret: Secret::new(alloc::vec![1; 16]),
        master_salt: Secret::new(Vec::new()),
        id_context: Gid::new(name.as_bytes()),
        sender_id: Kid::new(&[1]).unwrap(),
        recipient_id: Kid::new(&[2]).unwrap(),
        hkdf: Hkdf::Sha256,
        aead: Aead::AesCcm16_64_128,
    };
    let sequence = Sequence::new(SequenceSettings::default());
    Pair::new(name, &parameters, sequence, PairSettings::default()).unwrap()
}

/// The name of a group of a silent server.
fn some_group() -> GroupId {
    let suite = Suite::new(
        Hkdf::Sha256,
        None,
        Some(GroupEncryption::A128Ctr),
        Some(SignatureAlgorithm::EdDsa),
        None,
    );
    let parameters = Parameters {
        gid: Gid::new(b"g").unwrap(),
        generation: 0,
        master_secret: Secret::new(alloc::vec![1; 16]),
        master_salt: Secret::new(Vec::new()),
        suite: suite.unwrap(),
        format: CredentialFormat::Ccs,
        gm_credential: GroupManagerCredential::no_manager(),
    };
    let group = Group::new("g", parameters, None, Settings::default(), None).unwrap();
    Contexts::new().add_group(group)
}

#[test]
fn each_reason_is_counted_under_its_name() {
    let kid = Kid::new(&[1]).unwrap();
    let group = some_group();
    type Read = fn(&SecurityCounters) -> u64;
    let reasons: [(Reason, Read); 17] = [
        (Reason::Malformed, |c| c.malformed),
        (Reason::NoContext, |c| c.no_context),
        (Reason::NoCredential { group, kid }, |c| c.no_credential),
        (Reason::Replayed, |c| c.replayed),
        (Reason::WindowInvalid, |c| c.window_invalid),
        (Reason::NotVerified, |c| c.not_verified),
        (Reason::ModeUnavailable(Mode::Pairwise), |c| {
            c.mode_unavailable
        }),
        (Reason::OwnKid, |c| c.own),
        (Reason::Lost, |c| c.lost),
        (Reason::Installing, |c| c.superseded),
        (Reason::Superseded, |c| c.superseded),
        (Reason::WrongResult, |c| c.superseded),
        (Reason::OtherMember, |c| c.other_member),
        (Reason::KidChanged, |c| c.other_member),
        (Reason::TooManyServers, |c| c.other_member),
        (Reason::Content, |c| c.content),
        (Reason::KeyFailure, |c| c.key_failures),
    ];
    for (reason, counter) in reasons {
        let mut counters = SecurityCounters::default();
        counters.count(reason);
        assert_eq!(counter(&counters), 1, "{reason:?}");
        counters.count(reason);
        assert_eq!(counter(&counters), 2, "{reason:?}");
    }
}

#[test]
fn a_store_that_fails_holds_up_its_own_context_alone() {
    let mut guard = Guard::new(SecurityConfig::default(), &mut Rng::from_seed([1; 32]));
    for name in ["one", "two"] {
        guard.contexts.add_pair(pair(name));
    }
    let start = Instant::from_millis(5_000);
    let (first, _) = guard.poll_reservation(start).unwrap();
    let failed = first.context;
    guard.reserved(start, first, false);
    let (second, _) = guard.poll_reservation(start).unwrap();
    assert_ne!(second.context, failed);
    guard.reserved(start, second, true);
    assert!(guard.poll_reservation(start).is_none());
    let again = start + guard.config.store_again_after;
    assert_eq!(guard.next_timeout(None), Some(again));
    let before = Instant::ZERO + again.since(Instant::from_micros(1));
    assert!(guard.poll_reservation(before).is_none());
    assert!(!guard.handle_timeout(start) && guard.handle_timeout(again));
    assert!(!guard.handle_timeout(again), "once");
    let (third, _) = guard.poll_reservation(again).unwrap();
    assert_eq!(third.context, failed);
    assert_eq!(guard.next_timeout(None), None);
}

#[test]
fn each_table_has_its_part_in_the_memory() {
    let none = SecurityConfig {
        sources: 0,
        addresses: 0,
        ..SecurityConfig::default()
    };
    let sources = SecurityConfig {
        sources: 10,
        ..none.clone()
    };
    let addresses = SecurityConfig {
        addresses: 10,
        ..none.clone()
    };
    let grown = Budgets::memory_total(10) - Budgets::memory_total(0);
    assert_eq!(sources.memory_total() - none.memory_total(), 3 * grown);
    let place = size_of::<((ContextId, Kid), Reached)>() + 1;
    assert_eq!(addresses.memory_total() - none.memory_total(), 40 * place);
    let unknown = UNKNOWN * 3 * size_of::<((GroupId, Kid), Instant)>();
    let outer = crate::endpoint::outer_memory(none.unfragmented);
    assert!(outer > 0);
    let rest = 3 * Budgets::memory_total(0) + Budgets::memory_total(1) + 256;
    assert_eq!(none.memory_total(), rest + outer + unknown);
}

#[test]
fn the_worst_state_of_a_context_is_the_one_that_is_told() {
    let id: ContextId = some_group().into();
    for (lost, used, near, event) in [
        (false, false, false, None),
        (false, false, true, Some(SecurityEvent::NearExhaustion(id))),
        (false, true, true, Some(SecurityEvent::Exhausted(id))),
        (true, true, true, Some(SecurityEvent::Lost(id))),
    ] {
        assert_eq!(state(id, lost, used, near), (id, event));
    }
}

#[test]
fn a_store_that_failed_is_tried_again_at_its_time_and_not_only_after_it() {
    let mut guard = Guard::new(SecurityConfig::default(), &mut Rng::from_seed([1; 32]));
    let parameters = PairParameters {
        master_secret: Secret::new(alloc::vec![1; 16]),
        master_salt: Secret::new(Vec::new()),
        id_context: None,
        sender_id: Kid::new(&[1]).unwrap(),
        recipient_id: Kid::new(&[2]).unwrap(),
        hkdf: Hkdf::Sha256,
        aead: Aead::AesCcm16_64_128,
    };
    let sequence = Sequence::new(SequenceSettings::default());
    let pair = Pair::new("one", &parameters, sequence, PairSettings::default());
    guard.contexts.add_pair(pair.unwrap());
    let start = Instant::from_millis(5_000);
    let (reservation, _) = guard.poll_reservation(start).unwrap();
    guard.reserved(start, reservation, false);
    let again = start + guard.config.store_again_after;
    assert!(guard.poll_reservation(again).is_some());
}

#[test]
fn a_credential_that_was_not_found_is_looked_for_again_at_its_time() {
    let mut guard = Guard::new(SecurityConfig::default(), &mut Rng::from_seed([1; 32]));
    let who = (some_group(), Kid::new(&[1]).unwrap());
    guard.unknown.insert(who, Instant::from_micros(5_000));
    guard.handle_timeout(Instant::from_micros(4_999));
    assert!(guard.unknown.contains_key(&who));
    guard.handle_timeout(Instant::from_micros(5_000));
    assert!(guard.unknown.is_empty());
}
