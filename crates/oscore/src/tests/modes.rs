//! With which algorithm and key each mode protects, and who can open it (draft sections 7 and 8).

use super::floor::*;
use crate::aad::{Aad, GroupAad, OscoreAad};
use crate::crypto::AeadKey;
use crate::derive::{KeystreamOf, Material, Pairwise, keystream, pairwise_key};
use crate::nonce::{PartialIv, nonce};
use crate::option::OscoreOption;
use crate::suite::{Aead, GroupEncryption, Hkdf, KeyAgreement, SignatureAlgorithm};

const PAIRWISE: Aead = Aead::A128Gcm;
const GROUP: Aead = Aead::AesCcm16_64_128;

/// One cipher for pairs, another for the group.
fn two_ciphers() -> Suite {
    Suite::new(
        Hkdf::Sha256,
        Some(PAIRWISE),
        Some(GroupEncryption::Aead(GROUP)),
        Some(SignatureAlgorithm::EdDsa),
        Some(KeyAgreement::EcdhSsHkdf256),
    )
    .unwrap()
}

/// What a message is opened with by hand.
#[derive(Clone, Copy)]
struct Bound<'a> {
    gid: &'a [u8],
    request_kid: usize,
    request_piv: u64,
    request_gid: &'a [u8],
    sender: usize,
    /// Whose number, and which, the nonce is made of.
    nonce: (usize, u64),
}

fn aad(bytes: &[u8], bound: Bound<'_>) -> Aad {
    let suite = two_ciphers();
    let (client, raw, sender) = (
        kid(bound.request_kid),
        option(bytes),
        credential(bound.sender),
    );
    let manager = parameters(GID, 1, suite).gm_credential;
    let parts = GroupAad {
        suite: &suite,
        request_kid: client.as_bytes(),
        request_piv: PartialIv::new(bound.request_piv).unwrap(),
        class_i_options: &[],
        request_kid_context: bound.request_gid,
        oscore_option: &raw,
        sender_credential: sender.bytes(),
        group_manager_credential: manager.as_bytes(),
    };
    Aad::group(&parts, vec![])
}

/// Opens the ciphertext of `bytes` with `algorithm` under `key`.
fn open_with(bytes: &[u8], bound: Bound<'_>, algorithm: Aead, key: &Secret) -> Option<Vec<u8>> {
    let suite = two_ciphers();
    let message = Message::parse(bytes).unwrap();
    let signature = match option(bytes).first().is_some_and(|flags| flags & 0x20 != 0) {
        true => 64,
        false => 0,
    };
    let payload = message.payload();
    let mut body = payload[..payload.len() - signature].to_vec();
    let parameters = parameters(bound.gid, 1, suite);
    let common_iv = material(&parameters).common_iv(&suite).unwrap();
    let piv = PartialIv::new(bound.nonce.1).unwrap();
    let id = kid(bound.nonce.0);
    let nonce = nonce(
        algorithm.nonce_len(),
        id.as_bytes(),
        piv,
        common_iv.as_bytes(),
    )
    .unwrap();
    let key = AeadKey::new(algorithm, key.as_bytes()).unwrap();
    let mut aad = aad(bytes, bound);
    let opened = key.open(nonce.as_bytes(), aad.enc_structure(), &mut body);
    opened.ok().map(|()| body)
}

fn material(parameters: &Parameters) -> Material<'_> {
    Material {
        hkdf: Hkdf::Sha256,
        master_secret: &parameters.master_secret,
        master_salt: parameters.master_salt.as_bytes(),
        id_context: Some(parameters.gid.as_bytes()),
    }
}

fn sender_key(gid: &[u8], member: usize) -> Secret {
    let parameters = parameters(gid, 1, two_ciphers());
    let key = material(&parameters).sender_key(&two_ciphers(), kid(member).as_bytes());
    key.unwrap()
}

/// The key for pairwise messages from one to another.
fn pair_key(gid: &[u8], from: usize, to: usize) -> Secret {
    let shared = key(from).agree_with(&key(to).public()).unwrap();
    let key_of_sender = sender_key(gid, from);
    let (sender_id, own, peer) = (kid(from), credential(from), credential(to));
    let parts = Pairwise {
        sender_key: &key_of_sender,
        sender_id: sender_id.as_bytes(),
        sender_credential: own.bytes(),
        receiver_credential: peer.bytes(),
        shared_secret: &shared,
        gid,
    };
    pairwise_key(&two_ciphers(), &parts).unwrap()
}

