//! Keys: where they are not to be found, and what a fault or a collision does (threats 47 to 50).

use antiphon_oscore::derive::{Material, Pairwise, pairwise_key};
use antiphon_oscore::record::Record;
use antiphon_oscore::suite::{Advice, Hkdf, KeyAgreement, SignatureAlgorithm, SuiteError};
use p256::elliptic_curve::PrimeField;

use crate::floor::*;
use crate::heap;

/// What no key of ours gives away: the secret that two members agree on.
fn shared_by_hand(one: usize, other: usize) -> Secret {
    let key = |member: usize| {
        let seed: [u8; 32] = key(member).to_bytes().as_bytes().try_into().unwrap();
        ed25519_dalek::SigningKey::from_bytes(&seed)
    };
    let u = key(other).verifying_key().to_montgomery().to_bytes();
    let scalar = x25519_dalek::StaticSecret::from(key(one).to_scalar_bytes());
    Secret::copy_of(scalar.diffie_hellman(&u.into()).as_bytes())
}

/// The secrets of member 1 that its peer 0 has to do with.
fn secrets_of_a_member() -> Vec<Vec<u8>> {
    let suite = Suite::default();
    let master = Secret::copy_of(&MASTER_SECRET);
    let material = Material {
        hkdf: Hkdf::Sha256,
        master_secret: &master,
        master_salt: &[0x7e; 8],
        id_context: Some(GID),
    };
    let shared = shared_by_hand(1, 0);
    let sender_key = |member: usize| material.sender_key(&suite, kid(member).as_bytes()).unwrap();
    let pairwise = |from: usize, to: usize| {
        let (id, sender, receiver) = (kid(from), credential(from), credential(to));
        let parts = Pairwise {
            sender_key: &sender_key(from),
            sender_id: id.as_bytes(),
            sender_credential: sender.bytes(),
            receiver_credential: receiver.bytes(),
            shared_secret: &shared,
            gid: GID,
        };
        pairwise_key(&suite, &parts).unwrap()
    };
    let seek = material.signature_encryption_key(&suite).unwrap();
    [
        &master,
        &sender_key(0),
        &sender_key(1),
        &pairwise(0, 1),
        &pairwise(1, 0),
        &seek,
        &shared,
    ]
    .map(|secret| secret.as_bytes().to_vec())
    .into()
}

/// The life of member 1: requests and answers in both modes, new keys, the end.
fn life(requests: &[Vec<u8>]) {
    let mut one = One::new(1, 4, Suite::default(), Settings::default(), 0, None);
    for request in requests {
        let mut opened = one.hear(request).unwrap();
        one.answer(&mut opened.received, &content(2, b"x"), Some(Mode::Group));
        one.answer(
            &mut opened.received,
            &content(2, b"x"),
            Some(Mode::Pairwise),
        );
        one.ask(To::Member(kid(0)), &get(3));
    }
    let record = Record::Installed(Box::new(one.group().record(None, vec![])));
    let encoded = record.encode();
    assert!(Record::decode(&encoded).is_ok());
    drop((record, encoded));
    one.install(b"Em", 2);
    one.now += Duration::from_secs(100);
    let now = one.now;
    one.contexts.handle_timeout(now);
}

#[test]
fn threat_47_no_secret_is_left_in_memory_that_is_given_back() {
    let secrets = secrets_of_a_member();
    let mut client = One::new(0, 2, Suite::default(), Settings::default(), 0, None);
    let requests = [To::Group, To::Member(kid(1)), To::Member(kid(1))];
    let requests: Vec<_> = requests.map(|to| client.ask(to, &get(1)).0).into();
    for (number, secret) in secrets.iter().enumerate() {
        let left = heap::left_behind(std::slice::from_ref(secret), || life(&requests));
        assert_eq!(left, 0, "secret {number}");
        // The control: in bytes that nobody overwrites it is found.
        let plain = secret.clone();
        let needle = std::slice::from_ref(secret);
        assert_eq!(heap::left_behind(needle, || drop(plain)), 1);
        let held = Secret::new(secret.clone());
        assert_eq!(heap::left_behind(needle, || drop(held)), 0);
    }
}

