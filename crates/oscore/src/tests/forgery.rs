//! What an attacker does to messages, and a member to another.

use proptest::prelude::*;

use super::floor::*;
use super::naive;
use crate::aad::{Aad, GroupAad, OscoreAad};
use crate::crypto::{AeadKey, CryptoError};
use crate::option::OscoreOption;
use crate::suite::{GroupEncryption, Hkdf, SignatureAlgorithm};

/// Everything of a member that a message could move, as bytes.
fn state(one: &mut One) -> (Vec<u8>, usize, u64) {
    let record = one.group().clean_record();
    let numbers = one.group().sequence().unwrap().next();
    (record.encode().to_vec(), one.group().peer_count(), numbers)
}

// Covers: GO-7-06, GO-7.2-09, GO-7.2-10, GO-B-8.2-05
#[test]
fn no_message_with_a_flipped_bit_is_opened_or_moves_anything() {
    for to in [To::Group, To::Member(kid(1))] {
        let mut floor = Floor::new(2, Suite::default());
        let request = get(1, &[0xaa], "temp");
        let (bytes, _) = floor.ask(0, to, &request);
        // The keys between the two are worked out, so that pairwise messages take the short way.
        let before = {
            let (other, _) = floor.ask(0, To::Member(kid(1)), &request);
            floor.hear(1, &other).unwrap();
            state(&mut floor.members[1])
        };
        // What stands behind header and token: option and payload. (Type, code, Message ID and token are not protected.)
        for bit in 5 * 8..bytes.len() * 8 {
            let mut forged = bytes.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            if let Ok(message) = Message::parse(&forged) {
                if message.option(OptionNumber::OSCORE).is_none() {
                    continue; // another option: not a protected message at all
                }
                assert!(floor.hear(1, &forged).is_err(), "bit {bit}");
                assert_eq!(state(&mut floor.members[1]), before, "bit {bit}");
            }
        }
        assert_eq!(floor.hear(1, &bytes).unwrap().message, request);
        assert_ne!(state(&mut floor.members[1]), before);
        assert_eq!(floor.hear(1, &bytes).unwrap_err(), Reason::Replayed);
    }
}

// Covers: GO-7.4-05, GO-7.4-08, GO-7.4-18
#[test]
fn no_response_with_a_flipped_bit_is_opened_or_moves_anything() {
    for mode in [Mode::Group, Mode::Pairwise] {
        let mut floor = Floor::new(2, Suite::default());
        let (bytes, mut asked) = floor.ask(0, To::Group, &get(1, &[0xaa], "temp"));
        let mut opened = floor.hear(1, &bytes).unwrap();
        let answer = content(2, &[0xaa], b"21 degrees");
        let response = floor.answer(1, &mut opened.received, &answer, Some(mode));
        for bit in 5 * 8..response.len() * 8 {
            let mut forged = response.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            if Message::parse(&forged).is_ok() {
                assert!(floor.listen(0, &forged, &mut asked).is_err(), "bit {bit}");
                assert_eq!(asked.servers(), 0, "bit {bit}");
            }
        }
        assert_eq!(
            floor.listen(0, &response, &mut asked).unwrap().message,
            answer
        );
        assert_eq!(asked.servers(), 1);
    }
}

// Covers: GO-7.2-11, GO-7.2-20, GO-B-8.2-04
#[test]
fn a_wrong_signature_and_a_wrong_tag_are_told_apart_by_nobody() {
    let mut floor = Floor::new(3, Suite::default());
    let request = get(1, &[0xaa], "temp");
    let (signed, _) = floor.ask(0, To::Group, &request);
    let (paired, _) = floor.ask(0, To::Member(kid(1)), &request);
    for mut forged in [signed, paired] {
        let last = forged.len() - 1;
        forged[last] ^= 1;
        let reason = floor.hear(1, &forged).unwrap_err();
        assert_eq!(reason, Reason::NotVerified);
        let answer = reason.answer(false).unwrap();
        assert_eq!(answer.code, Code::BAD_REQUEST);
        assert_eq!(answer.text, Some("Decryption failed"));
        assert!(answer.max_age_zero);
    }
}