/// The plaintext of a message without class U options: code, options, payload.
fn plaintext(plain: &[u8]) -> Vec<u8> {
    let message = Message::parse(plain).unwrap();
    [&[message.code().to_u8()][..], message.options_and_payload()].concat()
}

/// A plaintext of 20 bytes: code, Uri-Path of 17 with its head (2).
fn twenty_bytes() -> Vec<u8> {
    get(1, &[0xaa], "0123456789abcdefg")
}

fn of_request(number: u64) -> Bound<'static> {
    Bound {
        gid: GID,
        request_kid: 0,
        request_piv: number,
        request_gid: GID,
        sender: 0,
        nonce: (0, number),
    }
}

// Covers: GO-7.1-01, GO-7.1-02, GO-7.1-08, GO-7.2-12, GO-15.1-01, GC-5-02
#[test]
fn a_request_in_group_mode_has_the_group_encryption_algorithm() {
    let mut floor = Floor::new(3, two_ciphers());
    let plain = twenty_bytes();
    assert_eq!(plaintext(&plain).len(), 20);
    let (signed, _) = floor.ask(0, To::Group, &plain);
    let (paired, _) = floor.ask(0, To::Member(kid(1)), &plain);
    assert_eq!(option(&signed)[0], 0x39);
    assert_eq!(option(&signed)[0] ^ option(&paired)[0], 0x20);
    // 20 bytes, a tag of 8, a countersignature of 64.
    assert_eq!(Message::parse(&signed).unwrap().payload().len(), 92);
    assert!(floor.hear(2, &signed[..signed.len() - 64]).is_err());
    let key = sender_key(GID, 0);
    let opened = open_with(&signed, of_request(0), GROUP, &key).unwrap();
    assert_eq!(opened, plaintext(&plain));
    assert_eq!(open_with(&signed, of_request(0), PAIRWISE, &key), None);
    assert_eq!(floor.hear(1, &signed).unwrap().message, plain);
    assert_eq!(floor.hear(2, &signed).unwrap().message, plain);
    // The other mode, of the same context: the other algorithm, with the key of the two.
    let key = pair_key(GID, 0, 1);
    let opened = open_with(&paired, of_request(1), PAIRWISE, &key).unwrap();
    assert_eq!(opened, plaintext(&plain));
    assert_eq!(floor.hear(1, &paired).unwrap().message, plain);
    assert_eq!(floor.hear(2, &paired).unwrap_err(), Reason::NotVerified);
}

// Covers: GO-7.3-05, GO-7.3-10, GO-7.4-14, GO-8.5-03
#[test]
fn a_response_has_the_algorithm_of_its_own_mode() {
    for mode in [Mode::Group, Mode::Pairwise] {
        let mut floor = Floor::new(2, two_ciphers());
        let (bytes, mut asked) = floor.ask(0, To::Group, &twenty_bytes());
        let mut opened = floor.hear(1, &bytes).unwrap();
        let answer = content(2, &[0xaa], b"21 degrees");
        let response = floor.answer(1, &mut opened.received, &answer, Some(mode));
        let bound = Bound {
            sender: 1,
            nonce: (1, 0),
            ..of_request(0)
        };
        let with = |algorithm, key: &Secret| open_with(&response, bound, algorithm, key);
        let (right, wrong, key, other) = match mode {
            Mode::Group => (GROUP, PAIRWISE, sender_key(GID, 1), sender_key(GID, 0)),
            _ => (PAIRWISE, GROUP, pair_key(GID, 1, 0), pair_key(GID, 0, 1)),
        };
        assert_eq!(option(&response)[0] & 0x20 != 0, mode == Mode::Group);
        assert_eq!(with(right, &key), Some(plaintext(&answer)));
        assert_eq!(with(wrong, &key), None);
        assert_eq!(with(right, &other), None);
        let heard = floor.listen(0, &response, &mut asked).unwrap();
        assert_eq!((heard.message, heard.mode), (answer, mode));
    }
}