/// Whether a text shows some bytes: as they are, as hexadecimal digits, or as a list of numbers.
fn shows(text: &str, secret: &[u8]) -> bool {
    let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let squeezed: String = text.chars().filter(|it| !it.is_whitespace()).collect();
    let lower = squeezed.to_lowercase();
    let list: Vec<_> = secret.iter().map(u8::to_string).collect();
    let hex_list: Vec<_> = secret.iter().map(|byte| format!("0x{byte:02x}")).collect();
    let debug = format!("{:?}", String::from_utf8_lossy(secret));
    lower.contains(&hex)
        || squeezed.contains(&list.join(","))
        || lower.contains(&hex_list.join(","))
        || text.contains(debug.trim_matches('"'))
}

#[test]
fn threat_48_nothing_that_is_printed_shows_a_secret() {
    let mut secrets = secrets_of_a_member();
    secrets.push(key(1).to_bytes().as_bytes().to_vec());
    let mut client = One::new(0, 2, Suite::default(), Settings::default(), 0, None);
    let mut one = One::new(1, 2, Suite::default(), Settings::default(), 0, None);
    let mut printed = vec![];
    macro_rules! print {
        ($($value:expr),* $(,)?) => {
            $(printed.push((stringify!($value), format!("{:?} {:#?}", $value, $value)));)*
        };
    }
    let (request, asked) = client.ask(To::Group, &get(1));
    let parsed = Message::parse(&request).unwrap();
    let Ok(Step::Work(opening, job)) = one.contexts.begin_request(one.now, &parsed, false) else {
        panic!()
    };
    print!(request, asked, opening, job);
    let result = job.run(&one.key);
    print!(result);
    let step = one
        .contexts
        .finish_request(one.now, opening, result)
        .unwrap();
    print!(step);
    let Step::Done(Opened::Request(mut opened)) = step else {
        panic!()
    };
    let answer = content(2, b"x");
    let answer = Message::parse(&answer).unwrap();
    let now = one.now;
    let signing = one
        .contexts
        .protect_response(now, &answer, &mut opened.received, None);
    print!(signing, opened.received);
    let job =
        one.contexts
            .protect_response(now, &answer, &mut opened.received, Some(Mode::Pairwise));
    print!(job);
    if let Ok(Protecting::Agree(job)) = job {
        let agreed = job.run(&one.key);
        print!(agreed);
        one.contexts.agreed(agreed).unwrap();
    }
    let installed = one.group().record(Some(key(1).to_bytes()), vec![]);
    let records = [
        Record::Installed(Box::new(installed)),
        one.group().clean_record(),
    ];
    print!(records);
    let restored = antiphon_oscore::record::Restored::fold(records.iter().map(Record::encode));
    print!(restored);
    let (parameters, own) = (
        parameters(b"Em", 2, Suite::default()),
        Own {
            sender_id: kid(1),
            credential: credential(1),
            sequence: sequence_from(0),
        },
    );
    print!(parameters, own, one.key, one.contexts);
    let group = one.group();
    print!(group);
    let pair = PairParameters {
        master_secret: Secret::copy_of(&MASTER_SECRET),
        master_salt: Secret::new(vec![]),
        id_context: None,
        sender_id: kid(1),
        recipient_id: kid(0),
        hkdf: Hkdf::Sha256,
        aead: Aead::AesCcm16_64_128,
    };
    print!(
        pair,
        Pair::new("pair", &pair, sequence_from(0), PairSettings::default())
    );
    for (what, text) in &printed {
        for (number, secret) in secrets.iter().enumerate() {
            assert!(!shows(text, secret), "{what} shows secret {number}");
        }
    }
    // The control: with the derived formatting of plain bytes the scan finds each.
    for secret in &secrets {
        assert!(shows(&format!("{secret:?}"), secret));
        assert!(shows(&format!("{secret:#?}"), secret));
        assert!(shows(
            &format!("key {secret:02x?}").replace(", ", ""),
            secret
        ));
    }
    assert!(shows(&format!("{:?}", b"it is \xe1secret"), b"\xe1secret"));
}

