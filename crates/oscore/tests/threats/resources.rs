//! Memory and numbers under load (threats 32, 34 and 35).

use antiphon_oscore::nonce::nonce;
use antiphon_oscore::sequence::MAX_NUMBER;

use crate::floor::*;
use crate::heap;

/// A request under an ID that nobody has, with a ciphertext of nothing.
fn unknown(kid: [u8; 7]) -> Vec<u8> {
    let mut raw = vec![];
    let option = OscoreOption {
        partial_iv: PartialIv::new(5),
        kid_context: Some(GID),
        kid: Some(&kid),
        group_flag: true,
    };
    option.write(&mut raw).unwrap();
    message(Code::POST, 1, &[(OptionNumber::OSCORE, &raw)], &[0; 100])
}

fn number_of(round: u64) -> [u8; 7] {
    let mixed = (round + 1)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .to_be_bytes();
    mixed[..7].try_into().unwrap()
}

#[test]
fn threat_32_a_million_unknown_ids_leave_no_trace_in_memory() {
    let settings = Settings {
        dynamic: true,
        ..Settings::default()
    };
    let mut server = One::new(1, 2, Suite::default(), settings, 0, None);
    let bytes = unknown(number_of(0));
    let at = bytes
        .windows(7)
        .position(|part| part == number_of(0))
        .unwrap();
    let mut probe = bytes.clone();
    let mut flood = |server: &mut One, rounds: core::ops::Range<u64>| {
        for round in rounds {
            probe[at..at + 7].copy_from_slice(&number_of(round));
            let message = Message::parse(&probe).unwrap();
            let refused = server.contexts.begin_request(server.now, &message, true);
            let reason = refused.unwrap_err().reason;
            assert!(matches!(reason, Reason::NoCredential { .. }), "{reason:?}");
        }
    };
    flood(&mut server, 0..10);
    let before = heap::held();
    flood(&mut server, 10..1_000_010);
    assert_eq!(heap::held(), before);
    assert_eq!(server.group().peer_count(), 1);

    // Also if somebody has a credential for every one of them: at most so many are there at a time.
    let with = |provisional| {
        let settings = Settings {
            provisional,
            recipients: usize::MAX,
            ..settings
        };
        let mut server = One::new(1, 2, Suite::default(), settings, 0, None);
        let credential = credential(9);
        let before = heap::held();
        for round in 0..500 {
            let kid = Kid::new(&number_of(round)).unwrap();
            let added = server
                .group()
                .add_peer_on_reception(kid, credential.clone());
            assert_eq!(added, Ok(()));
        }
        (server.group().peer_count(), heap::held() - before)
    };
    let (peers, bytes) = with(16);
    assert_eq!(peers, 1 + 16);
    // The control: without the bound it grows and grows.
    let (all, unbounded) = with(usize::MAX);
    assert_eq!(all, 1 + 500);
    assert!(unbounded > 20 * bytes, "{unbounded} {bytes}");
}

#[test]
fn threat_34_responders_are_counted_after_verification_and_up_to_a_limit() {
    let count = 20;
    let heard = |servers: usize| {
        let settings = Settings {
            servers,
            ..Settings::default()
        };
        let mut members = floor_with(count, Suite::default(), settings);
        let (request, mut asked) = members[0].ask(To::Group, &get(1));
        let mut responses = vec![];
        for server in &mut members[1..] {
            let mut opened = server.hear(&request).unwrap();
            responses.push(server.answer(&mut opened.received, &content(2, b"x"), None));
        }
        // Those that nobody signed take no room. (Once it is remembered that current keys are to be asked for.)
        let mut spoil_all = || {
            for response in &responses {
                let reason = members[0]
                    .listen(&spoiled(response), &mut asked)
                    .unwrap_err();
                assert_eq!(reason, Reason::NotVerified);
            }
            heap::held()
        };
        let before = spoil_all();
        let after = spoil_all();
        assert_eq!((asked.servers(), after - before), (0, 0));
        let taken = responses
            .iter()
            .map(|response| members[0].listen(response, &mut asked));
        let reasons: Vec<_> = taken.filter_map(Result::err).collect();
        assert!(
            reasons
                .iter()
                .all(|reason| *reason == Reason::TooManyServers)
        );
        assert_eq!(asked.servers() + reasons.len(), count - 1);
        asked.servers()
    };
    assert_eq!(heard(8), 8);
    // The control: without the limit everybody is kept.
    assert_eq!(heard(usize::MAX), count - 1);
}

#[test]
fn threat_35_numbers_end_with_a_warning_and_are_never_used_again() {
    let mut members = floor(2);
    let settings = SequenceSettings {
        margin: 6,
        ..SequenceSettings::default()
    };
    let left = 8;
    let start = MAX_NUMBER + 1 - left;
    *members[1].group().sequence_mut().unwrap() = Sequence::exact(start, u64::MAX, settings);
    assert!(!members[1].group().sequence().unwrap().near_exhaustion());
    // Driven by requests, each of which wants an answer with a number of its own.
    let (mut used, mut warned_at) = (vec![], None);
    let refused = loop {
        let (request, _) = members[0].ask(To::Group, &get(1));
        let mut opened = members[1].hear(&request).unwrap();
        match members[1].try_answer(&mut opened.received, &content(2, b"x"), None) {
            Ok(response) => used.push(number(&response).unwrap()),
            Err(refused) => break refused,
        }
        if members[1].group().sequence().unwrap().near_exhaustion() {
            warned_at = warned_at.or(used.last().copied());
        }
        assert!(used.len() < 20);
    };
    assert_eq!(refused, ProtectError::Exhausted);
    let expected: Vec<u64> = (start..=MAX_NUMBER).collect();
    assert_eq!(used, expected, "each once, up to the largest");
    assert_eq!(warned_at, Some(start + 1), "when six were left");
    assert_eq!(
        members[1].try_ask(To::Group, &get(1)).unwrap_err(),
        ProtectError::Exhausted
    );
    // Where no own number is needed, answers go on.
    let (request, _) = members[0].ask(To::Member(kid(1)), &get(1));
    let mut opened = members[1].hear(&request).unwrap();
    assert_eq!(
        number(&members[1].answer(&mut opened.received, &content(2, b"x"), None)),
        None
    );

    // The control: a counter of 40 bits that goes on comes to the nonce of the first message.
    let wrapped = (MAX_NUMBER + 1) & MAX_NUMBER;
    let of = |number| nonce(13, b"\x41", PartialIv::new(number)?, &[3; 13]);
    assert_eq!(of(wrapped), of(0));
    assert_eq!(
        of(MAX_NUMBER + 1),
        None,
        "and no nonce can be made with one of 41 bits"
    );
}