// Covers: GO-4.1-04, GO-4.1-05, GO-6-05
#[test]
fn threat_10_a_message_whose_mode_is_flipped_is_refused() {
    let mut floor = Floor::new(3, Suite::default());
    let request = get(1, &[0xaa], "temp");
    let (signed, _) = floor.ask(0, To::Group, &request);
    let (paired, _) = floor.ask(0, To::Member(kid(1)), &request);
    assert_eq!(option(&signed)[0] & 0x20, 0x20);
    assert_eq!(option(&paired)[0] & 0x20, 0);
    let at = 4 + 1 + 1; // header, token, option header
    for (bytes, cut) in [(&signed, 0), (&signed, 64), (&paired, 0)] {
        let mut forged = bytes[..bytes.len() - cut].to_vec();
        assert_eq!(forged[at], option(bytes)[0]);
        forged[at] ^= 0x20;
        let reason = floor.hear(1, &forged).unwrap_err();
        let short = bytes.len() == paired.len();
        let expected = if short {
            Reason::Malformed
        } else {
            Reason::NotVerified
        };
        assert_eq!(reason, expected);
    }
    // Unflipped, both are taken.
    assert!(floor.hear(1, &signed).is_ok());
    assert!(floor.hear(1, &paired).is_ok());
    // The control: a reader that does not authenticate the flag, and has the same keys in both modes. It misses no signature in what is
    // now a message in pairwise mode, and takes what is in pairwise mode for signed.
    let one = &mut floor.members[1];
    let flipped = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        bytes[at] ^= 0x20;
        bytes
    };
    let mut unsigned = flipped(&signed);
    let end = unsigned.len() - 64;
    unsigned[end..].fill(0); // `naive` wants as many bytes there
    for (forged, as_sent, keys) in [
        (unsigned, option(&signed), Mode::Group),
        (flipped(&paired), option(&paired), Mode::Pairwise),
    ] {
        let plaintext = naive::decrypt(one, keys, &forged, &as_sent);
        assert_eq!(plaintext.unwrap(), b"\x01\xb4temp");
        // Either defence is enough: the authenticated flag, the keys of the mode that the flag says.
        let authenticated = naive::decrypt(one, keys, &forged, &option(&forged));
        assert_eq!(authenticated, Err(Reason::NotVerified));
        let other = match keys {
            Mode::Group => naive::decrypt(one, Mode::Pairwise, &forged, &as_sent),
            _ => naive::decrypt(one, Mode::Group, &with_room(&forged), &as_sent),
        };
        assert_eq!(other, Err(Reason::NotVerified));
    }
}

/// A message with room for a signature.
fn with_room(bytes: &[u8]) -> Vec<u8> {
    let payload = Message::parse(bytes).unwrap().payload().to_vec();
    naive::with_payload(bytes, &[&payload[..], &[0; 64]].concat())
}

// Covers: GO-4.1-01, GO-4.1-02
#[test]
fn threat_24_truncated_messages_are_refused() {
    let mut floor = Floor::new(2, Suite::default());
    let request = get(1, &[0xaa], "temp");
    let plain = 1 + 5; // code, Uri-Path
    for (to, length) in [
        (To::Group, plain + 16 + 64),
        (To::Member(kid(1)), plain + 16),
    ] {
        let (bytes, _) = floor.ask(0, to, &request);
        assert_eq!(Message::parse(&bytes).unwrap().payload().len(), length);
        for cut in 1..length {
            let short = &bytes[..bytes.len() - cut];
            let reason = floor.hear(1, short).unwrap_err();
            let least = length - plain + 1;
            let expected = match length - cut < least {
                true => Reason::Malformed,
                false => Reason::NotVerified,
            };
            assert_eq!(reason, expected, "{cut} bytes missing");
        }
        assert!(floor.hear(1, &bytes).is_ok());
    }
    // The control: with encryption that has no tag, whoever does not verify the signature reads another value.
    let (counter, signature) = (GroupEncryption::A128Ctr, SignatureAlgorithm::EdDsa);
    let suite = Suite::new(Hkdf::Sha256, None, Some(counter), Some(signature), None).unwrap();
    let mut floor = Floor::new(2, suite);
    let path = [(OptionNumber::URI_PATH, &b"lamp"[..])];
    let (bytes, _) = floor.ask(
        0,
        To::Group,
        &message(Type::Non, Code::PUT, 1, &[0xaa], &path, b"100"),
    );
    let mut payload = Message::parse(&bytes).unwrap().payload().to_vec();
    payload.remove(payload.len() - 64 - 1);
    let short = naive::with_payload(&bytes, &payload);
    assert_eq!(floor.hear(1, &short).unwrap_err(), Reason::NotVerified);
    let plaintext = naive::decrypt(&mut floor.members[1], Mode::Group, &short, &option(&short));
    assert_eq!(plaintext.unwrap(), b"\x03\xb4lamp\xff10");
    assert!(floor.hear(1, &bytes).is_ok());
}