// Covers: GO-3-01, GO-3.1-01, GO-14.18-01
#[test]
fn the_countersignature_is_a_countersignature0_and_goes_encrypted() {
    let mut floor = Floor::new(2, two_ciphers());
    let suite = two_ciphers();
    let numbers = [0, 1].map(|number| {
        let (bytes, _) = floor.ask(0, To::Group, &twenty_bytes());
        let payload = Message::parse(&bytes).unwrap().payload().to_vec();
        let (ciphertext, encrypted) = payload.split_at(payload.len() - 64);
        let parameters = parameters(GID, 1, suite);
        let key = material(&parameters)
            .signature_encryption_key(&suite)
            .unwrap();
        let client = kid(0);
        let of = KeystreamOf {
            partial_iv: PartialIv::new(number).unwrap(),
            id: client.as_bytes(),
            gid: GID,
            request: true,
        };
        let stream = keystream(Hkdf::Sha256, &key, SignatureAlgorithm::EdDsa, &of).unwrap();
        let mut signature = encrypted.to_vec();
        stream.apply(&mut signature).unwrap();
        // Countersign_structure of version 2 for an abbreviated countersignature (RFC 9338, section 3.3): no other
        // fields, as there is only one string after the protected headers besides external_aad.
        let external = aad(&bytes, of_request(number)).array().to_vec();
        let mut signed = vec![];
        let mut cbor = minicbor::Encoder::new(&mut signed);
        cbor.array(5).unwrap().str("CounterSignature0").unwrap();
        cbor.bytes(&[]).unwrap().bytes(&[]).unwrap();
        cbor.bytes(&external).unwrap().bytes(ciphertext).unwrap();
        let public = key_bytes(0);
        let public = ed25519_dalek::VerifyingKey::from_bytes(&public).unwrap();
        let mine: [u8; 64] = signature.clone().try_into().unwrap();
        let mine = ed25519_dalek::Signature::from_bytes(&mine);
        assert!(public.verify_strict(&signed, &mine).is_ok());
        // Enc_structure: protected header empty.
        let mut expected = vec![];
        let mut cbor = minicbor::Encoder::new(&mut expected);
        cbor.array(3).unwrap().str("Encrypt0").unwrap();
        cbor.bytes(&[]).unwrap().bytes(&external).unwrap();
        let mut made = aad(&bytes, of_request(number));
        assert_eq!(made.enc_structure(), expected);
        let opened = open_with(&bytes, of_request(number), GROUP, &sender_key(GID, 0));
        assert_eq!(opened, Some(plaintext(&twenty_bytes())));
        // What is sent is not the signature itself, and its stream is another one for each number.
        assert_ne!(signature, encrypted);
        let stream: Vec<u8> = signature
            .iter()
            .zip(encrypted)
            .map(|(a, b)| a ^ b)
            .collect();
        stream
    });
    assert_ne!(numbers[0], numbers[1]);
}

fn key_bytes(member: usize) -> [u8; 32] {
    let (x, _) = key(member).public().coordinates();
    x.try_into().unwrap()
}

// Covers: GO-2.5.4-02, GO-8-05, GC-5-05, GO-14.9-01, GO-14.9-02, GO-8.1-01
#[test]
fn a_pairwise_message_is_for_one_member() {
    let mut floor = Floor::new(4, two_ciphers());
    let plain = twenty_bytes();
    // For one member there is no choice: pairwise mode, where the group has it.
    for (number, to) in [(0, 1), (1, 2)] {
        let (bytes, asked) = floor.ask(0, To::Member(kid(to)), &plain);
        assert_eq!(
            (asked.mode(), asked.intended()),
            (Mode::Pairwise, Some(kid(to)))
        );
        assert_eq!(option(&bytes)[0] & 0x20, 0);
        for member in [1, 2, 3] {
            let with = open_with(
                &bytes,
                of_request(number),
                PAIRWISE,
                &pair_key(GID, 0, member),
            );
            assert_eq!(with.is_some(), member == to);
            assert_eq!(floor.hear(member, &bytes).is_ok(), member == to);
        }
    }
    let (_, asked) = floor.ask(0, To::Group, &plain);
    assert_eq!((asked.mode(), asked.intended()), (Mode::Group, None));
    // Not to somebody whose credential is not known; and no number is used up.
    let next = floor.members[0].group().sequence().unwrap().next();
    let refused = floor.members[0]
        .try_ask(To::Member(kid(9)), &plain)
        .unwrap_err();
    assert_eq!(refused, ProtectError::UnknownMember);
    assert_eq!(floor.members[0].group().sequence().unwrap().next(), next);
}