/// The private key that follows from two signatures over one message with the same nonce, where a fault changed the hash
/// of one of them.
fn recovered(good: &[u8], faulty: &[u8], hash: p256::Scalar, wrong: p256::Scalar) -> p256::Scalar {
    let (r, s) = (scalar(&good[..32]), scalar(&good[32..]));
    let nonce = (hash - wrong) * (s - scalar(&faulty[32..])).invert().unwrap();
    (s * nonce - hash) * r.invert().unwrap()
}

fn scalar(bytes: &[u8]) -> p256::Scalar {
    let bytes: [u8; 32] = bytes.try_into().unwrap();
    p256::Scalar::from_repr(bytes.into()).unwrap()
}

#[test]
fn threat_49_a_fault_does_not_reveal_the_key_of_a_hedged_signer() {
    use sha2::{Digest, Sha256};
    let secret = [9; 32];
    let twice = Proof::of_manager(b"sign this twice", b"");
    let message = twice.as_bytes();
    let hash = scalar(&Sha256::digest(message));
    let wrong = hash + p256::Scalar::ONE;
    // What a device gives whose computation is disturbed after the nonce was made: the nonce is that of the signature it
    // would have given.
    let disturbed = |undisturbed: &[u8]| {
        let (r, s) = (scalar(&undisturbed[..32]), scalar(&undisturbed[32..]));
        let signed = r * scalar(&secret);
        let nonce = (hash + signed) * s.invert().unwrap();
        let faulty = nonce.invert().unwrap() * (wrong + signed);
        [&undisturbed[..32], &faulty.to_repr()].concat()
    };
    let key = || SoftwareKey::from_p256_scalar(&secret).unwrap();
    let signatures = |suite: Suite| {
        Suite::new(
            suite.hkdf(),
            None,
            suite.group_encryption(),
            Some(SignatureAlgorithm::Es256),
            None,
        )
    };
    let suite = signatures(Suite::default()).unwrap();
    let sign = |with: &SoftwareKey| twice.make(&suite, with, &key().public()).unwrap();

    let hedged = key().hedged(&[0x5a; 32]);
    let (good, second) = (sign(&hedged), sign(&hedged));
    assert_ne!(good[..32], second[..32], "another nonce each time");
    assert_ne!(
        recovered(&good, &disturbed(&second), hash, wrong),
        scalar(&secret)
    );
    // The control: a signer that makes the same nonce each time.
    let (good, second) = (sign(&key()), sign(&key()));
    assert_eq!(good, second);
    assert_eq!(
        recovered(&good, &disturbed(&second), hash, wrong),
        scalar(&secret)
    );
    // And what a device gave wrongly is not taken by anybody.
    let public = key().public();
    let faulty = disturbed(&second);
    let verify = antiphon_oscore::crypto::verify;
    assert!(verify(&public, SignatureAlgorithm::Es256, message, &faulty).is_err());
    assert!(verify(&public, SignatureAlgorithm::Es256, message, &good).is_ok());
}

#[test]
fn threat_50_short_tags_under_countersignatures_are_advised_against() {
    let of = |pairwise: Aead, group: Aead| {
        Suite::new(
            Hkdf::Sha256,
            Some(pairwise),
            Some(GroupEncryption::Aead(group)),
            Some(SignatureAlgorithm::EdDsa),
            Some(KeyAgreement::EcdhSsHkdf256),
        )
        .unwrap()
    };
    let (long, short) = (Aead::AesCcm16_128_128, Aead::AesCcm16_64_128);
    let advice = |suite: Suite| suite.lint().collect::<Vec<_>>();
    assert_eq!(advice(Suite::default()), [], "the default is long");
    // The control: whoever chooses 8 bytes hears of it.
    assert_eq!(advice(of(long, short)), [Advice::ShortGroupTag]);
    assert!(Advice::ShortGroupTag.to_string().contains("32 bits"));
    let claim = of(long, short).claim_collision_resistance(33);
    let (needed_bits, tag_bits) = (66, 64);
    assert_eq!(
        claim,
        Err(SuiteError::TagTooShort {
            needed_bits,
            tag_bits
        })
    );
    assert_eq!(Suite::default().claim_collision_resistance(64), Ok(()));
    // And it is written down for operators.
    let page = include_str!("../../../../docs/threats.md");
    assert!(page.contains("2^32"));
}