// Covers: GO-7.2-06, GO-7.2-07
#[test]
fn threat_08_a_member_cannot_sign_for_another() {
    // Member 2 knows the key material of the group, and so the Sender Key of member 0; not its private key.
    let mut floor = Floor::new(3, Suite::default());
    let mut impostor = {
        let own = Own {
            sender_id: kid(0),
            credential: credential(0),
            sequence: sequence(),
        };
        let parameters = parameters(GID, 1, Suite::default());
        let group = Group::new("lights", parameters, Some(own), Settings::default(), None);
        let mut contexts = Contexts::new();
        let group = contexts.add_group(group.unwrap());
        One {
            contexts,
            group,
            key: key(2),
            now: seconds(1),
        }
    };
    let (forged, _) = impostor
        .try_ask(To::Group, &get(1, &[0xaa], "lock"))
        .unwrap();
    assert_eq!(floor.hear(1, &forged).unwrap_err(), Reason::NotVerified);
    // The control: whoever looks at the tag alone takes it for a message of member 0. The tag tells strangers only.
    let one = &mut floor.members[1];
    let plaintext = naive::decrypt(one, Mode::Group, &forged, &option(&forged));
    assert_eq!(plaintext.unwrap(), b"\x01\xb4lock");
    let mut strange = forged.clone();
    strange[forged.len() - 64 - 1] ^= 1;
    let strange = naive::decrypt(one, Mode::Group, &strange, &option(&forged));
    assert_eq!(strange, Err(Reason::NotVerified));
    // With the private key it is member 0.
    impostor.key = key(0);
    let (genuine, _) = impostor
        .try_ask(To::Group, &get(2, &[0xaa], "lock"))
        .unwrap();
    assert!(floor.hear(1, &genuine).is_ok());
}

/// Member 1 of a group with these parameters, which knows member 0.
fn member_of(parameters: Parameters) -> One {
    let settings = Settings::default();
    let mut group = Group::new("other", parameters, Some(own(1)), settings, None).unwrap();
    group.add_peer(kid(0), credential(0)).unwrap();
    let mut contexts = Contexts::new();
    let group = contexts.add_group(group);
    One {
        contexts,
        group,
        key: key(1),
        now: seconds(1),
    }
}

// Covers: GO-14.8-01
#[test]
fn threat_07_a_cloned_group_with_another_manager_is_another_group() {
    for to in [To::Group, To::Member(kid(1))] {
        let mut floor = Floor::new(2, Suite::default());
        let (bytes, _) = floor.ask(0, to, &get(1, &[0xaa], "temp"));
        let same = parameters(GID, 1, Suite::default());
        let mut clone = same.clone();
        let manager = Credential::build_ccs("manager", &key(77).public());
        clone.gm_credential = GroupManagerCredential::configured_by_hand(manager);
        let refused = member_of(clone).hear(&bytes).unwrap_err();
        assert_eq!(refused, Reason::NotVerified);
        // The control: a clone that differs in nothing else, not even in the manager, takes the message.
        assert!(member_of(same).hear(&bytes).is_ok());
        assert!(floor.hear(1, &bytes).is_ok());
    }
}