// Covers: GO-8.4-04, GC-6.3-01
#[test]
fn of_pairwise_requests_the_genuine_one_counts_once() {
    let mut floor = Floor::new(3, two_ciphers());
    let plain = twenty_bytes();
    for to in [To::Member(kid(1)), To::Group] {
        let (bytes, first) = floor.ask(0, to, &plain);
        let (_, second) = floor.ask(0, to, &plain);
        assert_eq!(
            second.partial_iv().value(),
            first.partial_iv().value() + 1,
            "each request has a number of its own"
        );
        let number = first.partial_iv();
        let check = |floor: &mut Floor| {
            let peer = floor.members[1].group().peer(kid(0)).unwrap();
            peer.window().check(number).is_ok()
        };
        let mut forged = bytes.clone();
        let last = forged.len() - 1;
        forged[last] ^= 0x80;
        assert_eq!(floor.hear(1, &forged).unwrap_err(), Reason::NotVerified);
        assert!(check(&mut floor));
        assert_eq!(floor.hear(1, &bytes).unwrap().message, plain);
        assert!(!check(&mut floor));
        assert_eq!(floor.hear(1, &bytes).unwrap_err(), Reason::Replayed);
    }
}

// Covers: GO-8.6-02, GO-8.6-03
#[test]
fn of_pairwise_responses_the_genuine_one_counts_once() {
    let mut floor = Floor::new(3, two_ciphers());
    let (bytes, mut asked) = floor.ask(0, To::Group, &twenty_bytes());
    let mut opened = floor.hear(1, &bytes).unwrap();
    let mut other = floor.hear(2, &bytes).unwrap();
    let answer = content(2, &[0xaa], b"21");
    let mine = floor.answer(1, &mut opened.received, &answer, Some(Mode::Pairwise));
    // The number is the same, and so is the option but for the name: with the key of another server.
    let theirs = floor.answer(2, &mut other.received, &answer, Some(Mode::Pairwise));
    let renamed = {
        let mut raw = option(&theirs);
        *raw.last_mut().unwrap() = kid(1).as_bytes()[0];
        let parsed = Message::parse(&theirs).unwrap();
        let options = [(OptionNumber::OSCORE, &raw[..])];
        message(
            Type::Non,
            Code::CHANGED,
            2,
            &[0xaa],
            &options,
            parsed.payload(),
        )
    };
    let mut flipped = mine.clone();
    let last = flipped.len() - 1;
    flipped[last] ^= 1;
    for forged in [&renamed, &flipped] {
        let refused = floor.listen(0, forged, &mut asked).unwrap_err();
        assert_eq!(refused, Reason::NotVerified);
        assert_eq!(asked.servers(), 0);
    }
    assert_eq!(floor.listen(0, &mine, &mut asked).unwrap().message, answer);
    assert_eq!(
        floor.listen(0, &mine, &mut asked).unwrap_err(),
        Reason::Replayed
    );
    // New keys: the windows begin anew, and the same rules hold under them.
    for member in 0..2 {
        super::install::install(&mut floor.members[member], seconds(1001));
    }
    let peer = floor.members[0].group().peer(kid(1)).unwrap();
    assert_eq!(peer.window().lower_limit(), Some(0));
    let mine = floor.answer(1, &mut opened.received, &answer, Some(Mode::Pairwise));
    assert_eq!(floor.listen(0, &mine, &mut asked).unwrap().message, answer);
    assert_eq!(
        floor.listen(0, &mine, &mut asked).unwrap_err(),
        Reason::Replayed
    );
}