// Covers: GO-14.7-01
#[test]
fn threat_06_a_message_moved_to_another_group_is_refused() {
    // The same members, credentials and Sender IDs, in two groups of one manager.
    for to in [To::Group, To::Member(kid(1))] {
        let mut floor = Floor::new(2, Suite::default());
        let (bytes, _) = floor.ask(0, to, &get(1, &[0xaa], "temp"));
        let there = |gid: &[u8], secret: [u8; 16]| {
            let mut there = parameters(gid, 2, Suite::default());
            there.master_secret = Secret::copy_of(&secret);
            member_of(there)
        };
        let moved = |gid: &[u8], secret: [u8; 16]| {
            let mut moved = bytes.clone();
            let at = moved.windows(3).position(|part| part == GID).unwrap();
            moved[at..at + 3].copy_from_slice(gid);
            there(gid, secret).hear(&moved)
        };
        // Another Gid with the same Master Secret, another Master Secret under the same Gid, both.
        let other = [0x77; 16];
        for (gid, secret) in [(&b"Dam"[..], MASTER_SECRET), (GID, other), (b"Dam", other)] {
            assert_eq!(moved(gid, secret).unwrap_err(), Reason::NotVerified);
        }
        let as_it_is = there(b"Dam", MASTER_SECRET).hear(&bytes);
        assert_eq!(as_it_is.unwrap_err(), Reason::NoContext);
        // The control: where neither is another, a message is moved from group to group.
        assert!(moved(GID, MASTER_SECRET).is_ok());
        assert!(floor.hear(1, &bytes).is_ok());
    }
}

// Covers: GO-B-7.4-01
#[test]
fn threat_26_a_forged_large_number_does_not_close_the_window() {
    let mut floor = Floor::new(3, Suite::default());
    let (first, _) = floor.ask(0, To::Group, &get(1, &[0xaa], "temp"));
    let option = option(&first);
    assert_eq!(option[..2], [0x39, 0x00]);
    // The largest number there is, with the signature of another message.
    let parsed = Message::parse(&first).unwrap();
    let mut forged_option = vec![0x3d, 0xff, 0xff, 0xff, 0xff, 0xff];
    forged_option.extend_from_slice(&option[2..]);
    let forged = message(
        Type::Non,
        Code::POST,
        7,
        &[0xaa],
        &[(OptionNumber::OSCORE, &forged_option)],
        parsed.payload(),
    );
    assert_eq!(floor.hear(1, &forged).unwrap_err(), Reason::NotVerified);
    assert!(floor.hear(1, &first).is_ok());
    // The default window spans 32 numbers: 33 later, the first would still be known as received.
    let window = floor.members[1]
        .group()
        .peer(kid(0))
        .unwrap()
        .window()
        .clone();
    assert_eq!(window.size().numbers(), 32);
    assert_eq!(window.lower_limit(), Some(0));
    // The control: a window that moves before the message is verified is closed by it.
    let piv = OscoreOption::parse(&forged_option).unwrap().partial_iv;
    let recipients = &mut floor.members[2].group().current.recipients;
    let early = &mut recipients.get_mut(kid(0)).unwrap().window;
    early.commit(piv.unwrap()).unwrap();
    assert_eq!(floor.hear(2, &first).unwrap_err(), Reason::Replayed);
}