// Covers: GO-7.3-01, GO-7.3-02, GO-7.3-03, GO-7.2-16, GO-14.5-03, GO-8.5-01
#[test]
fn a_long_exchange_is_bound_to_its_request_whatever_came_since() {
    const NEW: &[u8] = super::install::NEW;
    for mode in [Mode::Group, Mode::Pairwise] {
        let mut floor = Floor::new(2, two_ciphers());
        let to = match mode {
            Mode::Group => To::Group,
            _ => To::Member(kid(1)),
        };
        let observe = [(OptionNumber::OBSERVE, &[][..])];
        let plain = message(Type::Non, Code::GET, 1, &[0xaa], &observe, b"");
        let (bytes, mut asked) = floor.ask(0, to, &plain);
        let mut opened = floor.hear(1, &bytes).unwrap();
        // The inner Observe option is empty, so that the plaintext can be compared.
        let answer = message(Type::Non, Code::CONTENT, 2, &[0xaa], &observe, b"21");
        let mut number = None;
        for round in 0..4 {
            if round == 2 {
                // New keys for both, and a new Sender ID for the client.
                for member in 0..2 {
                    super::install::install(&mut floor.members[member], seconds(1001));
                }
                let client = floor.members[0].group();
                let prepared = client.prepare_sender_id(kid(7), 100).unwrap();
                client.commit_sender_id(prepared).unwrap();
                let server = floor.members[1].group();
                server.remove_peer(kid(0));
                server.add_peer(kid(7), credential(0)).unwrap();
                number = None;
            }
            let response = floor.answer(1, &mut opened.received, &answer, Some(mode));
            let raw = option(&response);
            let option = OscoreOption::parse(&raw).unwrap();
            let gid = if round < 2 { GID } else { NEW };
            assert_eq!(option.kid_context, (round >= 2).then_some(NEW));
            let own = option.partial_iv.map(|piv| piv.value());
            // Only the first one in pairwise mode, under the keys of the request, goes without.
            assert_eq!(own.is_none(), mode == Mode::Pairwise && round == 0);
            if let Some(own) = own {
                assert!(number.is_none_or(|before| own == before + 1));
                number = Some(own);
            }
            let by_hand = |request_kid, request_gid, nonce| {
                let bound = Bound {
                    gid,
                    request_kid,
                    request_piv: 0,
                    request_gid,
                    sender: 1,
                    nonce,
                };
                let (algorithm, key) = match mode {
                    Mode::Group => (GROUP, sender_key(gid, 1)),
                    // The key of the two does not depend on the ID of the one who receives.
                    _ => (PAIRWISE, pair_key(gid, 1, 0)),
                };
                open_with(&response, bound, algorithm, &key)
            };
            let nonce = own.map_or((0, 0), |own| (1, own));
            assert_eq!(by_hand(0, GID, nonce), Some(plaintext(&answer)), "{round}");
            if round >= 2 {
                assert_eq!(by_hand(0, NEW, nonce), None, "the present Gid");
                assert_eq!(by_hand(7, GID, nonce), None, "the present ID");
                assert_eq!(by_hand(0, GID, (0, 0)), None, "the nonce of the request");
            }
            let heard = floor.listen(0, &response, &mut asked).unwrap();
            let heard = Message::parse(&heard.message).unwrap();
            assert_eq!(heard.payload(), b"21");
        }
    }
}

// Covers: GO-7.4-13, GO-7.4-15, GC-6.2.2-02, GC-5-04, GO-7.2-08
#[test]
fn nothing_is_decrypted_before_its_countersignature_is_verified() {
    for dynamic in [false, true] {
        let settings = Settings {
            dynamic,
            retention: seconds(9),
            retained_requests: true,
            fresh_within: seconds(9999),
            ..Settings::default()
        };
        let mut floor = Floor::with(2, two_ciphers(), settings);
        let (bytes, mut asked) = floor.ask(0, To::Group, &twenty_bytes());
        // One bit of the countersignature: ciphertext and tag are right.
        let mut bad = bytes.clone();
        let first = bad.len() - 64;
        bad[first] ^= 1;
        let one = &mut floor.members[1];
        one.contexts.scratch.body = b"untouched".to_vec();
        assert_eq!(one.hear(&bad).unwrap_err(), Reason::NotVerified);
        assert_eq!(one.contexts.scratch.body, b"untouched");
        let mut opened = one.hear(&bytes).unwrap();
        assert_eq!(one.contexts.scratch.body, plaintext(&twenty_bytes()));
        let answer = content(2, &[0xaa], b"21");
        let response = floor.answer(1, &mut opened.received, &answer, Some(Mode::Group));
        let mut bad = response.clone();
        let first = bad.len() - 64;
        bad[first] ^= 1;
        let client = &mut floor.members[0];
        client.contexts.scratch.body = b"untouched".to_vec();
        assert_eq!(
            client.listen(&bad, &mut asked).unwrap_err(),
            Reason::NotVerified
        );
        assert_eq!(client.contexts.scratch.body, b"untouched");
        // Shorter than signature, tag and a byte: refused before anything.
        let (bytes, _) = floor.ask(0, To::Group, &twenty_bytes());
        let head = bytes.len() - 92;
        for length in [1, 63, 64, 64 + 8] {
            let refused = floor.hear(1, &bytes[..head + length]).unwrap_err();
            assert_eq!(refused, Reason::Malformed, "{length}");
        }
        let refused = floor.hear(1, &bytes[..head + 64 + 8 + 1]).unwrap_err();
        assert_eq!(refused, Reason::NotVerified);
        assert!(floor.listen(0, &response, &mut asked).is_ok());
    }
}

// Covers: GO-8.2-01
#[test]
fn a_pairwise_message_is_no_message_of_plain_oscore() {
    let mut floor = Floor::new(2, two_ciphers());
    let plain = twenty_bytes();
    let (bytes, _) = floor.ask(0, To::Member(kid(1)), &plain);
    let key = pair_key(GID, 0, 1);
    let with = |aad: &[u8]| {
        let suite = two_ciphers();
        let parameters = parameters(GID, 1, suite);
        let common_iv = material(&parameters).common_iv(&suite).unwrap();
        let nonce = nonce(
            PAIRWISE.nonce_len(),
            kid(0).as_bytes(),
            PartialIv::ZERO,
            common_iv.as_bytes(),
        );
        let mut body = Message::parse(&bytes).unwrap().payload().to_vec();
        let cipher = AeadKey::new(PAIRWISE, key.as_bytes()).unwrap();
        cipher
            .open(nonce.unwrap().as_bytes(), aad, &mut body)
            .map(|()| body)
    };
    let mut of_group = aad(&bytes, of_request(0));
    assert_eq!(with(of_group.enc_structure()).unwrap(), plaintext(&plain));
    let client = kid(0);
    let parts = OscoreAad {
        aead: PAIRWISE,
        request_kid: client.as_bytes(),
        request_piv: PartialIv::ZERO,
        class_i_options: &[],
    };
    assert!(with(Aad::oscore(&parts, vec![]).enc_structure()).is_err());
    // And with the key of the group it is none either.
    assert_eq!(
        open_with(&bytes, of_request(0), PAIRWISE, &sender_key(GID, 0)),
        None
    );
}

fn limited(modes: Modes) -> Settings {
    Settings {
        modes,
        ..Settings::default()
    }
}