// Covers: GO-6-04, GO-4.1-07
#[test]
fn threat_11_a_pair_and_a_group_with_equal_names_are_not_mixed_up() {
    let mut floor = Floor::new(2, Suite::default());
    // Even with one Master Secret, by mistake.
    let of_both = parameters(GID, 1, Suite::default());
    let aead = of_both.suite.aead().unwrap();
    let pair = |own: usize, peer: usize| {
        let parameters = PairParameters {
            master_secret: of_both.master_secret.clone(),
            master_salt: of_both.master_salt.clone(),
            id_context: Some(of_both.gid.clone()),
            sender_id: kid(own),
            recipient_id: kid(peer),
            hkdf: of_both.suite.hkdf(),
            aead,
        };
        let settings = PairSettings {
            send_id_context: true,
            ..PairSettings::default()
        };
        Pair::new("pair", &parameters, sequence(), settings).unwrap()
    };
    let of_client = floor.members[0].contexts.add_pair(pair(0, 1));
    let of_server = floor.members[1].contexts.add_pair(pair(1, 0));
    let plain = get(1, &[0xaa], "temp");
    // So that the pairwise keys of the group are there.
    let (paired, _) = floor.ask(0, To::Member(kid(1)), &plain);
    assert_eq!(floor.hear(1, &paired).unwrap().mode, Mode::Pairwise);
    let message = Message::parse(&plain).unwrap();
    let client = &mut floor.members[0];
    let mut protect = || {
        client
            .protect(|it, now| it.protect_request(now, of_client.into(), &message, To::Peer))
            .unwrap()
    };
    let (protected, mut flagged) = (protect(), protect().bytes);
    assert_eq!(option(&protected.bytes)[0] & 0x20, 0);
    // The group is tried first, does not verify it, and stays as it was; then the pair opens it.
    let opened = floor.hear(1, &protected.bytes).unwrap();
    assert_eq!(opened.mode, Mode::Plain);
    assert_eq!(opened.message, plain);
    assert_eq!(opened.sender.group(), "pair");
    // The control: a group that keeps neither its keys nor its authenticated data apart takes it for the member's message. Either is enough.
    let raw = option(&protected.bytes);
    let piv = OscoreOption::parse(&raw).unwrap().partial_iv.unwrap();
    let client = kid(0);
    let of_pair = OscoreAad {
        aead,
        request_kid: client.as_bytes(),
        request_piv: piv,
        class_i_options: &[],
    };
    let group = &floor.members[1].group().current;
    let member = group.recipients.get(kid(0)).unwrap();
    let of_group = GroupAad {
        suite: &of_both.suite,
        request_kid: client.as_bytes(),
        request_piv: piv,
        class_i_options: &[],
        request_kid_context: GID,
        oscore_option: &raw,
        sender_credential: member.credential.bytes(),
        group_manager_credential: b"manager",
    };
    let nonce = group.common.nonce(Mode::Pairwise, kid(0), piv).unwrap();
    let payload = Message::parse(&protected.bytes).unwrap().payload().to_vec();
    let read = |key: &Secret, mut aad: Aad| {
        let (key, mut body) = (AeadKey::new(aead, key.as_bytes()).unwrap(), payload.clone());
        let opened = key.open(nonce.as_bytes(), aad.enc_structure(), &mut body);
        opened.map(|()| body)
    };
    let (shared, own) = (&member.key, &member.pairwise.as_ref().unwrap().receive);
    let plaintext = read(shared, Aad::oscore(&of_pair, vec![]));
    assert_eq!(plaintext.unwrap(), b"\x01\xb4temp");
    let refused = Err(CryptoError::NotAuthentic);
    assert_eq!(read(own, Aad::oscore(&of_pair, vec![])), refused);
    assert_eq!(read(shared, Aad::group(&of_group, vec![])), refused);
    // With the Group Flag it never reaches the pair.
    let (bytes, _) = floor.ask(0, To::Group, &plain);
    let group = floor.members[1].group;
    floor.members[1].contexts.remove_group(group);
    assert_eq!(floor.hear(1, &bytes).unwrap_err(), Reason::NoContext);
    // Nor does a message that the pair would open.
    let at = 4 + 1 + 1; // header, token, option header
    flagged[at] |= 0x20;
    assert_eq!(floor.hear(1, &flagged).unwrap_err(), Reason::NoContext);
    // The control: plain OSCORE does not authenticate the flag, so that with the keys of the pair it is genuine.
    let raw = option(&flagged);
    let read = OscoreOption::parse(&raw).unwrap();
    assert!(read.group_flag);
    let (sender, piv) = (kid(0), read.partial_iv.unwrap());
    let contexts = &mut floor.members[1].contexts;
    let (pair, scratch) = contexts.pair_and_scratch(of_server).unwrap();
    let parts = OscoreAad {
        aead: pair.aead,
        request_kid: sender.as_bytes(),
        request_piv: piv,
        class_i_options: &[],
    };
    let flagged = Message::parse(&flagged).unwrap();
    let opened = pair.decrypt(sender, piv, &parts, flagged.payload(), scratch);
    assert_eq!(opened, Ok(()));
}

/// From whom, whether it asks, bytes, plain message, for which request.
type Sent = (usize, bool, Vec<u8>, Vec<u8>, usize);

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Two members, and an attacker who delivers, repeats, exchanges and changes whatever was ever sent: whatever is opened
    /// was sent, by the one it names, to that end, once; and no number is used twice.
    #[test]
    fn two_members_with_an_attacker_between(
        steps in prop::collection::vec((0..6_u8, any::<u16>(), any::<u16>()), 1..60),
    ) {
        let mut floor = Floor::new(2, Suite::default());
        let mut sent: Vec<Sent> = vec![];
        let mut asked: Vec<(usize, Asked)> = vec![];
        let mut received: Vec<(usize, Received, usize)> = vec![];
        let mut delivered: Vec<(usize, usize, usize)> = vec![];
        let mut serial = 0_u16;
        for (what, one, two) in steps {
            let pick = |count: usize| usize::from(one) % count.max(1);
            match what {
                0 => {
                    let from = usize::from(two) % 2;
                    serial += 1;
                    let plain = get(serial, &serial.to_be_bytes(), "x");
                    let to = if one % 2 == 0 { To::Group } else { To::Member(kid(1 - from)) };
                    let (bytes, kept) = floor.ask(from, to, &plain);
                    let request = asked.len();
                    asked.push((from, kept));
                    sent.push((from, true, bytes, plain, request));
                }
                1 if !received.is_empty() => {
                    let at = pick(received.len());
                    let (from, to_it, request) = &mut received[at];
                    serial += 1;
                    let plain = content(serial, &[1], &serial.to_be_bytes());
                    let mode = if two % 2 == 0 { Mode::Group } else { Mode::Pairwise };
                    let bytes = floor.answer(*from, to_it, &plain, Some(mode));
                    sent.push((*from, false, bytes, plain, *request));
                }
                2..=4 if !sent.is_empty() => {
                    let at = pick(sent.len());
                    let (from, asks, mut bytes, plain, request) = sent[at].clone();
                    let changed = what == 4;
                    if changed {
                        // Behind the token: header and token are not protected.
                        let start = 4 + Message::parse(&bytes).unwrap().token().as_bytes().len();
                        let bit = start * 8 + usize::from(two) % ((bytes.len() - start) * 8);
                        bytes[bit / 8] ^= 1 << (bit % 8);
                        if Message::parse(&bytes).is_err() {
                            continue;
                        }
                    }
                    // To either end, and a response to either any request of that end.
                    let to = usize::from(two) % 2;
                    if asks {
                        if let Ok(opened) = floor.hear(to, &bytes) {
                            prop_assert!(!changed);
                            prop_assert_eq!(to, 1 - from);
                            prop_assert_eq!(&opened.message, &plain);
                            prop_assert_eq!(opened.sender.kid(), kid(from));
                            prop_assert!(!delivered.contains(&(to, at, 0)));
                            delivered.push((to, at, 0));
                            received.push((to, opened.received, request));
                        }
                    } else if !asked.is_empty() {
                        let of = usize::from(two / 2) % asked.len();
                        let (client, kept) = &mut asked[of];
                        let client = *client;
                        if let Ok(opened) = floor.listen(client, &bytes, kept) {
                            prop_assert!(!changed);
                            prop_assert_eq!(of, request);
                            prop_assert_eq!(&opened.message, &plain);
                            prop_assert_eq!(opened.sender.kid(), kid(from));
                            prop_assert!(!delivered.contains(&(client, at, 1)));
                            delivered.push((client, at, 1));
                        }
                    }
                }
                _ => {}
            }
        }
        // A number is in one message of its sender only. A response without takes that of its request, once.
        let mut numbers = vec![];
        for (from, asks, bytes, _, request) in &sent {
            let raw = option(bytes);
            let option = crate::option::OscoreOption::parse(&raw).unwrap();
            let used = match option.partial_iv {
                Some(piv) => (*from, *from, piv),
                None => (*from, asked[*request].0, asked[*request].1.partial_iv()),
            };
            prop_assert!(!numbers.contains(&used), "{:?} {}", used, asks);
            numbers.push(used);
        }
    }
}