// Covers: GO-2-07, GO-8-04
#[test]
fn an_endpoint_may_do_without_one_of_the_modes() {
    let plain = twenty_bytes();
    for (modes, has) in [
        (Modes::Both, [true, true]),
        (Modes::Group, [true, false]),
        (Modes::Pairwise, [false, true]),
    ] {
        let [group, pairwise] = has;
        let mut floor = Floor::new(2, two_ciphers());
        floor.members[1] = Floor::with(2, two_ciphers(), limited(modes))
            .members
            .remove(1);
        let (signed, mut for_many) = floor.ask(0, To::Group, &plain);
        let (paired, _) = floor.ask(0, To::Member(kid(1)), &plain);
        let lacks = |mode| Some(Reason::ModeUnavailable(mode));
        let refused = floor.hear(1, &signed).err();
        assert_eq!(refused, lacks(Mode::Group).filter(|_| !group));
        let opened = floor.hear(1, &paired);
        assert_eq!(opened.is_ok(), pairwise);
        if let Err(reason) = opened {
            assert_eq!(Some(reason), lacks(Mode::Pairwise));
        }
        // It sends what it has, and nothing else.
        let one = &mut floor.members[1];
        let refused = one.try_ask(To::Group, &plain).err();
        let expected = Some(ProtectError::ModeUnavailable);
        assert_eq!(refused, expected.filter(|_| !group));
        let (bytes, asked) = one.try_ask(To::Member(kid(0)), &plain).unwrap();
        let mode = if pairwise {
            Mode::Pairwise
        } else {
            Mode::Group
        };
        assert_eq!(asked.mode(), mode);
        assert_eq!(floor.hear(0, &bytes).unwrap().mode, mode);
        // Responses, too.
        let heard = match pairwise {
            true => floor.ask(0, To::Member(kid(1)), &plain),
            false => floor.ask(0, To::Group, &plain),
        };
        let mut heard = floor.hear(1, &heard.0).unwrap();
        let answer = content(2, &[0xaa], b"1");
        for (mode, available) in [(Mode::Group, group), (Mode::Pairwise, pairwise)] {
            let made = floor.members[1].try_answer(&mut heard.received, &answer, Some(mode));
            assert_eq!(made.err(), expected.filter(|_| !available));
        }
        let server = content(2, &[0xaa], b"1");
        let mut from = Floor::new(2, two_ciphers());
        let mut opened = from.hear(1, &signed).unwrap();
        let response = from.answer(1, &mut opened.received, &server, Some(Mode::Group));
        assert!(floor.listen(0, &response, &mut for_many).is_ok());
        // Without the pairwise mode no challenge could be answered: what needs one is discarded.
        floor.members[1].group().windows_unknown();
        let (bytes, _) = match group {
            true => floor.ask(0, To::Group, &plain),
            false => floor.ask(0, To::Member(kid(1)), &plain),
        };
        let said = floor.members[1].hear_any(&bytes, false);
        match pairwise {
            true => assert!(matches!(said, Ok(Opened::Challenge(_)))),
            false => assert_eq!(said.unwrap_err().reason, Reason::WindowInvalid),
        }
        // And to challenge everybody is refused from the start, and at new keys.
        let settings = Settings {
            freshness: Freshness::FirstContact,
            ..limited(modes)
        };
        let make = |suite| {
            let own = super::floor::own(1);
            Group::new("x", parameters(GID, 1, suite), Some(own), settings, None)
        };
        let refused = make(two_ciphers()).err();
        let expected = Some(GroupError::EchoNeedsPairwise);
        assert_eq!(refused, expected.filter(|_| !pairwise));
        let group_only = Suite::from_ids(5, None, Some(10), Some(-8), None).unwrap();
        match group {
            true => {
                let mut one = make(group_only).unwrap();
                let new = parameters(b"new", 2, two_ciphers());
                let refused = one.prepare_install(new, None, Stale::All, 9).err();
                let expected = expected.map(InstallError::Group);
                assert_eq!(refused, expected.filter(|_| !pairwise));
            }
            false => assert_eq!(make(group_only).err(), Some(GroupError::NoMode)),
        }
    }
    // A silent server has nothing but the group mode.
    let parameters = parameters(GID, 1, two_ciphers());
    let silent = Group::new("x", parameters, None, limited(Modes::Pairwise), None);
    assert_eq!(silent.err(), Some(GroupError::NoMode));
}

#[test]
fn threat_49_a_wrong_own_countersignature_is_not_sent() {
    let plain = twenty_bytes();
    let message = Message::parse(&plain).unwrap();
    for check in [false, true] {
        let settings = Settings {
            check_own_signatures: check,
            ..Settings::default()
        };
        let mut floor = Floor::with(2, two_ciphers(), settings);
        let (bytes, _) = floor.ask(0, To::Group, &plain);
        let mut opened = floor.hear(1, &bytes).unwrap();
        for response in [false, true] {
            let one = &mut floor.members[usize::from(response)];
            let signing = match response {
                false => {
                    let id = one.group.into();
                    one.contexts
                        .protect_request(one.now, id, &message, To::Group)
                }
                true => {
                    let answer = content(2, &[0xaa], b"1");
                    let answer = Message::parse(&answer).unwrap();
                    let to = &mut opened.received;
                    one.contexts
                        .protect_response(one.now, &answer, to, Some(Mode::Group))
                }
            };
            let Ok(Protecting::Sign(signing)) = signing else {
                panic!()
            };
            let mut signature = one.key.sign(&signing.to_be_signed()).unwrap();
            signature[40] ^= 4;
            let refused = signing.finish(&signature).err();
            assert_eq!(refused, Some(ProtectError::KeyFailure).filter(|_| check));
        }
        // The right one goes out.
        let (bytes, _) = floor.ask(0, To::Group, &plain);
        assert!(floor.hear(1, &bytes).is_ok());
    }
}
